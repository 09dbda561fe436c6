"""Rankings held against each other, on values whose best order and whose chance are known exactly, and on a model."""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.errors import ExplicateError, Failed, SubjectError
from analyzers.units import Kept
from evals.continuation import KINDS, Continuation, ContinuationBy, How, Instead, Kind, agreeing, controlled
from evals.continuation_compare import (
    ALONE,
    FEW,
    MOST_COMPARED,
    SHIPPED,
    Comparison,
    PromptFailure,
    along,
    compared,
    greedy,
    normalised,
    read_prompts,
    run_continuation,
    run_prompts,
    with_curves,
)
from evals.results import Failure, Lift, Value

WEIGHTS = [3.0, -1.0, 0.5, 2.0, -2.5]


def prompt_of(methods: Mapping[str, list[float]], **changes: Any) -> Continuation:
    units = len(next(iter(methods.values())))
    return Continuation(
        model={"name": "m"},
        seed=0,
        text=" ".join("abcdefgh"[:units]),
        chat=False,
        target=" z",
        target_ids=[1],
        value=-1.0,
        instead=Instead(text=" y", value=-0.5),
        unlikely=False,
        notes=[],
        unit="word",
        units=list("abcdefgh"[:units]),
        outside=[],
        operator="delete",
        methods={name: ContinuationBy(values=values) for name, values in methods.items()},
        texts_evaluated=1,
        **changes,
    )


def additive(sets: Iterable[Kept]) -> dict[Kept, float]:
    """Every unit adds its own weight, so the order by weight is the best there is."""
    return {kept: sum(WEIGHTS[unit] for unit in kept) for kept in sets}


def by(found: ContinuationBy | Failure) -> ContinuationBy:
    assert isinstance(found, ContinuationBy)
    return found


def test_where_units_add_up_the_order_of_their_weights_is_best_and_chance_is_known() -> None:
    reverse = [-weight for weight in WEIGHTS]
    found = with_curves(prompt_of({"true": WEIGHTS, "reverse": reverse, "level": [1.0] * 5}), additive, [0])
    n, whole = len(WEIGHTS), sum(WEIGHTS)
    ordered = sorted(WEIGHTS, reverse=True)
    true = by(found.methods["true"])
    assert true.deletion == pytest.approx([whole - sum(ordered[:k]) for k in range(n + 1)])
    assert true.insertion == pytest.approx([sum(ordered[:k]) for k in range(n + 1)])
    mean = sum(sum(ordered[:k]) for k in range(1, n + 1)) / n
    assert true.aopc == {"deletion": pytest.approx(mean), "insertion": pytest.approx(mean)}
    assert found.random is not None
    assert found.best is not None
    # An order and its reverse: every unit stands in the middle on average.
    chance = whole * (n + 1) / (2 * n)
    for kind in KINDS:
        assert found.random.aopc[kind] == pytest.approx(chance)
        assert found.best.aopc[kind] == pytest.approx(mean)
        assert (true.normalised or {})[kind] == pytest.approx(1)
        assert (by(found.methods["reverse"]).normalised or {})[kind] == pytest.approx(-1)
    assert found.random.deletion[0] == pytest.approx(whole)
    assert found.random.insertion[-1] == pytest.approx(whole)
    assert found.best.deletion == pytest.approx(true.deletion)
    # A method that gives all units one value is a drawn order, not the order of the text.
    drawn = {tuple(by(with_curves(prompt_of({"level": [1.0] * 5}), additive, [seed]).methods["level"]).deletion or ()) for seed in range(5)}
    assert len(drawn) > 1


