"""Texts as both databases hold them, and as a search finds them."""


def kept(text: str) -> str:
    """Text as both databases can hold it: PostgreSQL has no NUL, and neither has half a surrogate pair."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def searched(*texts: str | None) -> str:
    """What a search looks through."""
    return kept("\n".join(text for text in texts if text)).casefold()
