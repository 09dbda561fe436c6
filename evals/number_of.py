"""How many there are of something, in words that agree, and how many bytes."""


def number_of(noun: str, count: int) -> str:
    """Such as "1 item" and "2,000 items"; the noun's plural ends in s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size_of(size: float) -> str:
    """Such as "1.2 GB" and "370 MB"."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
