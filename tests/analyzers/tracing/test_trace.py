"""Traces against one pass for each restoration, against what must come out exactly, and of a fact that was written by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.facts import Fact
from analyzers.mlps import down_projections
from analyzers.text_model import TextModel
from analyzers.tracing.known import said
from analyzers.tracing.located import Located, locate
from analyzers.tracing.plan import Tracing, around, places_elsewhere, spread, window_of
from analyzers.tracing.restoring import Restoration, clean_run, corrupted_run, restored
from analyzers.tracing.stack import Stack
from analyzers.tracing.trace import Trace, texts_of, trace

FACT = Fact("In the summer the old school was", "old school", " away", "1")
OUTPUTS: dict[str, Callable[[Any], Any]] = {
    "llama": lambda block: block.self_attn,
    "gpt2": lambda block: block.attn,
    "gpt_neox": lambda block: block.attention,
    "opt": lambda block: block.self_attn,
}


@pytest.fixture
def model(request: pytest.FixtureRequest, tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint(getattr(request, "param", "llama"))), dtype="float32", device="cpu")


def located(model: TextModel, fact: Fact = FACT) -> Located:
    found = locate(model, fact)
    assert isinstance(found, Located)
    return found


def modules(model: TextModel, kind: str, blocks: list[Any]) -> list[Any]:
    """Of the kind, by the families' own names; MLPs by what enters and leaves them."""
    if kind == "residual":
        return blocks
    if kind == "mlp":
        return down_projections(model.model.base_model, 32)
    return [OUTPUTS[model.model.config.model_type](block) for block in blocks]


