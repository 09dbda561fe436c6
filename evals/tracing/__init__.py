"""Where in a model facts are stored: causal tracing over many facts, with controls and intervals. Import from its files."""

__all__: list[str] = []
