"""Influence of passages on queries, beside the product written out, and where it must be known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analyzers.corpus import Document
from analyzers.errors import SubjectError
from analyzers.influence.fitting import fit
from analyzers.influence.kinds import Method
from analyzers.influence.passages import Passage, passages
from analyzers.influence.scoring import Query, Tokens, followed, norms, precondition, score, together
from analyzers.influence.watching import own_tokens, traces, watched
from analyzers.text_model import TextModel

TEXTS = ("The river rises in the hills.", "A new bridge, built of stone, was opened.", "There are markets on Mondays", "Herons and otters")
QUERIES = [Query("The river", " rises in the hills"), Query("", "There are markets"), Query("The bridge was", " opened")]


@pytest.fixture
def text(model: TextModel) -> list[Passage]:
    return passages(model, [Document(str(number), "", each) for number, each in enumerate(TEXTS)])


@pytest.mark.parametrize("method", ["ekfac", "kfac", "identity"])
def test_influence_is_gradient_times_inverse_curvature_times_gradient(
    method: Method, model: TextModel, text: list[Passage], tmp_path: Path
) -> None:
    fitted = fit(model, text, tmp_path)
    modules = watched(model, "mlp")

    def curvature(name: str) -> object:
        return fitted.curvature(name, method, model.device)

    found = score(model, modules, precondition(model, modules, QUERIES, curvature, rank=999), text)  # type: ignore[arg-type]
    for at, query in enumerate(QUERIES):
        ids, first = query.ids(model)
        assert ids[:first] == (*model.around[0], *model.tokens.encode(query.prompt))
        of_query = traces(model, modules, [ids], own_tokens, [first])
        for layer, name in enumerate(modules):
            solved = fitted.curvature(name, method, model.device).solve(of_query[name].gradients()[0])
            for number, passage in enumerate(text):
                (gradient,) = traces(model, modules, [passage.ids], own_tokens)[name].gradients()
                assert found.by_layer[at, layer, number] == pytest.approx(float((solved * gradient).sum()), rel=2e-3, abs=1e-4)
    for number, passage in enumerate(text):
        assert found.by_token[number].shape == (3, len(passage.ids) - 1)
        np.testing.assert_allclose(found.by_token[number].sum(1), found.total[:, number], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.kept, 1, rtol=1e-4)
    assert list(found.layers) == list(modules)


def test_a_low_rank_keeps_what_it_says(model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    fitted = fit(model, text, tmp_path)
    modules = watched(model, "mlp")
    low = precondition(model, modules, QUERIES, lambda name: fitted.curvature(name, "ekfac", model.device), rank=2)
    for name, each in low.items():
        for at, query in enumerate(QUERIES):
            solved = fitted.curvature(name, "ekfac", model.device).solve(followed(model, modules, query)[name].gradients()[0])
            values = torch.linalg.svdvals(solved)
            assert each.kept[at] == pytest.approx(float(values[:2].square().sum() / values.square().sum()), rel=1e-3)
            missed = float((each.left[at] @ each.right[at].T - solved).square().sum() / solved.square().sum())
            assert missed == pytest.approx(1 - each.kept[at], abs=1e-3)


def test_queries_that_share_a_pass_are_as_alone(model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    fitted = fit(model, text, tmp_path)
    modules = watched(model, "mlp")

    def scored(queries: list[Query]) -> np.ndarray:
        return score(
            model, modules, precondition(model, modules, queries, lambda n: fitted.curvature(n, "ekfac", model.device)), text
        ).total

    together = scored(QUERIES)
    for at, query in enumerate(QUERIES):
        np.testing.assert_allclose(scored([query])[0], together[at], rtol=1e-3, atol=1e-4)


def test_a_step_along_a_passage_helps_what_it_helps(model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    """What influence is for, to first order: plain gradient products tell by how much a small step on a passage moves a query."""
    modules = watched(model, "mlp")
    fitted = fit(model, text, tmp_path)
    found = score(
        model, modules, precondition(model, modules, QUERIES, lambda n: fitted.curvature(n, "identity", model.device), rank=999), text
    )

    def log_probability(query: Query) -> float:
        ids, first = query.ids(model)
        with torch.inference_mode():
            said = model.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        return sum(float(said[at - 1, ids[at]]) for at in range(first, len(ids)))

    step = 1e-4
    for number, passage in enumerate(text):
        gradients = traces(model, modules, [passage.ids], own_tokens)
        moved = []
        for steps in (1, -2, 1):  # there, to the other side, and back
            for name, module in modules.items():
                with torch.no_grad():
                    module.get_parameter("weight").add_(gradients[name].gradients()[0], alpha=steps * step)
            moved.append([log_probability(query) for query in QUERIES])
        for at in range(len(QUERIES)):
            # The identity is damped by a tenth.
            assert (moved[0][at] - moved[1][at]) / (2 * step) == pytest.approx(1.1 * found.total[at, number], rel=0.02, abs=0.02)


def test_queries_that_cannot_be_asked(model: TextModel) -> None:
    with pytest.raises(SubjectError, match="takes 1024"):
        Query("The river " * 600, " rises").ids(model)
    with pytest.raises(SubjectError, match="empty"):
        Query("", "").ids(model)
    word = "kingfisher"
    whole = model.tokens.encode(word)
    cut = next(at for at in range(1, len(word)) if model.tokens.encode(word[:at]) != whole[: len(model.tokens.encode(word[:at]))])
    with pytest.raises(SubjectError, match="not one continuation"):
        Query(word[:cut], word[cut:]).ids(model)


def test_methods_share_a_pass(model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    fitted = fit(model, text, tmp_path)
    modules = watched(model, "mlp")
    apart = [precondition(model, modules, QUERIES, lambda n, m=m: fitted.curvature(n, m, model.device)) for m in ("ekfac", "identity")]  # type: ignore[misc]
    both = score(model, modules, together(*apart), text)
    for at, low in enumerate(apart):
        alone = score(model, modules, low, text)
        np.testing.assert_allclose(both.total[3 * at : 3 * at + 3], alone.total, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(both.kept[3 * at : 3 * at + 3], alone.kept)


def test_the_length_of_a_gradient_needs_no_gradient(model: TextModel, text: list[Passage]) -> None:
    modules = watched(model, "mlp")
    found = norms(model, modules, text)
    for number, passage in enumerate(text):
        squares = sum(float(each.gradients().square().sum()) for each in traces(model, modules, [passage.ids], own_tokens).values())
        assert found[number] == pytest.approx(squares**0.5, rel=1e-3)


def test_a_completion_can_be_given_by_its_tokens(model: TextModel) -> None:
    ids, first = Query("The river", " rises in the hills").ids(model)
    said = ids[first:]
    assert Tokens("The river", "", said).ids(model) == (ids, first)
    assert Tokens("The river", "", said[::-1]).ids(model) == ((*ids[:first], *said[::-1]), first)
    assert Tokens("", "", said).ids(model) == ((*model.around[0], *said), 1)
    with pytest.raises(SubjectError, match="takes 1024"):
        Tokens("The river", "", said * 600).ids(model)


def test_a_query_whose_gradient_is_not_finite_is_told(model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    fitted = fit(model, text, tmp_path)
    modules = watched(model, "mlp")
    model.model.get_parameter("model.layers.1.mlp.down_proj.weight")[0, 0] = torch.nan
    with pytest.raises(SubjectError, match=r"a query's gradient is not finite in 'float32'; fit with --dtype float32"):
        precondition(model, modules, QUERIES, lambda name: fitted.curvature(name, "ekfac", model.device))
