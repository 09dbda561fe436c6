"""How a model answers from examples in its context, seen through the words of their labels. Import from its files.

Source: Wang et al. 2023, "Label Words are Anchors" (arXiv 2305.14160).
"""

__all__: list[str] = []
