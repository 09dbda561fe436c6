"""A laboratory for planted neurons whose rule can be carried out: what they fire on in texts that nobody wrote beforehand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyzers.evidence import Excerpt
from evals.planted import Planted

_TOKEN = re.compile(r"\s?(?:\w+|[^\w\s])|\s")
"""Words and marks, each with the space before it, as the sentences of planted neurons have them."""
LOUDEST = 10.0


@dataclass(frozen=True)
class PlantedLab:
    """Carries out the rule of one planted neuron."""

    rule: re.Pattern[str]

    def activations(self, texts: Sequence[str]) -> list[Excerpt]:
        """An excerpt a text, with activation 10 on the tokens that the rule marks and 0 on the others."""
        return [self._excerpt(text, f"text/{number}") for number, text in enumerate(texts)]

    def _excerpt(self, text: str, document: str) -> Excerpt:
        spans = [match.span(1 if self.rule.groups else 0) for match in self.rule.finditer(text)]
        tokens = list(_TOKEN.finditer(text))
        marked = [any(start < token.end() and token.start() + _space(token[0]) < end for start, end in spans) for token in tokens]
        return Excerpt(
            document=document,
            start=0,
            tokens=tuple(token[0] for token in tokens),
            activations=np.where(marked, LOUDEST, 0.0).astype(np.float32),
            stratum="top" if any(marked) else "random",
        )


def lab_of(neuron: Planted) -> PlantedLab | None:
    """The laboratory of a planted neuron; None where it has no rule."""
    return None if neuron.rule is None else PlantedLab(re.compile(neuron.rule))


def _space(token: str) -> int:
    return len(token) - len(token.lstrip())
