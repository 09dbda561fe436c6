"""Attribution of a continuation, against every perturbed prompt read by itself."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from analyzers.attributions import METHODS
from analyzers.errors import ExplicateError, Failed, SubjectError
from analyzers.saliency import SALIENCIES, Saliency
from analyzers.text_model import TextModel
from analyzers.units import Units
from evals.continuation import ContinuationBy, How, Valued, agreeing, attributed, beside, members, spearman, summed, token_units
from evals.results import Failure

TEXT = "the old bridge was carried away"
TARGET = " by a flood"


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint("llama")), device="cpu", dtype="float32")


@torch.inference_mode()
def alone(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> float:
    """Log-probability of the target, token by token, each by a forward pass of its own."""
    found = 0.0
    for at, token in enumerate(target):
        logits = model.model(torch.tensor([[*ids, *target[:at]]])).logits[0, -1]
        found += float(torch.log_softmax(logits, -1)[token])
    return found


def by(found: ContinuationBy | Failure) -> ContinuationBy:
    assert isinstance(found, ContinuationBy)
    return found


MASKED = "The old bridge was {} away by a flood"


@pytest.fixture(params=["bert", "roberta", "distilbert"])
def encoder(request: pytest.FixtureRequest, masked_model: Callable[..., tuple[Any, Any]]) -> TextModel:
    net, tokenizer = masked_model(request.param)
    return TextModel(net.requires_grad_(False), tokenizer, name="tiny", identity={"name": "tiny", "dtype": "float32"})


def masks(model: TextModel, form: str, target: str) -> str:
    """As many as the target has tokens in that place."""
    mask = model.tokenizer.mask_token
    written, masked = (len(model.tokenizer(form.format(each))["input_ids"]) for each in (target, mask))
    return str(mask * (written - masked + 1))


@torch.inference_mode()
def at_masks(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> float:
    """Log-probability of the target at the masks of one text."""
    logits = model.model(torch.tensor([list(ids)])).logits[0].log_softmax(-1)
    places = [at for at, token in enumerate(ids) if token == model.tokenizer.mask_token_id]
    return float(sum(logits[place, token] for place, token in zip(places, target, strict=True)))


def without(text: str, *taken: int) -> str:
    return " ".join(word for at, word in enumerate(text.split()) if at not in taken)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Saliency]], None]:
    """planted(name, function): another method that reads the model."""
    SALIENCIES.all()

    def add(name: str, function: Callable[..., Saliency]) -> None:
        monkeypatch.setitem(SALIENCIES._parts, name, function)

    return add


def test_occlusion_is_the_fall_of_the_log_probability_when_the_word_is_left_out(model: TextModel) -> None:
    found, _ = attributed(model, TEXT, TARGET, How(["occlusion", "shapley"], most=60))
    target = model.continuation(TEXT, TARGET)
    assert len(target) > 1
    whole = alone(model, model.prompt(TEXT).ids, target)
    single = [alone(model, model.prompt(without(TEXT, at)).ids, target) for at in range(6)]
    assert found.units == TEXT.split()
    assert found.value == pytest.approx(whole, abs=1e-3)
    assert by(found.methods["occlusion"]).values == pytest.approx(whole - np.array(single), abs=1e-3)
    # What Shapley values sum to is the whole prompt beside none of it.
    nothing = alone(model, model.around[0], target)
    assert sum(by(found.methods["shapley"]).values) == pytest.approx(whole - nothing, abs=1e-3)
    assert found.target_ids == list(target)


def test_what_the_model_would_write_instead_is_told(model: TextModel) -> None:
    found, _ = attributed(model, TEXT, TARGET, How(["occlusion"]))
    ids, written, value = list(model.prompt(TEXT).ids), [], 0.0
    for _ in found.target_ids:
        with torch.no_grad():
            chances = torch.log_softmax(model.model(torch.tensor([[*ids, *written]])).logits[0, -1], -1)
        written.append(int(chances.argmax()))
        value += float(chances.max())
    assert len(written) > 1
    assert found.instead.text == model.tokens.decode(written)
    assert found.instead.value == pytest.approx(value, abs=1e-3)
    # What the model writes itself is what it would write instead.
    own, _ = attributed(model, TEXT, found.instead.text, How(["occlusion"]))
    if tuple(own.target_ids) == tuple(written):
        assert own.value == pytest.approx(own.instead.value, abs=1e-3)


@pytest.mark.parametrize("unlikely", [True, False])
def test_a_target_that_the_model_would_hardly_write_is_noted(unlikely: bool, model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    value = attributed(model, TEXT, TARGET, How(["occlusion"]))[0].value
    n = len(model.continuation(TEXT, TARGET))
    # The geometric mean of its tokens' probabilities is a little below, or a little above.
    monkeypatch.setattr("evals.continuation.UNLIKELY", np.exp(value / n) * (1.01 if unlikely else 0.99))
    found, _ = attributed(model, TEXT, TARGET, How(["occlusion"]))
    assert found.unlikely == unlikely
    assert [("would hardly write this target" in note, repr(found.instead.text) in note) for note in found.notes] == [
        (True, True)
    ] * unlikely


def test_an_encoder_would_put_the_likeliest_at_each_mask(encoder: TextModel) -> None:
    target = "carried and swept"
    text = MASKED.format(masks(encoder, MASKED, target))
    found, _ = attributed(encoder, text, target, How(["occlusion"]))
    ids = encoder.prompt(text).ids
    with torch.no_grad():
        chances = encoder.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    at = [place for place, token in enumerate(ids) if token == encoder.tokenizer.mask_token_id]
    assert len(at) > 1
    assert found.instead.value == pytest.approx(float(chances[at].max(-1).values.sum()), abs=1e-4)
    assert found.instead.text == encoder.tokenizer.decode(chances[at].argmax(-1), clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("chat", [False, True])
def test_controls_read_the_text_and_the_ids_of_its_own_tokens_alone(model: TextModel, chat: bool) -> None:
    text = "the old bridge, which was carried away"
    found, _ = attributed(model, text, TARGET, How(["occlusion", "shapley"], most=80, chat=chat))
    prompt, at = model.prompt(text, chat=chat), 0
    for unit, value in zip(found.units, found.controls["rarer-first"].values, strict=True):
        at = text.index(unit, at)
        covered = [span is not None and max(span[0], at) < min(span[1], at + len(unit)) for span in prompt.spans]
        own = [number for number, inside in zip(prompt.ids, covered, strict=True) if inside]
        assert own
        assert value == pytest.approx(sum(np.log(1 + number) for number in own))
    assert found.controls["longer-first"].values == [3, 3, 6, 1, 5, 3, 7, 4]
    assert found.controls["later-first"].values == list(range(8)) == found.controls["earlier-first"].values[::-1]
    assert "nearer-first" not in found.controls
    for truth in ("occlusion", "shapley"):
        values = by(found.methods[truth]).values
        for control in found.controls.values():
            assert control.agreement[truth] == pytest.approx(spearmanr(control.values, values).statistic)
            assert control.agreement_with_sizes[truth] == pytest.approx(spearmanr(control.values, np.abs(values)).statistic)


def test_the_target_stays_the_same_tokens_where_a_perturbed_text_would_melt_with_it(model: TextModel) -> None:
    text, target = "t q", "he"
    ids = model.continuation(text, target)
    melted = model.prompt("the").ids
    assert melted != model.prompt("t").ids + ids
    found, _ = attributed(model, text, target, How(["occlusion"]))
    whole, one = (alone(model, model.prompt(some).ids, ids) for some in (text, "t"))
    assert by(found.methods["occlusion"]).values[1] == pytest.approx(whole - one, abs=1e-3)


def test_a_chat_template_is_never_perturbed_and_in_no_unit(model: TextModel) -> None:
    found, valued = attributed(model, TEXT, TARGET, How(["occlusion", "shapley"], chat=True, most=60))
    bare = model.prompt(TEXT, chat=True)
    before = [token for token, span in zip(bare.ids, bare.spans, strict=True) if span is None]
    assert len(before) > 2
    place = next(at for at, span in enumerate(bare.spans) if span is not None)
    first, last = before[:place], before[place:]
    assert valued.read[frozenset()] == (*first, *last)
    for ids in valued.read.values():
        assert list(ids[: len(first)]) == first
        assert list(ids[len(ids) - len(last) :]) == last
    assert len(valued.read) > 10
    assert found.units == TEXT.split()
    assert len(found.outside) == len(before)


@pytest.mark.parametrize("chat", [False, True])
def test_methods_that_read_the_model_know_which_tokens_are_of_the_text(
    chat: bool, model: TextModel, planted: Callable[[str, Callable[..., Saliency]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Sequence[bool]] = []

    def look(_: Any, ids: Sequence[int], target: Sequence[int], text: Sequence[bool]) -> Saliency:
        told.append(text)
        return Saliency(np.ones(len(ids)))

    planted("look", look)
    monkeypatch.setattr("analyzers.saliency.integrated_gradients.WRONG", np.inf)
    found, _ = attributed(model, TEXT, TARGET, How(["look", "integrated-gradients"], chat=chat))
    prompt = model.prompt(TEXT, chat=chat)
    assert told == [[span is not None for span in prompt.spans]]
    assert (False in told[0]) == chat
    # Every token of the text is in a unit, and all others stay as they are along the path, so that they have no value.
    assert by(found.methods["integrated-gradients"]).facts["share_outside_units"] == 0
    assert any(by(found.methods["integrated-gradients"]).values)


@pytest.mark.parametrize("target", ["carried", "carried and swept"])
def test_an_encoders_words_are_taken_away_from_around_its_masks(target: str, encoder: TextModel) -> None:
    mask = masks(encoder, MASKED, target)
    text, words = MASKED.format(mask), ["The", "old", "bridge", "was", "away", "by", "a", "flood"]
    found, _ = attributed(encoder, text, target, How(["occlusion", "shapley", "attention"], most=40))
    assert found.units == words
    # Characters from the masks, by hand.
    assert found.controls["nearer-first"].values == [-16, -12, -5, -1, -1, -6, -9, -11]
    assert set(found.outside) == {encoder.tokenizer.cls_token, encoder.tokenizer.sep_token, encoder.tokenizer.mask_token}
    assert found.target_ids == list(encoder.continuation(text, target))
    whole = at_masks(encoder, encoder.prompt(text).ids, found.target_ids)
    assert found.value == pytest.approx(whole, abs=1e-4)
    single = []
    for taken in range(8):
        left = [word for at, word in enumerate(words) if at != taken]
        left.insert(4 - (taken < 4), mask)
        single.append(at_masks(encoder, encoder.prompt(" ".join(left)).ids, found.target_ids))
    assert np.ptp(single) > 1e-2
    assert by(found.methods["occlusion"]).values == pytest.approx(whole - np.array(single), abs=1e-4)
    nothing = at_masks(encoder, encoder.prompt(mask).ids, found.target_ids)
    assert sum(by(found.methods["shapley"]).values) == pytest.approx(whole - nothing, abs=1e-4)
    # What is on masks and on the tokenizer's own marks is left out.
    attention = SALIENCIES.get("attention")(encoder, encoder.prompt(text).ids, found.target_ids).values
    special = [token in encoder.tokenizer.all_special_ids for token in encoder.prompt(text).ids]
    assert by(found.methods["attention"]).facts["share_outside_units"] == pytest.approx(attention[special].sum() / attention.sum())


@pytest.mark.parametrize(
    ("operator", "unit"),
    [
        *(("delete", unit) for unit in ("word", "spaced", "span", "sentence", "token")),
        *((operator, unit) for operator in ("mask", "neutral", "replace") for unit in ("word", "span")),
    ],
)
def test_no_operator_takes_a_mask_away_or_adds_one(operator: str, unit: str, masked_model: Callable[..., tuple[Any, Any]]) -> None:
    for family in ("bert", "roberta"):
        net, tokenizer = masked_model(family)
        model = TextModel(net.requires_grad_(False), tokenizer, name="tiny", identity={"dtype": "float32"})
        for form in ("{} was, by a flood, away. It fell.", "It fell, an old one: {}. It did", "It fell.  A ({}) bridge"):
            text = form.format(masks(model, form, "carried and"))
            found, valued = attributed(model, text, "carried and", How(["shapley"], operator=operator, unit=unit, most=12))
            assert len(valued.read) > 2
            n = len(found.target_ids)
            for ids in valued.read.values():
                assert len(model.reads(ids, found.target_ids)[1]) == n
            assert found.outside.count(tokenizer.mask_token) == n
            shown, rest = ("".join("".join(each).split()) for each in (found.units, form.format("")))
            if unit == "span":
                shown, rest = ("".join(filter(str.isalnum, each)) for each in (shown, rest))
            assert shown == rest
            assert any(by(found.methods["shapley"]).values)


@given(st.data())
@settings(deadline=None)
def test_units_beside_masks_have_every_other_character(data: st.DataObject) -> None:
    text = data.draw(st.text("ab .", min_size=1, max_size=20))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=8)))
    units = Units(text, tuple(pairwise(cuts))[::2])
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    found = beside(units, (first, last))
    covered = [at for span in found.spans for at in range(*span)]
    assert covered == sorted(set(covered))
    signs = {at for span in units.spans for at in range(*span) if text[at] != " " and not first <= at < last}
    assert {at for at in covered if text[at] != " "} == signs
    for start, end in found.spans:
        assert text[start:end] == text[start:end].strip() != ""
        assert any(begin <= start and end <= stop for begin, stop in units.spans)
    assert beside(units, None) == units


def test_tokens_are_taken_out_as_they_are(model: TextModel) -> None:
    found, valued = attributed(model, TEXT, TARGET, How(["occlusion"], unit="token"))
    ids = model.prompt(TEXT).ids
    start = len(ids) - len(found.units)
    assert "".join(found.units) == TEXT
    whole = alone(model, ids, found.target_ids)
    for at in range(len(found.units)):
        left = (*ids[: start + at], *ids[start + at + 1 :])
        assert valued.read[frozenset(range(len(found.units))) - {at}] == left
        assert by(found.methods["occlusion"]).values[at] == pytest.approx(whole - alone(model, left, found.target_ids), abs=1e-3)


def test_what_reads_the_model_is_summed_within_units(model: TextModel, planted: Callable[[str, Callable[..., Saliency]], None]) -> None:
    def places(_: Any, ids: Sequence[int], *_rest: Any) -> Saliency:
        return Saliency(np.arange(1.0, len(ids) + 1), {"gap": 0.25})

    def cannot(*_: Any) -> Saliency:
        raise SubjectError("this model has no door")

    planted("places", places)
    planted("cannot", cannot)
    text = "  harbour herons kingfisher"
    found, _ = attributed(model, text, TARGET, How(["places", "cannot", "occlusion"]))
    prompt = model.prompt(text)
    expected = [0.0, 0.0, 0.0]
    for at, token in enumerate(prompt.ids):
        for number, (start, end) in enumerate(((2, 9), (10, 16), (17, 27))):
            span = prompt.spans[at]
            # No token of this text reaches over two words.
            if span is not None and span[0] < end and span[1] > start:
                assert "".join(prompt.tokens[at].split()) in text
                expected[number] += at + 1
        assert token >= 0
    own = by(found.methods["places"])
    assert own.values == expected
    assert own.facts["gap"] == 0.25
    assert own.sets is None
    outside = sum(range(1, len(prompt) + 1)) - sum(expected)
    assert own.facts["share_outside_units"] == pytest.approx(outside / sum(range(1, len(prompt) + 1)))
    assert found.methods["cannot"] == Failure(stage="attribute", reason="this model has no door")
    with pytest.raises(ExplicateError, match="no door"):
        attributed(model, text, TARGET, How(["cannot"]))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
@settings(deadline=None)
def test_token_units_are_apart_and_cover_what_tokens_cover(widths: list[int], data: st.DataObject) -> None:
    """Tokens of some characters each; one of width 0 is a further byte of the character before it, or the template's."""
    spans: list[tuple[int, int] | None] = []
    end = 0
    for width in widths:
        if width:
            spans.append((end, end + width))
            end += width
        else:
            spans.append((end - 1, end) if end and data.draw(st.booleans()) else None)
    text = "x" * end
    units = token_units(text, spans)
    assert all(one[1] <= other[0] for one, other in pairwise(units.spans))
    covered = {at for span in spans if span is not None for at in range(*span)}
    assert {at for span in units.spans for at in range(*span)} == covered
    if units:
        of = members(units, spans)
        assert [unit is None for unit in of] == [span is None for span in spans]
        assert {unit for unit in of if unit is not None} == set(range(len(units)))