def naive(model: TextModel, where: Located, noise: torch.Tensor, kind: str, layers: range, place: int) -> float:
    """One clean pass, then one pass with noise in which chosen outputs are replaced, by hooks of its own."""
    blocks = next(list(each) for each in model.model.modules() if isinstance(each, torch.nn.ModuleList) and len(each) == 3)
    chosen = [modules(model, kind, blocks)[layer] for layer in layers]
    kept: list[torch.Tensor] = []

    def first(output: Any) -> Any:
        return output[0] if isinstance(output, tuple) else output

    def keep(_module: Any, _args: Any, output: Any) -> None:
        kept.append(first(output).reshape(len(where.ids), -1)[place].clone())

    def put(_module: Any, _args: Any, output: Any) -> None:
        first(output).view(len(where.ids), -1)[place] = kept.pop(0)

    def disturb(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
        output[0, list(where.subject)] += noise
        return output

    ids = torch.tensor([where.ids])
    with torch.no_grad():
        hooks = [module.register_forward_hook(keep) for module in chosen]
        model.model(input_ids=ids)
        for hook in hooks:
            hook.remove()
        hooks = [module.register_forward_hook(put) for module in chosen]
        hooks.append(model.model.get_input_embeddings().register_forward_hook(disturb))
        logits = model.model(input_ids=ids).logits[0, -1]
        for hook in hooks:
            hook.remove()
    return float(logits.double().softmax(-1)[where.target[0]])


@pytest.mark.parametrize("model", OUTPUTS, indirect=True)
@pytest.mark.parametrize("window", [1, 2])
def test_many_in_one_pass_are_what_one_at_a_time_is(window: int, model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.tracing.restoring.BATCH_TOKENS", 100)
    stack, where = Stack(model), located(model)
    tracing = Tracing(0.3, window, samples=2)
    noises: list[torch.Tensor] = []
    once = stack.noised
    monkeypatch.setattr(stack, "noised", lambda places, noise: (noises.append(noise), once(places, noise))[1])
    found = trace(stack, where, tracing)
    assert abs(found.probability - found.corrupted) > 1e-5
    moved = 0
    for kind, effects in found.effects.items():
        for layer, row in enumerate(effects):
            assert row[: where.first] == [None] * where.first
            for place in range(where.first, len(where.ids)):
                within = range(layer, layer + 1) if kind == "residual" else around(layer, window, 3)
                expected = np.mean([naive(model, where, noise, kind, within, place) for noise in noises[0]]) - found.corrupted
                assert row[place] == pytest.approx(expected, abs=2e-7), (kind, layer, place)
                moved += abs(expected) > 1e-6
    assert moved > 20


@pytest.mark.parametrize("model", ["llama", "bloom"], indirect=True)
def test_what_is_remembered_of_the_run_with_noise_need_not_be_computed_again(model: TextModel) -> None:
    stack, where = Stack(model), located(model)
    tracing = Tracing(0.3, 2, samples=2)
    found = trace(stack, where, tracing)
    assert stack.remembers
    stack.remembers = False
    whole = trace(stack, where, tracing)
    assert found.cost["texts"] == whole.cost["texts"]
    assert found.cost["tokens"] < 0.7 * whole.cost["tokens"]
    for own, other in ((found.effects, whole.effects), (found.random, whole.random)):
        for kind in own:
            np.testing.assert_allclose(_numbers(own[kind]), _numbers(other[kind]), atol=2e-7)
    assert found.elsewhere is not None
    assert whole.elsewhere is not None
    for kind, effects in found.elsewhere.effects.items():
        np.testing.assert_allclose(effects, whole.elsewhere.effects[kind], atol=2e-7)
    if isinstance(found.cut, list):
        np.testing.assert_allclose(found.cut, whole.cut, atol=2e-7)


def _numbers(own: Any) -> Any:
    return np.array(list(own.values()) if isinstance(own, dict) else own, np.float64)


def test_restoring_everything_gives_all_back_and_no_noise_takes_nothing(model: TextModel) -> None:
    stack, where = Stack(model), located(model)
    tracing = Tracing(0.3, 1, samples=3)
    clean, corrupted = clean_run(stack, where), corrupted_run(stack, where, where.subject, tracing)
    assert float((corrupted.probabilities - clean.probability).abs().max()) > 1e-4
    everywhere = tuple(range(len(where.ids)))
    whole = [Restoration("residual", range(layer, layer + 1), everywhere) for layer in range(3)]
    found = restored(stack, where, clean, corrupted, whole, tracing)
    assert float((found - clean.probability).abs().max()) < 1e-6
    none = corrupted_run(stack, where, where.subject, replace(tracing, factor=0.0))
    assert float((none.probabilities - clean.probability).abs().max()) < 1e-7


def test_noise_has_the_spread_asked_for_and_is_drawn_by_seed(model: TextModel) -> None:
    stack, where = Stack(model), located(model)
    tracing = Tracing(0.25, 1, samples=400)
    runs = [corrupted_run(stack, where, where.subject, each) for each in (tracing, tracing, replace(tracing, seed=1))]
    added = runs[0].entered[0] - stack.entering(torch.tensor([where.ids]), lambda: stack.next_logits(torch.tensor([where.ids])))[1][0]
    subject = list(where.subject)
    assert float(added[:, subject].std()) == pytest.approx(0.75, rel=0.02)
    assert float(added[:, subject].mean()) == pytest.approx(0, abs=0.02)
    others = [at for at in range(len(where.ids)) if at not in where.subject]
    assert float(added[:, others].abs().max()) == 0
    assert torch.equal(runs[0].probabilities, runs[1].probabilities)
    assert not torch.equal(runs[0].probabilities, runs[2].probabilities)


def test_a_random_change_is_as_large_as_the_clean_one(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, where = Stack(model), located(model)
    tracing = Tracing(0.3, 1, samples=2)
    clean, corrupted = clean_run(stack, where), corrupted_run(stack, where, where.subject, tracing)
    changed = stack.changed
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watched(changes: Any) -> Any:
        def watch(change: Any) -> Any:
            def watching(given: torch.Tensor) -> torch.Tensor:
                seen.append((given, change(given)))
                return seen[-1][1]

            return watching

        return changed({key: watch(change) for key, change in changes.items()})

    monkeypatch.setattr(stack, "changed", watched)
    restored(stack, where, clean, corrupted, [Restoration("mlp", range(1, 2), (where.last,), random=True)], tracing)
    ((given, new),) = seen
    at = where.last - len(where.ids)  # what stands before is not computed again
    moved = (new - given)[:, at]
    expected = (clean.gave["mlp"][1][where.last] - given[:, at]).norm(dim=-1)
    torch.testing.assert_close(moved.norm(dim=-1), expected)
    assert float(torch.cosine_similarity(moved[0], moved[1], dim=0).abs()) < 0.6
    assert float((new - given).abs().sum()) == pytest.approx(float(moved.abs().sum()))


def test_the_lens_of_the_last_block_is_the_answer_and_of_others_the_norm_and_head(model: TextModel) -> None:
    stack, where = Stack(model), located(model)
    found = trace(stack, where, Tracing(0.3, 1, samples=1), other=7)
    with torch.inference_mode():
        states = model.model.model(input_ids=torch.tensor([where.ids]), output_hidden_states=True).hidden_states
        for layer in range(3):
            state = states[layer + 1] if layer == 2 else model.model.model.norm(states[layer + 1])
            told = model.model.lm_head(state[0, -1]).double().softmax(-1)
            for name, token in (("", where.target[0]), ("other_", 7)):
                assert found.lens[f"{name}probability"][layer] == pytest.approx(float(told[token]), rel=1e-4)
                assert found.lens[f"{name}rank"][layer] == 1 + int((told > told[token]).sum())
    assert found.lens["probability"][-1] == pytest.approx(found.probability, rel=1e-5)


def test_control_tokens_are_elsewhere_and_as_many(model: TextModel) -> None:
    where = located(model)
    tracing = Tracing(0.3, 1)
    drawn = places_elsewhere(where, tracing)
    assert len(drawn) == len(where.subject)
    assert set(drawn) <= set(where.elsewhere)
    assert len({tuple(places_elsewhere(where, replace(tracing, seed=seed))) for seed in range(9)}) > 1
    few = located(model, replace(FACT, prompt="old school was"))
    assert places_elsewhere(few, tracing) == few.elsewhere
    assert len(few.elsewhere) < len(few.subject)
    none = located(model, replace(FACT, prompt="old of", subject="old"))
    found = trace(Stack(model), none, Tracing(0.3, 1, samples=1))
    assert found.elsewhere is None
    assert found.cut != []


def test_a_family_without_interventions_is_traced_without_them(tiny_checkpoint: Callable[[str], Path]) -> None:
    model = TextModel.load(str(tiny_checkpoint("bloom")), dtype="float32", device="cpu")
    found = trace(Stack(model), located(model), Tracing(0.3, 1, samples=1))
    assert isinstance(found.cut, str)
    assert "choose a model" in found.cut
    assert found.uncut is None
    assert found.elsewhere is not None
    assert found.elsewhere.cut is None
    assert set(found.effects) == {"residual", "mlp", "attention"}


def test_texts_are_counted_before_they_run(model: TextModel) -> None:
    stack, where = Stack(model), located(model)
    tracing = Tracing(0.3, 1, samples=2)
    ran: list[int] = []
    found = trace(stack, where, tracing, ran=ran.append)
    assert sum(ran) == texts_of(where, tracing, 3)
    assert found.cost["texts"] >= sum(ran)
    assert found.cost["passes"] >= len(ran)


def test_windows_are_those_of_the_paper() -> None:
    assert [window_of(layers) for layers in (1, 3, 12, 30, 48)] == [1, 1, 4, 10, 10]
    assert [around(layer, 10, 48) for layer in (0, 20, 47)] == [range(5), range(15, 25), range(42, 48)]
    assert [around(layer, 1, 3) for layer in range(3)] == [range(1), range(1, 2), range(2, 3)]


def planted(planted_facts: Any, window: int = 1) -> tuple[list[Trace], list[Located]]:
    model = TextModel(planted_facts.model, planted_facts.tokenizer, name="planted", identity={})
    stack = Stack(model)
    where = [located(model, Fact(**fact, id="")) for fact in planted_facts.facts]
    assert all(each.known for each in said(model, where))
    tracing = Tracing(spread(stack, where), window, samples=2)
    return [trace(stack, each, tracing) for each in where[:2]], where[:2]


def test_a_fact_that_was_written_by_hand_is_found_where_it_was_written(planted_facts: Any) -> None:
    traces, located_ = planted(planted_facts)
    for found, where in zip(traces, located_, strict=True):
        lost = found.probability - found.corrupted
        assert lost > 0.5
        wanted = {
            "mlp": {(planted_facts.stored, where.last)},
            "attention": {(planted_facts.moved, len(where.ids) - 1)},
            "residual": {(layer, where.last if layer < planted_facts.moved else len(where.ids) - 1) for layer in range(4)},
        }
        for kind, cells in wanted.items():
            effects = np.array(found.effects[kind], np.float64)[:, where.first :]
            for layer, row in enumerate(effects):
                for place, value in enumerate(row, where.first):
                    assert value == pytest.approx(lost if (layer, place) in cells else 0, abs=0.02), (kind, layer, place)
        assert found.elsewhere is not None
        assert found.elsewhere.corrupted == pytest.approx(found.probability, abs=1e-6)
        assert max(found.random["last_subject"]["mlp"]) < 0.1
        assert isinstance(found.cut, list)
        assert found.uncut is not None
        assert [found.uncut - cut > 0.5 for cut in found.cut] == [layer == planted_facts.moved for layer in range(4)]
        assert [value > 0.5 for value in found.lens["probability"]] == [False, False, True, True]


def test_a_window_finds_it_wherever_it_holds_it(planted_facts: Any) -> None:
    traces, located_ = planted(planted_facts, window=3)
    for found, where in zip(traces, located_, strict=True):
        effects = np.array([row[where.last] for row in found.effects["mlp"]], np.float64)
        holds = [planted_facts.stored in around(layer, 3, 4) for layer in range(4)]
        assert [bool(value > 0.5) for value in effects] == holds
