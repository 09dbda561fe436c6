"""Where in a model a fact is stored: causal tracing, attention knockout and the logit lens. Import from its files."""

__all__: list[str] = []