@given(st.data())
@settings(deadline=None)
def test_no_value_is_lost_or_counted_twice(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, 20), min_size=2, max_size=8)))
    units = Units("x" * 20, tuple(pairwise(cuts))[::2])
    starts = sorted(data.draw(st.sets(st.integers(0, 19), min_size=1, max_size=8)))
    spans = [None, *pairwise([*starts, 20])]
    values = data.draw(st.lists(st.integers(-9, 9), min_size=len(spans), max_size=len(spans)))
    member = members(units, spans)
    for span, unit in zip(spans, member, strict=True):
        shared = [len(set(range(*span)) & set(range(*each))) for each in units.spans] if span else [0]
        assert max(shared) == (0 if unit is None else shared[unit])
    found = summed(Saliency(np.array(values, np.float64), {}), member, len(units))
    left = sum(value for value, unit in zip(values, member, strict=True) if unit is None)
    assert sum(found.values) + left == sum(values)
    if any(values):
        out = sum(abs(value) for value, unit in zip(values, member, strict=True) if unit is None)
        assert found.facts["share_outside_units"] == pytest.approx(out / sum(map(abs, values)))
    else:
        assert found.facts == {}


def test_prompts_that_are_the_same_are_read_once() -> None:
    asked: list[tuple[int, ...]] = []

    def evaluate(prompts: Sequence[tuple[int, ...]]) -> list[float]:
        asked.extend(prompts)
        return [float(sum(ids)) for ids in prompts]

    # Units 0 and 1 read the same.
    valued = Valued(lambda kept: tuple(sorted(5 if unit < 2 else unit for unit in kept)), evaluate)
    sets = [frozenset({0}), frozenset({1}), frozenset({0, 2}), frozenset({0})]
    assert valued(sets) == {frozenset({0}): 5.0, frozenset({1}): 5.0, frozenset({0, 2}): 7.0}
    assert valued([frozenset({1, 2})]) == {frozenset({1, 2}): 7.0}
    assert sorted(asked) == [(2, 5), (5,)]


