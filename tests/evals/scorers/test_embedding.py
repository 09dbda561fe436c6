from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.planted import planted
from evals.scorers import SCORERS
from evals.scorers.embedding import Embedding
from evals.scoring.judged import Judged
from evals.scoring.material import from_excerpts
from evals.scoring.measures import measure_of


class Letters:
    """Embeds a text by how often each letter stands in it."""

    name = "letters"

    def embed(self, texts: Sequence[str]) -> Any:
        counts = np.array([[text.lower().count(chr(97 + at)) for at in range(26)] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def excerpt(number: int, text: str, activation: float) -> Excerpt:
    return Excerpt(f"d{number}", 0, (text,), np.array([activation], np.float32), "top")


MATERIAL = from_excerpts("L0.mlp.0", [excerpt(i, text, a) for i, (text, a) in enumerate([("zoo", 9), ("ooz", 8), ("tree", 0)])], 9.0)


async def test_cosines_of_explanation_and_text() -> None:
    scorer = Embedding(Letters())  # type: ignore[arg-type]
    assert scorer.name == "embedding(letters)"
    right, wrong, again, null = await scorer.judge(["ozo", "ret", "ozo", ""], MATERIAL, seed=0)
    assert isinstance(right, Judged)
    assert isinstance(wrong, Judged)
    assert isinstance(null, Judged)
    assert right == again
    assert [(a.item, a.document, a.truth) for a in right.answers] == [("d0:0", "d0", 1), ("d1:0", "d1", 1), ("d2:0", "d2", 0)]
    np.testing.assert_allclose([a.prediction for a in right.answers if not isinstance(a.prediction, Failed)], [1, 1, 0], atol=1e-6)
    # tree has r, t, e, e
    want = (1 + 1 + 2) / np.sqrt(3 * 6)
    np.testing.assert_allclose([a.prediction for a in wrong.answers if not isinstance(a.prediction, Failed)], [0, 0, want], atol=1e-6)
    assert [measure_of(judged, "auroc") for judged in (right, wrong, null)] == [1, 0, 0.5]


def test_it_is_made_without_loading_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("analyzers.embeddings.Embedder.load", never)
    scorer = SCORERS.create("embedding")
    assert (scorer.name, scorer.prompt, scorer.measure, scorer.chance) == ("embedding(minilm)", "", "auroc", 0.5)


@pytest.mark.slow
async def test_the_real_encoder_tells_a_topic() -> None:
    (neuron,) = (neuron for neuron in planted() if neuron.name == "the word engine")
    material = from_excerpts(neuron.name, neuron.excerpts(), 10.0)
    true, *_, unrelated = await SCORERS.create("embedding").judge([neuron.explanation, *neuron.false_explanations], material, seed=0)
    assert isinstance(true, Judged)
    assert isinstance(unrelated, Judged)
    best, worst = measure_of(true, "auroc"), measure_of(unrelated, "auroc")
    assert isinstance(best, float)
    assert isinstance(worst, float)
    assert best > worst
