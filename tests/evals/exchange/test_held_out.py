"""Nothing that was shown, nor what repeats it, is dealt out to be scored."""

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.duplicates import normalise, overlap
from evals.exchange import Feature, Options, Record, Told
from evals.exchange.held_out import deal, grouped
from evals.exchange.importing import read_features

WORDS = [f"w{number}" for number in range(400)]


def record(words: list[str], peak: float = 1.0, *, shown: bool = False, document: str | None = None) -> Record:
    values = np.zeros(len(words))
    values[0] = peak
    return Record(tuple(f" {word}" for word in words), values, "top", loudest=shown, shown=shown, document=document)


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Distinct texts, copies of others, windows that overlap with others, and short ones."""
    rng = random.Random(draw(st.integers(0, 10_000)))
    made: list[Record] = []
    for _ in range(draw(st.integers(1, 25))):
        words = rng.sample(WORDS, 12)
        kind = rng.random()
        if made and kind < 0.2:
            words = [token.strip() for token in rng.choice(made).tokens]
        elif made and kind < 0.5:
            other = [token.strip() for token in rng.choice(made).tokens]
            words = other[rng.randrange(len(other)) :] + rng.sample(WORDS, 5)
        elif kind < 0.6:
            words = rng.sample(WORDS[:6], 2)
        document = rng.choice([None, None, "a", "b"])
        made.append(record(words, rng.random(), shown=rng.random() < 0.3, document=document))
    return made


@settings(deadline=None)
@given(records(), st.integers(0, 3))
def test_held_out_text_shares_nothing_with_what_was_shown(made: list[Record], told: int) -> None:
    feature = Feature("site", records=made, told=[Told(f"explanation {number}", "x") for number in range(told)])
    dealt = deal(feature)
    shown = {normalise(each.text) for each in made if each.shown}
    for split in ("select", "calibrate", "test"):
        for excerpt in dealt[split]:
            assert normalise(excerpt.text) not in shown
            for other in ("explain", "select", "calibrate", "test"):
                for against in dealt[other]:
                    if against is not excerpt:
                        assert overlap(excerpt.text, against.text) < 0.5
                        assert against.document != excerpt.document
    assert not dealt["select"] or told > 1
    texts = [normalise(excerpt.text) for found in dealt.values() for excerpt in found]
    assert len(texts) == len(set(texts))
    assert shown <= {normalise(excerpt.text) for excerpt in dealt["explain"]}


@settings(deadline=None)
@given(records())
def test_groups_are_those_of_comparing_every_pair(made: list[Record]) -> None:
    parts = [{at} for at in range(len(made))]
    for a in range(len(made)):
        for b in range(a):
            same = made[a].document is not None and made[a].document == made[b].document
            if same or overlap(made[a].text, made[b].text) >= 0.5:
                one, other = (next(part for part in parts if at in part) for at in (a, b))
                if one is not other:
                    one |= other
                    parts.remove(other)
    assert sorted(map(sorted, grouped(made))) == sorted(map(sorted, parts))


def test_records_that_all_share_a_phrase_take_no_more_memory_than_one_has_partners() -> None:
    phrase = [f"p{number}" for number in range(10)]
    made = [record([*phrase, f"w{number}"]) for number in range(600)]
    tracemalloc.start()
    try:
        assert grouped(made) == [list(range(600))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # All pairs of them take 20 MB.
    assert peak < 5e6


def test_every_split_has_loud_and_silent_records() -> None:
    rng = random.Random(0)
    made = [record(rng.sample(WORDS, 12), float(40 - number)) for number in range(40)]
    dealt = deal(Feature("s", records=made), most=10)
    assert (len(dealt["explain"]), len(dealt["test"]), len(dealt["calibrate"]), dealt["select"]) == (16, 10, 2, ())
    for split in ("explain", "test"):
        peaks = [excerpt.activations.max() for excerpt in dealt[split]]
        assert max(peaks) > 35
        assert min(peaks) < 5


def test_the_shown_records_teach_the_look_ups_and_others_are_scored() -> None:
    rng = random.Random(1)
    made = [record(rng.sample(WORDS, 12), 9.0, shown=number < 8) for number in range(24)]
    dealt = deal(Feature("s", records=made))
    assert [excerpt.text for excerpt in dealt["explain"]] == [each.text for each in made[:8]]
    assert len(dealt["test"]) == 12
    assert len(dealt["calibrate"]) == 4


def test_activations_below_zero_are_at_rest() -> None:
    dealt = deal(Feature("s", records=[record(["a", "b"], -1.0)]))
    (excerpt,) = [each for found in dealt.values() for each in found]
    assert excerpt.activations.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["openai", "neuronpedia", "transluce"])
def test_of_every_format_only_what_was_not_shown_is_scored(name: str, write: Callable[[str, Path], Path], tmp_path: Path) -> None:
    for feature in read_features(write(name, tmp_path / "f"), name, Options()):
        dealt = deal(feature)
        shown = {normalise(each.text) for each in feature.records if each.shown}
        assert dealt["test"]
        assert shown
        assert shown.isdisjoint(normalise(excerpt.text) for split in ("select", "calibrate", "test") for excerpt in dealt[split])