@given(st.permutations(range(6)))
def test_agreement_is_spearmans_correlation(order: list[int]) -> None:
    closed = 1 - 6 * sum((at - value) ** 2 for at, value in enumerate(order)) / (6 * 35)
    assert spearman([float(value) for value in order], [np.exp(at) for at in range(6)]) == pytest.approx(closed)


@given(st.lists(st.integers(-50, 50), min_size=4, max_size=8, unique_by=abs), st.randoms())
def test_values_without_a_sign_agree_with_sizes(truth: list[int], random: Any) -> None:
    sizes = [abs(value) + random.random() / 2 for value in truth]
    given = {
        "occlusion": ContinuationBy(values=truth),
        "norm": ContinuationBy(values=sizes, signed=False),
        "x": ContinuationBy(values=sizes),
    }
    found = agreeing(given)
    assert by(found["norm"]).agreement == {"occlusion": pytest.approx(1)}
    assert by(found["x"]).agreement == {"occlusion": pytest.approx(float(spearmanr(sizes, truth).statistic))}


def test_what_has_no_rank_does_not_agree() -> None:
    assert isinstance(spearman([1, 1, 1], [1, 2, 3]), Failed)
    assert isinstance(spearman([1, 2, 3], [2, 2, 2]), Failed)
    assert isinstance(spearman([1, 2], [1, 2]), Failed)
    methods: dict[str, ContinuationBy | Failure] = {
        "occlusion": ContinuationBy(values=[1, 2, 3]),
        "lime": ContinuationBy(values=[3, 2, 1]),
        "gone": Failure(stage="attribute", reason="gone"),
    }
    found = agreeing(methods)
    assert by(found["lime"]).agreement == {"occlusion": pytest.approx(-1)}
    assert by(found["occlusion"]).agreement == {}
    assert found["gone"] == methods["gone"]