@given(st.lists(st.integers(-20, 20), min_size=16, max_size=16), st.permutations(range(4)), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_no_ranking_is_above_the_best_found_nor_that_above_the_best_there_is(table: list[int], values: list[int], seed: int) -> None:
    """Of any values of the sixteen sets of four units."""

    def f(sets: Iterable[Kept]) -> dict[Kept, float]:
        return {kept: float(table[sum(1 << unit for unit in kept)]) for kept in sets}

    found = with_curves(prompt_of({"one": [float(each) for each in values]}), f, [seed])
    assert found.best is not None
    assert found.random is not None
    own = by(found.methods["one"])
    everything = frozenset(range(4))
    for kind in KINDS:
        scores = {}
        for order in permutations(range(4)):
            steps = [frozenset(order[:k]) for k in range(1, 5)]
            if kind == "deletion":
                falls = [f([everything])[everything] - f([everything - step])[everything - step] for step in steps]
            else:
                falls = [f([step])[step] - f([frozenset()])[frozenset()] for step in steps]
            scores[order] = sum(falls) / 4
        ranked = tuple(sorted(range(4), key=lambda unit: -values[unit]))
        assert (own.aopc or {})[kind] == pytest.approx(scores[ranked])
        assert max(scores[ranked], found.random.aopc[kind]) <= found.best.aopc[kind] + 1e-9
        assert found.best.aopc[kind] <= max(scores.values()) + 1e-9
        curve = getattr(found.best, kind)
        assert abs(np.mean(np.array(curve[1:]) - curve[0])) == pytest.approx(abs(found.best.aopc[kind]))
        placed = (own.normalised or {})[kind]
        if max(scores.values()) == min(scores.values()):
            assert isinstance(placed, Failure)
        elif isinstance(placed, float):
            room = found.best.aopc[kind] - found.random.aopc[kind]
            assert placed == pytest.approx((scores[ranked] - found.random.aopc[kind]) / room)


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_takes_what_helps_most_at_every_step(kind: Any) -> None:
    assert greedy(5, additive, kind) == [0, 3, 2, 1, 4]

    def together(sets: Iterable[Kept]) -> dict[Kept, float]:
        """0 and 1 do much, but only both; 2 does a little."""
        return {kept: 5.0 * ({0, 1} <= kept) + (2 in kept) for kept in sets}

    # To take away, one of the two is enough; to put in, the first of them does nothing yet.
    assert greedy(3, together, kind) == ([0, 2, 1] if kind == "deletion" else [2, 0, 1])
    assert along([0, 2, 1], together).deletion == [6, 1, 0, 0]


def test_nothing_is_normalised_where_all_orders_do_the_same() -> None:
    assert isinstance(normalised(1.0, 1.0, 1.0), Failed)
    assert normalised(2.0, 1.0, 3.0) == 0.5
    found = with_curves(prompt_of({"one": WEIGHTS}), lambda sets: dict.fromkeys(sets, 4.0), [0])
    placed = (by(found.methods["one"]).normalised or {})["deletion"]
    assert isinstance(placed, Failure)
    assert "all orders" in placed.reason


def controls_of(units: int) -> dict[str, list[float]]:
    return {"later-first": [float(at) for at in range(units)], "earlier-first": [-float(at) for at in range(units)]}


def weighed(number: int, weights: Any, methods: Mapping[str, Any], *, unsigned: tuple[str, ...] = ()) -> Continuation:
    """A prompt whose units' weights add up, which `occlusion` knows, with what position alone comes to."""
    held = [float(weight) for weight in weights]
    prompt = prompt_of({"occlusion": held, **{name: [float(value) for value in values] for name, values in methods.items()}})
    read = {name: each.model_copy(update={"signed": name not in unsigned}) for name, each in prompt.methods.items()}
    controls = controlled(controls_of(len(held)), read)
    placed = prompt.model_copy(update={"methods": agreeing(read), "controls": controls})
    return with_curves(placed, lambda sets: {kept: sum(held[unit] for unit in kept) for kept in sets}, [number])


def judged(prompts: list[Continuation | PromptFailure]) -> Comparison:
    first = next(each for each in prompts if isinstance(each, Continuation))
    return compared(prompts, How([*first.methods, "occlusion"]), model={"name": "m"}, source="mine")


def over_prompts(n: int, *, failed: int = 0) -> Comparison:
    """Prompts with random weights that add up: `occlusion` knows them, `noisy` about, `blind` nothing, `reverse` the contrary."""
    rng = np.random.default_rng(7)
    found: list[Continuation | PromptFailure] = []
    for number in range(n):
        weights = rng.normal(size=6)
        methods = {"noisy": weights + rng.normal(size=6) / 2, "blind": rng.normal(size=6), "reverse": -weights}
        found.append(weighed(number, weights, methods))
    found += [PromptFailure(stage="attribute", reason="too long", text="t", target=" z")] * failed
    return judged(found)


def test_methods_that_know_are_told_from_those_that_do_not() -> None:
    found = over_prompts(24)
    assert found.trusted == ["occlusion", "noisy"]
    assert (found.too_few, found.notes) == (False, [])
    assert {name for name, each in found.comparison.items() if each.trusted} == {"occlusion", "noisy"}
    best = found.comparison["occlusion"].deletion
    assert isinstance(best, Value)
    assert (best.value, best.low, best.high, best.n) == (pytest.approx(1), pytest.approx(1), pytest.approx(1), 24)
    reverse = found.comparison["reverse"]
    assert isinstance(reverse.deletion, Value)
    assert reverse.deletion.value == pytest.approx(-1)
    assert reverse.p == 1.0
    # Means over prompts of what each prompt has.
    single = [(by(each.methods["noisy"]).normalised or {})["deletion"] for each in found.prompts if isinstance(each, Continuation)]
    noisy = found.comparison["noisy"]
    assert isinstance(noisy.deletion, Value)
    assert noisy.deletion.value == pytest.approx(np.mean([value for value in single if isinstance(value, float)]))
    assert noisy.deletion.low < noisy.deletion.value < noisy.deletion.high
    # Benjamini-Hochberg over the four, by hand.
    ps = {name: each.p for name, each in found.comparison.items()}
    known = sorted(p for p in ps.values() if p is not None)
    for name, p in ps.items():
        assert p is not None
        assert found.comparison[name].q == pytest.approx(min(min(known[at] * 4 / (at + 1), 1) for at in range(4) if known[at] >= p))


def test_what_failed_is_counted_and_too_much_of_it_voids() -> None:
    some, many = over_prompts(24, failed=4), over_prompts(24, failed=8)
    for found, failed in ((some, 4), (many, 8)):
        each = found.comparison["occlusion"]
        assert (each.n, each.n_failed) == (24, failed)
        assert [(missing.reason, missing.n) for missing in each.missing] == [("too long", failed)]
    assert some.trusted == ["occlusion", "noisy"]
    assert many.trusted == []
    assert all(each.void for each in many.comparison.values())


def test_of_too_few_prompts_there_is_no_verdict() -> None:
    """Where one more would have given one: what can be read does not count those that failed."""
    assert over_prompts(FEW).trusted == ["occlusion", "noisy"]
    found = over_prompts(FEW - 1, failed=2)
    assert found.too_few
    assert found.trusted == [name for name, each in found.comparison.items() if each.trusted] == []
    assert found.comparison["occlusion"].q is not None
    assert found.comparison["occlusion"].q < 0.05
    (note,) = found.notes
    assert f"Few prompts ({FEW - 1})" in note


def test_targets_that_the_model_would_hardly_write_are_counted() -> None:
    prompts = [each.model_copy(update={"unlikely": number < 3}) for number, each in enumerate(over_prompts(FEW).prompts)]
    (note,) = judged(prompts).notes
    assert note.startswith(f"In 3 of {FEW} prompts the model would hardly write the target")


def test_a_truth_is_judged_by_its_curves_and_other_methods_by_agreement_too() -> None:
    """Occlusion and Shapley values that contradict each other, both with curves above those of the controls."""
    found = over_prompts(24)
    prompts = []
    for each in found.prompts:
        assert isinstance(each, Continuation)
        best = by(each.methods["occlusion"])
        turned = best.model_copy(update={"agreement": {"occlusion": -1.0}})
        other = best.model_copy(update={"agreement": {"occlusion": 1.0, "shapley": -1.0}})
        methods = {"occlusion": best.model_copy(update={"agreement": {"shapley": -1.0}}), "shapley": turned, "other": other}
        prompts.append(each.model_copy(update={"methods": methods}))
    again = compared(prompts, How(["occlusion", "shapley", "other"]), model={"name": "m"}, source="mine")
    assert again.trusted == ["occlusion", "shapley"]
    # Their agreement is told all the same.
    agreement = again.comparison["occlusion"].agreement["shapley"]
    assert isinstance(agreement, Value)
    assert agreement.value == -1
    # Where it has no figure at all, a truth lacks nothing.
    for each in prompts:
        by(each.methods["occlusion"]).agreement.clear()
    alone = compared(prompts, How(["occlusion", "shapley", "other"]), model={"name": "m"}, source="mine").comparison["occlusion"]
    assert (alone.n, alone.n_failed, alone.trusted) == (24, 0, True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["occlusion", "noisy"])
def test_a_method_whose_curve_is_no_better_than_a_controls_is_not_trusted(kind: Kind, name: str) -> None:
    """Of either curve, and of a truth as well."""
    prompts = []
    for each in over_prompts(24).prompts:
        assert isinstance(each, Continuation)
        mine = by(each.methods[name])
        placed = dict(mine.normalised or {}) | {kind: (each.controls["later-first"].normalised or {})[kind]}
        prompts.append(each.model_copy(update={"methods": each.methods | {name: mine.model_copy(update={"normalised": placed})}}))
    again = judged(prompts)
    assert again.trusted == [other for other in ("occlusion", "noisy") if other != name]


@pytest.mark.parametrize(("lost", "void"), [(4, False), (5, True), (18, True)])
def test_agreement_that_failed_is_missing(lost: int, void: bool) -> None:
    found = over_prompts(20)
    assert found.trusted == ["occlusion", "noisy"]
    for number, each in enumerate(found.prompts):
        assert isinstance(each, Continuation)
        if number < lost:
            by(each.methods["noisy"]).agreement["occlusion"] = Failure(stage="score", reason="all units have the same value")
    again = compared(found.prompts, How(["occlusion", "noisy", "blind", "reverse"]), model={"name": "m"}, source="mine")
    noisy = again.comparison["noisy"]
    assert isinstance(noisy.agreement["occlusion"], Value)
    assert noisy.agreement["occlusion"].low > 0
    assert (noisy.n, noisy.n_failed, noisy.void) == (20 - lost, lost, void)
    assert [(missing.reason, missing.n) for missing in noisy.missing] == [("all units have the same value", lost)]
    assert again.trusted == (["occlusion"] if void else ["occlusion", "noisy"])


def by_position(n: int, *, sign: bool = True) -> Comparison:
    """Prompts in which later units weigh more: `position` is the order of the text, `noisy` knows the weights about.

    sign: all weights speak for the continuation; else a half against it, and both methods give sizes.
    """
    rng = np.random.default_rng(11)
    found: list[Continuation | PromptFailure] = []
    for number in range(n):
        sizes = np.arange(6) / 3 + rng.exponential(size=6)
        weights = sizes if sign else sizes * rng.choice([-1, 1], size=6)
        methods = {"position": np.arange(6), "noisy": sizes + rng.normal(size=6) / 10}
        found.append(weighed(number, weights, methods, unsigned=() if sign else ("position", "noisy")))
    return judged(found)


def test_a_method_that_knows_no_more_than_position_is_not_trusted() -> None:
    found = by_position(30)
    position = found.comparison["position"]
    # All that random orders alone can be held against it speaks for it.
    agreement = position.agreement["occlusion"]
    assert isinstance(agreement, Value)
    assert isinstance(position.deletion, Value)
    assert position.q is not None
    assert min(agreement.low, position.deletion.low) > 0
    assert position.q < 0.05
    assert not position.void
    assert set(position.lift) == {"deletion", "insertion", "occlusion"}
    for figure, each in position.lift.items():
        assert isinstance(each, Lift)
        assert (each.value, each.low, each.high, each.n, each.over, each.score) == (0, 0, 0, 30, "later-first", figure)
    assert found.trusted == ["occlusion", "noisy"]
    assert found.controls["later-first"].agreement == position.agreement
    assert found.controls["later-first"].model_dump(include={"deletion", "insertion", "aopc"}) == position.model_dump(
        include={"deletion", "insertion", "aopc"}
    )


def test_sizes_are_held_against_what_a_control_agrees_with_sizes() -> None:
    found = by_position(30, sign=False)
    of_sizes = found.controls["later-first"].agreement_with_sizes["occlusion"]
    assert found.comparison["position"].agreement["occlusion"] == of_sizes != found.controls["later-first"].agreement["occlusion"]
    position, noisy = (found.comparison[name].lift["occlusion"] for name in ("position", "noisy"))
    assert isinstance(position, Lift)
    assert isinstance(noisy, Lift)
    assert (position.low, position.high, position.over) == (0, 0, "later-first")
    assert noisy.low > 0


def test_a_method_without_a_control_is_not_trusted() -> None:
    bare = [each.model_copy(update={"controls": {}}) for each in over_prompts(24).prompts if isinstance(each, Continuation)]
    found = judged([*bare])
    assert found.trusted == []
    assert found.controls == {}
    assert all(isinstance(each, Failure) for one in found.comparison.values() for each in one.lift.values())


@pytest.mark.parametrize("name", ["noisy", "blind", "reverse", "occlusion"])
def test_the_lift_is_the_mean_paired_difference_from_the_best_control(name: str) -> None:
    found = over_prompts(14, failed=1)
    rng = np.random.default_rng(0)
    assert set(found.comparison[name].lift) == {*KINDS} | ({"occlusion"} - {name})
    for figure, lift in found.comparison[name].lift.items():
        mine, theirs = [], {control: [] for control in found.controls}
        for each in found.prompts:
            if not isinstance(each, Continuation):
                continue
            mine.append((by(each.methods[name]).normalised or {})[figure] if figure in KINDS else by(each.methods[name]).agreement[figure])
            for control, values in theirs.items():
                held = each.controls[control]
                values.append((held.normalised or {})[figure] if figure in KINDS else held.agreement[figure])
        best = "later-first" if sum(theirs["later-first"]) > sum(theirs["earlier-first"]) else "earlier-first"
        differences = np.array(mine) - np.array(theirs[best])
        drawn = [differences[rng.integers(0, 14, 14)].mean() for _ in range(4000)]
        assert isinstance(lift, Lift)
        assert (lift.over, lift.n) == (best, 14)
        assert lift.value == pytest.approx(differences.mean())
        assert [lift.low, lift.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.06)


@given(st.lists(st.integers(-9, 9), min_size=5, max_size=5), st.permutations(range(5)))
@settings(deadline=None, max_examples=30)
def test_a_control_is_ranked_as_a_method_of_its_values(weights: list[int], order: list[int]) -> None:
    values = [float(each) for each in order]
    prompt = prompt_of({"one": values, "two": [1.0, 3.0, 2.0, 5.0, 4.0]})
    prompt = prompt.model_copy(update={"controls": controlled({"same": values, "later-first": [0.0, 1.0, 2.0, 3.0, 4.0]}, {})})

    def f(sets: Iterable[Kept]) -> dict[Kept, float]:
        return {kept: float(sum(weights[unit] for unit in kept) + 3 * ({0, 4} <= kept)) for kept in sets}

    found = with_curves(prompt, f, [0])
    for part in ("deletion", "insertion", "aopc", "normalised"):
        assert getattr(found.controls["same"], part) == getattr(by(found.methods["one"]), part)
    for control in found.controls.values():
        assert all(value <= 1 + 1e-9 for value in (control.normalised or {}).values() if isinstance(value, float))
    # What the methods and the random orders draw does not hang on the controls.
    bare = with_curves(prompt.model_copy(update={"controls": {}}), f, [0])
    assert (bare.random, by(bare.methods["two"]).deletion) == (found.random, by(found.methods["two"]).deletion)


@pytest.fixture
def tiny(tiny_checkpoint: Callable[[str], Path]) -> str:
    return str(tiny_checkpoint("llama"))


def test_prompts_of_a_file_with_one_that_cannot_be_asked(tiny: str, tmp_path: Path) -> None:
    rows = [
        {"prompt": "the river rises in", "target": " the hills"},
        {"prompt": "three years by boat", "target": " and"},
        {"prompt": "the water", "target": " in " + "a very long way " * 600},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    told: list[tuple[str, int, int]] = []
    how = How(["occlusion", "gradient-norm"])
    found = run_prompts(tiny, str(path), how, device="cpu", dtype="float32", report=lambda *each: told.append(each))
    assert list(found.controls) == ["later-first", "earlier-first", "longer-first", "rarer-first"]
    good, other, failed = found.prompts
    assert isinstance(failed, PromptFailure)
    assert "tokens" in failed.reason
    assert {name: (each.n, each.n_failed) for name, each in found.comparison.items()} == dict.fromkeys(how.methods, (2, 1))
    assert [each for each in told if each[0] == "prompts"] == [("prompts", done, 3) for done in range(4)]
    assert isinstance(good, Continuation)
    assert isinstance(other, Continuation)
    # The same prompt alone, the first of its kind.
    alone = run_continuation(tiny, "the river rises in", " the hills", how, compare=True, device="cpu", dtype="float32")
    assert alone.model_copy(update={"notes": good.notes}) == good
    assert alone.notes == [*good.notes, ALONE]
    assert (found.too_few, found.trusted) == (True, [])
    # All sets of four words, none of which read alike.
    assert good.texts_evaluated == 2**4
    deletion = by(good.methods["occlusion"]).deletion or []
    assert deletion[0] == pytest.approx(good.value)
    plain = run_continuation(tiny, "the river rises in", " the hills", how, compare=False, device="cpu", dtype="float32")
    assert plain.random is None
    assert plain.notes == good.notes
    assert by(plain.methods["occlusion"]).values == pytest.approx(by(good.methods["occlusion"]).values)
    assert by(plain.methods["occlusion"]).deletion is None


def test_what_cannot_be_compared_is_told(tiny: str, tmp_path: Path) -> None:
    how = How(["occlusion"])
    with pytest.raises(ExplicateError, match=f"2 to {MOST_COMPARED}"):
        run_continuation(tiny, "a " * (MOST_COMPARED + 1), " b", how, compare=True, device="cpu")
    for model, named, error in (("openai:gpt-5-mini", "over a network", SubjectError), ("no-such-model", "one of them", ExplicateError)):
        with pytest.raises(error, match=named):
            run_continuation(model, "a b c", " d", How(["lime"]), compare=True)
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "a b c", "target": ""}\n', encoding="utf-8")
    for content, told in (
        ('{"prompt": "a b c", "target": ""}\n', "line 1 has no texts"),
        ('{"prompt": "a b c", "target": " d"}\n\n{"prompt": "a b c"}\n', "line 3 has no texts"),
        ("[1, 2]\n", "line 1 holds no JSON object but list"),
        ("{", "line 1 is not JSON"),
        ('{"prompt": "a b c", "target": " d"}\n', "has 1 prompts"),
        ("", "has 0 prompts"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ExplicateError, match=told):
            read_prompts(str(path))
    with pytest.raises(ExplicateError, match="no such file"):
        read_prompts(str(tmp_path / "nowhere.jsonl"))
    path.write_text('{"prompt": "a", "target": " d"}\n{"prompt": "b", "target": " d"}\n', encoding="utf-8")
    with pytest.raises(ExplicateError, match="none of the 2 prompts"):
        run_prompts(tiny, str(path), how, device="cpu")


def test_the_prompts_that_come_along_are_forty_with_one_word_each() -> None:
    found = read_prompts(SHIPPED)
    assert len(found) == len({each.prompt for each in found}) == 40
    for each in found:
        assert each.target.startswith(" ")
        assert each.target[1:].isalpha()
        assert len(each.prompt.split()) >= 3
        assert each.prompt == each.prompt.strip()


@pytest.mark.slow
def test_a_small_model_knows_how_the_prompts_go_on() -> None:
    from analyzers.text_model import TextModel

    model = TextModel.load("smollm2-135m")
    ranks = []
    for each in read_prompts(SHIPPED):
        ids, (target, *_) = model.prompt(each.prompt).ids, model.continuation(each.prompt, each.target)
        with torch.inference_mode():
            logits = model.forward(torch.tensor([ids])).logits[0, -1].float()
        ranks.append(int((logits > logits[target]).sum()))
    assert max(ranks) < 5
    assert ranks.count(0) > len(ranks) / 2


def test_methods_are_compared_on_what_an_encoder_tells_at_its_masks(masked_model: Callable[..., tuple[Any, Any]], tmp_path: Path) -> None:
    for part in masked_model("distilbert"):
        part.save_pretrained(tmp_path / "model")
    asked = [("the [MASK] bridge was away", "river"), ("boat and [MASK] in the hills", "water"), ("no mask is here", "river")]
    lines = [json.dumps({"prompt": prompt, "target": target}) + "\n" for prompt, target in asked]
    (tmp_path / "asked.jsonl").write_text("".join(lines), encoding="utf-8")
    found = run_prompts(str(tmp_path / "model"), str(tmp_path / "asked.jsonl"), How(["occlusion", "attention-x-gradient"]), dtype="float32")
    first, second, failed = found.prompts
    assert isinstance(first, Continuation)
    assert isinstance(second, Continuation)
    assert (first.units, second.units) == (["the", "bridge", "was", "away"], ["boat", "and", "in", "the", "hills"])
    assert isinstance(failed, PromptFailure)
    assert "the text has no masks; write [MASK] where" in failed.reason
    assert list(found.controls)[-1] == "nearer-first"
    assert second.controls["nearer-first"].values == [-5.0, -1.0, -1.0, -4.0, -8.0]
    for each in (first, second):
        # Both ends of a curve are the whole prompt and the masks alone, whatever the order.
        ends = [[curve[0], curve[-1]] for method in each.methods.values() for curve in [by(method).deletion] if curve]
        assert len(ends) == 2
        assert ends[0] == ends[1]
        assert ends[0][0] == each.value
    assert {name: each.n for name, each in found.comparison.items()} == {"occlusion": 2, "attention-x-gradient": 2}
