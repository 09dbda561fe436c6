"""One text in the making: which token comes next, and when it is at its end."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from analyzers.tokens import Tokens


@dataclass(frozen=True)
class Token:
    """A generated token."""

    text: str
    logprob: float
    """Of the whole vocabulary, at temperature 1."""
    top: tuple[tuple[str, float], ...]
    """The likeliest tokens at its place with their log-probabilities, best first."""


@dataclass(frozen=True)
class Generated:
    """A generated text."""

    text: str
    """Without the stop text that ended it."""
    tokens: tuple[Token, ...]
    """Empty unless alternatives were asked for."""
    finish: str
    """stop: by itself or by a stop text; length: by the limit."""
    prompt_tokens: int
    """Tokens computed before the first new one. What several samples share counts for the first of them."""
    completion_tokens: int


class Writer:
    """One text in the making."""

    def __init__(
        self,
        tokens: Tokens,
        ends: Collection[int],
        stream: torch.Generator | None,
        *,
        temperature: float,
        stop: tuple[str, ...],
        top: int,
    ) -> None:
        self._tokenizer = tokens
        self._ends = ends
        self._stream = stream
        self._temperature = temperature
        self._stop = stop
        self._top = top
        self.ids: list[int] = []
        self.tokens: list[Token] = []
        self.text = ""
        self.done = False

    def take(self, logits: Tensor) -> None:
        """Choose the next token from its logits [vocabulary]."""
        logits = logits.cpu()
        chosen = int(logits.argmax()) if self._stream is None else _draw(logits / self._temperature, self._stream)
        self.ids.append(chosen)
        if chosen in self._ends:
            self.done = True
            return
        tokens = self._tokenizer
        if self._top:
            logprobs = F.log_softmax(logits, dim=-1)
            best = torch.topk(logprobs, min(self._top, len(logprobs)))
            alternatives = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            top = tuple((tokens.text(token), value) for token, value in alternatives)
            self.tokens.append(Token(tokens.text(chosen), float(logprobs[chosen]), top))
        self.text = tokens.decode(self.ids, special=False)
        ends = [at for stop in self._stop if (at := self.text.find(stop)) >= 0]
        if ends:
            self.text, self.done = self.text[: min(ends)], True

    def result(self, prompt_tokens: int) -> Generated:
        """What was written so far."""
        finish = "stop" if self.done else "length"
        return Generated(self.text, tuple(self.tokens), finish, prompt_tokens, len(self.ids))


def _draw(logits: Tensor, stream: torch.Generator) -> int:
    """A token drawn by its probability, by where one uniform number falls among the cumulated probabilities."""
    cumulated = F.softmax(logits.double(), dim=-1).cumsum(dim=-1)
    place = torch.rand(1, generator=stream, dtype=torch.float64) * cumulated[-1]
    return min(int(torch.searchsorted(cumulated, place, right=True)), len(logits) - 1)
