"""Text that every file takes."""


def whole_text(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which JSON can spell though it is no text."""
    return text.encode(errors="replace").decode()