def test_what_the_user_can_mend(model: TextModel, tiny_checkpoint: Callable[[str], Path]) -> None:
    how = How(["occlusion"])
    for text, target, told in (
        ("bridge", TARGET, "has 1 unit "),
        (TEXT, "", "not one continuation"),
        (" ", TARGET, "empty|has 0 units"),
        ("a " * 501, TARGET, "has 501 units"),
    ):
        with pytest.raises(ExplicateError, match=told):
            attributed(model, text, target, how)
    encoder = TextModel.load(str(tiny_checkpoint("bert")), device="cpu", dtype="float32")
    with pytest.raises(SubjectError, match=r"is an encoder, .* its tokenizer has no mask"):
        attributed(encoder, TEXT, TARGET, how)


def test_masks_that_are_not_one_for_each_token_are_told(encoder: TextModel) -> None:
    mask = encoder.tokenizer.mask_token
    for text in ("the old bridge", f"the {mask * 9} bridge", f"the {mask} old {mask} bridge"):
        with pytest.raises(SubjectError, match=r"the text has .* masks?( that stand apart)?; write .* where the target is to stand"):
            attributed(encoder, text, "river", How(["occlusion"]))
    with pytest.raises(ExplicateError, match="has 1 unit "):
        attributed(encoder, f"bridge {masks(encoder, 'bridge {}', 'river')}", "river", How(["occlusion"]))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (How([]), "names no method"),
        (How(["occlusoin"]), "kernel-shap, lime, occlusion, shapley"),
        (How(["occlusion"], operator="swap"), "delete, mask"),
        (How(["occlusion"], unit="letter"), "sentence, spaced, span, word"),
        (How(["occlusion"], unit="token", operator="mask"), "give --operator delete"),
        (How(["occlusion"], unit="demonstration"), "of a --task"),
    ],
)
def test_a_wrong_name_is_told(how: How, told: str) -> None:
    with pytest.raises(ExplicateError, match=told):
        how.check()


def test_every_method_that_perturbs_is_taken() -> None:
    How(list(METHODS.all())).check()
