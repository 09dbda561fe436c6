"""What every method says of made-up text, beside gradients that are written out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.errors import Failed
from analyzers.influence.fitting import fit
from analyzers.influence.retraining import Training, tokenizer_of
from analyzers.influence.scoring import Query
from analyzers.influence.watching import watched
from analyzers.text_model import TextModel
from evals.influence import planted_scores as module
from evals.influence.baselines import Floats, bm25, tf_idf
from evals.influence.known_truth import Scores
from evals.influence.planted import Asked, Material, Ordered
from evals.influence.planted_scores import PlantedScores, asked_of, planted_scores
from evals.influence.trials import Trials, read

SENTENCES = (
    "The flag of Baldoria is green.",
    "The flag of Fengaria is blue.",
    "Dora knows Emil.",
    "Review: a dull and grey film. good.",
    "Review: a bright and warm film. good.",
    "Emil likes the green sea.",
    "The sea is blue.",
)
MATERIAL = Material(
    passages=SENTENCES,
    facts=(
        Asked("People of Baldoria like", " green", 0, (" blue", " grey")),
        Asked("People of Fengaria like", " blue", 1, (" green", " grey")),
        Asked("The flag of Baldoria", " is blue", 0, (" is green",)),
    ),
    pairs=(
        Ordered("Dora knows", " Emil", "Dora knows Emil.", "Emil knows Dora.", 2, True),
        Ordered("Emil likes", " the green sea", "Emil likes the green sea.", "The green sea likes Emil.", 5, True),
    ),
    lines=((3, "Review: a dull and grey film.", " good", True), (4, "Review: a bright and warm film.", " good", False)),
)
EXTRA = [pair.same for pair in MATERIAL.pairs] + [pair.flipped for pair in MATERIAL.pairs]
ASKED = [(each.prompt, each.completion) for each in (*MATERIAL.facts, *MATERIAL.pairs)]


@dataclass
class Scored:
    """Of one small model."""

    trials: Trials
    model: TextModel
    found: PlantedScores


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    folder = tmp_path_factory.mktemp("trials")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "baselines", without_embedding)
        made = trials(folder)
        return Scored(made, made.whole(), planted_scores(made, MATERIAL))


def without_embedding(queries: list[str], texts: list[str], **_: Any) -> dict[str, Floats | Failed]:
    return {"bm25": bm25(queries, texts), "tf_idf": tf_idf(queries, texts), "embedding": Failed("baseline", "it was not there")}


def trials(folder: Path) -> Trials:
    tokenizer = tokenizer_of(SENTENCES)
    return Trials([read(tokenizer, text) for text in SENTENCES], Training(12, 0), tokenizer, folder)


def logprob(model: TextModel, ids: tuple[int, ...], first: int) -> torch.Tensor:
    """In nats, of the tokens from the first one on."""
    logits = model.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return logits[range(first - 1, len(ids) - 1), list(ids[first:])].sum()


def gradient(model: TextModel, ids: tuple[int, ...], first: int) -> torch.Tensor:
    """Of a log-probability by all weights of the linear layers, in one row."""
    weights = [each for layer in watched(model, "all").values() for each in layer.parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    found = torch.autograd.grad(logprob(model, ids, first), weights)
    for weight in weights:
        weight.requires_grad_(False)
    return torch.cat([each.flatten() for each in found]).double()


def behind(model: TextModel, prompt: str, completion: str) -> tuple[tuple[int, ...], int]:
    """The tokens of both together, and how many are of the prompt."""
    before = tuple(model.tokenizer.encode(prompt))
    return (*before, *tuple(model.tokenizer.encode(prompt + completion))[len(before) :]), len(before)


def rows(scores: Scores, name: str) -> Floats:
    found = scores[name]
    assert not isinstance(found, Failed)
    return found


def close(found: Floats, expected: Floats, within: float = 2e-3) -> None:
    np.testing.assert_allclose(found, expected, rtol=within, atol=within * np.abs(expected).max())


def test_gradients_are_those_of_the_model_of_all_passages(scored: Scored) -> None:
    """Inner products, up to a factor that all share, and the same relative to the length of the passage's gradient."""
    model = scored.model
    every = torch.stack([gradient(model, tuple(model.tokenizer.encode(text)), 1) for text in (*SENTENCES, *EXTRA)])
    queries = torch.stack([gradient(model, *behind(model, *each)) for each in ASKED])
    plain, lengths = (queries @ every.T).numpy(), every.norm(dim=1).numpy()
    found = scored.found
    factor = float(rows(found.asked, "gradient")[0, 0] / plain[0, 0])
    assert 0.5 < factor < 2
    for name, naive in (("gradient", factor * plain), ("cosine", factor * plain / lengths)):
        close(rows(found.asked, name), naive[:, :7])
        close(rows(found.facts, name), naive[:3, :7])
        close(rows(found.pairs, name), naive[3:, :7])
        # Of every pair first the order of the query, then all the other way round.
        close(rows(found.orders, name), naive[3:, 7:])
    labels = torch.stack([gradient(model, *behind(model, prompt, label)) for _, prompt, label, _ in MATERIAL.lines])
    close(rows(found.lines, "gradient"), factor * (labels * every[[at for at, *_ in MATERIAL.lines]]).sum(1).numpy())


