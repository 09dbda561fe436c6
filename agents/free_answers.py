"""Answers in a model's own words: when two of them are the same."""

import string
import unicodedata


def normalised(answer: str) -> str:
    """A free answer for comparison: compatible signs, case, space and punctuation at the ends do not count."""
    plain = " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
    return plain.strip(string.punctuation + string.whitespace + "。、！？“”‘’«»¿¡…") or plain


def alike(one: str, other: str) -> bool:
    """Whether two free answers are one."""
    return normalised(one) == normalised(other)
