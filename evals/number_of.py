"""How many there are of something, in words that agree."""


def number_of(noun: str, count: int) -> str:
    """Such as "1 item" and "2,000 items"; the noun's plural ends in s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