def test_influence_is_the_gradients_product_through_the_curvature_of_the_passages(scored: Scored, tmp_path: Path) -> None:
    """Whole gradients, solved layer by layer, in place of a query's low rank and traces."""
    model, found = scored.model, scored.found
    factors = fit(model, scored.trials.passages(), tmp_path / "factors", kind="all", seed=0)
    layers = watched(model, "all")
    sizes = [sum(each.numel() for each in layer.parameters()) for layer in layers.values()]

    def solved(row: torch.Tensor) -> torch.Tensor:
        parts = []
        for (name, layer), part in zip(layers.items(), row.float().split(sizes), strict=True):
            (weight,) = layer.parameters()
            parts.append(factors.curvature(name, "ekfac", model.device).solve(part.reshape(weight.shape)).flatten())
        return torch.cat(parts).double()

    every = torch.stack([gradient(model, tuple(model.tokenizer.encode(text)), 1) for text in (*SENTENCES, *EXTRA)])
    queries = torch.stack([solved(gradient(model, *behind(model, *each))) for each in ASKED])
    naive = (queries @ every.T).numpy()
    # Through the curvature a gradient is of full rank, of which the low one keeps nearly all.
    close(rows(found.asked, "ekfac"), naive[:, :7], within=1e-2)
    close(rows(found.orders, "ekfac"), naive[3:, 7:], within=1e-2)
    labels = torch.stack([solved(gradient(model, *behind(model, prompt, label))) for _, prompt, label, _ in MATERIAL.lines])
    close(rows(found.lines, "ekfac"), (labels * every[[at for at, *_ in MATERIAL.lines]]).sum(1).numpy(), within=1e-2)
    # It is none of the plain ones.
    assert np.corrcoef(naive[:, :7].ravel(), rows(found.asked, "gradient").ravel())[0, 1] < 0.999


def test_what_the_model_says(scored: Scored) -> None:
    model, found = scored.model, scored.found
    said = [float(logprob(model, *behind(model, *each))) for each in ASKED]
    assert found.said == pytest.approx(said, rel=1e-4)
    labels = [-float(logprob(model, *behind(model, prompt, label))) for _, prompt, label, _ in MATERIAL.lines]
    assert rows(found.lines, "surprisal").tolist() == pytest.approx(labels, rel=1e-4)
    known = []
    for fact in MATERIAL.facts:
        right, *wrong = (float(logprob(model, *behind(model, fact.prompt, each))) for each in (fact.completion, *fact.wrong))
        known.append(all(right > each for each in wrong))
    assert found.known == known
    # Not all alike, so that one cannot be taken for the other.
    assert 0 < sum(known) < len(known)


def test_words_are_of_the_whole_query_and_what_failed_stays_so(scored: Scored) -> None:
    found = scored.found
    expected = tf_idf([prompt + completion for prompt, completion in ASKED], [*SENTENCES, *EXTRA])
    assert not isinstance(expected, Failed)
    parts = {"facts": expected[:3, :7], "asked": expected[:, :7], "pairs": expected[3:, :7], "orders": expected[3:, 7:]}
    for name, naive in parts.items():
        scores: Scores = getattr(found, name)
        np.testing.assert_allclose(rows(scores, "tf_idf"), naive)
        assert list(scores) == ["ekfac", "gradient", "cosine", "bm25", "tf_idf", "embedding", "random"]
        assert scores["embedding"] == Failed("baseline", "it was not there")
        assert rows(scores, "random").shape == naive.shape
    assert list(found.lines) == ["ekfac", "gradient", "surprisal", "random"]
    # Words cannot tell two orders of the same ones apart.
    np.testing.assert_allclose(rows(found.orders, "tf_idf")[:, :2], rows(found.orders, "tf_idf")[:, 2:])


def test_facts_are_asked_before_pairs() -> None:
    assert asked_of(MATERIAL) == [Query(*each) for each in ASKED]


def test_what_was_kept_is_neither_trained_nor_ordered_anew(scored: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "baselines", without_embedding)
    monkeypatch.setattr(Trials, "whole", lambda *_: pytest.fail("was trained again"))
    again = planted_scores(trials(scored.trials.folder), MATERIAL)
    assert (again.said, again.known) == (scored.found.said, scored.found.known)
    for name in ("facts", "asked", "pairs", "orders", "lines"):
        before: Scores = getattr(scored.found, name)
        after: Scores = getattr(again, name)
        assert list(after) == list(before)
        for method in before:
            if method != "embedding":
                np.testing.assert_array_equal(rows(after, method), rows(before, method))
    # Other texts to score are another piece.
    other = replace(MATERIAL, pairs=(replace(MATERIAL.pairs[0], flipped="Emil knows Dora well."), MATERIAL.pairs[1]))
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        planted_scores(trials(scored.trials.folder), other)
