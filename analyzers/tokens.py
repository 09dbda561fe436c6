"""A tokenizer, exact to the character: texts of single tokens, and no space that was not in the text."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

Span = tuple[int, int]
"""Characters of a text, the end not included."""


def overlap(one: Span, other: Span) -> bool:
    """Whether they have a character in common."""
    return max(one[0], other[0]) < min(one[1], other[1])


class Tokens:
    """Reads and writes with a Hugging Face tokenizer as if every text were the middle of a longer one."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._plain = self._encode("a")[-1]
        self._before: str = tokenizer.decode([self._plain], clean_up_tokenization_spaces=False)
        self.text = lru_cache(maxsize=None)(self._text)
        self._anchor = self._find_anchor()

    @property
    def start(self) -> tuple[int, ...]:
        """What the tokenizer itself puts before a text: its BOS as one token, or nothing."""
        bos = self.tokenizer.bos_token_id
        return (bos,) if bos is not None and self.tokenizer.encode("")[:1] == [bos] else ()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens and without the space that some tokenizers put before a text."""
        if not self._anchor or not text:
            return self._encode(text)
        anchor = self._encode(self._anchor)
        ids = self._encode(self._anchor + text)
        return ids[len(anchor) :] if ids[: len(anchor)] == anchor else self._encode(text)

    def located(self, text: str) -> tuple[list[int], list[Span]]:
        """As `encode`, and the characters of each token as a fast tokenizer says them."""
        anchor = self._encode(self._anchor) if self._anchor else []
        ids, places, _ = located(self.tokenizer, self._anchor + text, special=False)
        if ids[: len(anchor)] != anchor:
            ids, places, _ = located(self.tokenizer, text, special=False)
            return ids, places
        shift = len(self._anchor)
        return ids[len(anchor) :], [(start - shift, end - shift) for start, end in places[len(anchor) :]]

    def decode(self, ids: Sequence[int], *, special: bool = True) -> str:
        """Text of a run of tokens with its leading space; without special tokens if so asked."""
        # Decoders strip a space at the very start of a text, so the tokens are decoded behind another one.
        text: str = self.tokenizer.decode([self._plain, *ids], clean_up_tokenization_spaces=False, skip_special_tokens=not special)
        return text[len(self._before) :]

    def _text(self, token_id: int) -> str:
        return self.decode([token_id])

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False, verbose=False)  # a corpus is longer than a context
        return ids

    def _find_anchor(self) -> str:
        """A text to encode in front of others, and cut off again, where the tokenizer puts a space before every text; else empty."""
        if self.text(self._encode("a")[0]).startswith("a"):
            return ""
        for anchor in ("\n", "|", "."):
            alone = self._encode(anchor)
            if self._encode(anchor + "a")[: len(alone)] == alone:
                return anchor
        return ""


def located(tokenizer: Any, text: str, *, special: bool) -> tuple[list[int], list[Span], list[int]]:
    """(ids, characters of each, 1 where the tokenizer added it) of a fast tokenizer, with special tokens or without."""
    found = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    return found["input_ids"], found["offset_mapping"], found["special_tokens_mask"]
