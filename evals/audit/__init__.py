"""Whether what a model says about its reasons holds: faithfulness, measured by perturbing the input (not groundedness in sources)."""

__all__: list[str] = []
