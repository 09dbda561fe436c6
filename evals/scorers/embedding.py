"""Embedding: how near the explanation is in meaning to excerpts that the site fires in, against those it is silent in.

Source: delphi's embedding scorer, without its instruction in front of the explanation, which a general encoder does not read.
"""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from analyzers.errors import Failed
from evals.scorers import SCORERS
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.material import Material

if TYPE_CHECKING:
    from analyzers.embeddings import Embedder

MODEL = "minilm"


@SCORERS.add("embedding")
class Embedding:
    """The embedding scorer; its encoder is loaded when it first judges."""

    name = f"embedding({MODEL})"
    prompt = ""
    measure: Measure = "auroc"
    role: Role = "items"
    chance = 0.5

    def __init__(self, embedder: "Embedder | None" = None) -> None:
        """embedder: the one to use, by default MODEL."""
        self._given = embedder
        if embedder is not None:
            self.name = f"embedding({embedder.name})"

    @cached_property
    def _embedder(self) -> "Embedder":
        from analyzers.embeddings import Embedder

        return self._given or Embedder.load(MODEL)

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """Predictions are cosines of the explanation with the text of the whole excerpt; the null explanation is as near to all."""
        del seed
        return await asyncio.to_thread(self._judge, explanations, material)

    def _judge(self, explanations: Sequence[str], material: Material) -> list[Judged | Failed]:
        told = [text for text in dict.fromkeys(explanations) if text.strip()]
        vectors = self._embedder.embed([*told, *(item.excerpt.text for item in material.items)])
        cosines = vectors[: len(told)] @ vectors[len(told) :].T
        of = {text: row.tolist() for text, row in zip(told, cosines, strict=True)}
        nothing = [0.0] * len(material.items)
        return [_judged(material, of.get(text, nothing)) for text in explanations]


def _judged(material: Material, predictions: Sequence[float]) -> Judged:
    return Judged(
        tuple(
            Answer(item.excerpt.key, item.excerpt.document, float(item.fires), prediction, item.group)
            for item, prediction in zip(material.items, predictions, strict=True)
        ),
        probabilities=False,
    )
