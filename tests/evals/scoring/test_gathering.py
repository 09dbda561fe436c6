"""What is drawn of a site, against the activations it is drawn from."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.errors import Failed
from analyzers.evidence import Evidence, Excerpt, FloatArray, Moments, Split, Stratum
from analyzers.sites import Site
from evals.scoring.gathering import QUARTERS, Gathered, Sizes, by_weight, gather, nearest_of, peak_words
from evals.scoring.material import LOUD, SILENT

LENGTH, BLOCK = 6, 10
SITE = Site(1, 2)
WORDS = ["river", "bridge", "stone", "lamp", "door", "cheese", "apple", "wool", "school", "music", "valley", "boat", "heron", "otter"]
DOCUMENTS = 7
"""Blocks a document."""


@dataclass
class Text:
    """Blocks of words; the last token of a block's centre is its number, so that no two windows read alike."""

    ids: npt.NDArray[np.int32]
    """[block, pos]"""

    @property
    def excerpt_tokens(self) -> int:
        return LENGTH

    def lengths(self, split: Split, start: int, stop: int) -> npt.NDArray[np.int32]:
        return np.full(len(self.ids[start:stop]), BLOCK, np.int32)


class Store:
    """Activations [block, pos] that a test decides."""

    def __init__(self, activations: FloatArray, ids: npt.NDArray[np.int32]) -> None:
        self.activations = activations
        self.blocks = Text(ids)

    def windows(self, site: Site, split: Split) -> FloatArray:
        assert (site, split) == (SITE, "test")
        return self.activations

    def excerpt(self, site: Site, split: Split, block: int, start: int, token_text: Callable[[int], str], stratum: Stratum) -> Excerpt:
        inside = slice(start, start + LENGTH)
        tokens = tuple(token_text(int(token)) for token in self.blocks.ids[block, inside])
        return Excerpt(f"document {block // DOCUMENTS}", block * BLOCK + start, tokens, self.activations[block, inside], stratum)


def text_of(token: int) -> str:
    return " " + WORDS[token] if token < len(WORDS) else f" {token}"


def store(blocks: int = 400, firing: float = 0.2, seed: int = 0) -> Store:
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, len(WORDS), size=(blocks, BLOCK)).astype(np.int32)
    ids[:, 4] = rng.permutation(blocks) + 1000
    activations = rng.uniform(0, 0.5, size=(blocks, BLOCK)).astype(np.float32)
    # Fires on "river"; in some other blocks the same word stands and it is silent, and some are neither loud nor silent.
    loud = rng.permutation(blocks)[: int(firing * blocks)]
    ids[loud, 5], activations[loud, 5] = 0, rng.uniform(3, 10, len(loud))
    rest = np.setdiff1d(np.arange(blocks), loud)
    ids[rest[:40], 6] = 0
    activations[rest[40:60], 3] = 2.0
    # Loud outside the centre, which is no part of any window.
    activations[rest[60:90], 0] = 9.0
    return Store(activations, ids)


def evidence(*texts: Sequence[str], peak: float = 10.0) -> Evidence:
    tokens = list(texts) or [(" the", " river", " rose", " above", " its", " banks")]
    excerpts = tuple(
        Excerpt(f"shown {i}", 0, tuple(some), np.array([0, peak, 0, 0, 0, 0], np.float32), "top") for i, some in enumerate(tokens)
    )
    empty: tuple[Excerpt, ...] = ()
    return Evidence(SITE, {"explain": excerpts, "select": empty, "calibrate": empty, "test": empty}, Moments(1, 0, 1, 0.1))


def embed(texts: Sequence[str]) -> FloatArray:
    """[text, dim] counts of words, of length 1."""
    counts = np.array([[text.count(word) for word in WORDS] for text in texts], np.float32) + 1e-3
    return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), np.float32)


def gathered(source: Store, **options: object) -> Gathered:
    found = gather(source, evidence(), text_of, **options)  # type: ignore[arg-type]
    assert isinstance(found, Gathered)
    return found


def test_every_item_is_what_it_is_said_to_be() -> None:
    source = store()
    material = gathered(source, embed=embed)
    peak = 10.0
    assert (material.site, material.peak, len(material.shown)) == (str(SITE), peak, 1)
    for item in material.items:
        loudest = item.excerpt.activations.max()
        assert loudest >= LOUD * peak if item.fires else loudest < SILENT * peak
        assert (item.group in QUARTERS) is item.fires
    assert Counter(item.group for item in material.items) == {
        "q1": 10,
        "q2": 10,
        "q3": 10,
        "q4": 10,
        "random": 20,
        "near-miss": 10,
        "neighbour": 10,
    }
    for item in material.items:
        if item.group == "near-miss":
            assert " river" in item.excerpt.tokens
    assert len({item.excerpt.text for item in material.items}) == len(material.items)
    spans = sorted((item.excerpt.start, item.excerpt.start + LENGTH) for item in material.items)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(spans))
    # All windows are the centres of blocks, and the counts are of these.
    windows = source.activations[:, 2:8].max(axis=1)
    assert {item.excerpt.start % BLOCK for item in material.items} == {2}
    assert material.windows == 400
    assert material.firing_windows == np.sum(windows >= LOUD * peak) == 80
    assert material.silent_windows == np.sum(windows < SILENT * peak) == 300


def test_quarters_are_those_of_the_loudness() -> None:
    source = store()
    material = gathered(source)
    loud = np.sort(source.activations[:, 2:8].max(axis=1))[-80:].reshape(4, 20)
    for item in material.firing:
        quarter = loud[QUARTERS.index(item.group)]
        assert quarter[0] <= item.excerpt.activations.max() <= quarter[-1]
    assert not any(item.group == "neighbour" for item in material.items)


def test_neighbours_are_nearer_in_meaning_than_chance() -> None:
    material = gathered(store(), embed=embed)
    firing = embed([item.excerpt.text for item in material.firing])

    def nearness(group: str) -> float:
        silent = embed([item.excerpt.text for item in material.silent if item.group == group])
        return float((silent @ firing.T).max(axis=1).mean())

    assert nearness("neighbour") > nearness("random") + 0.05


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    source = store()

    def keys(seed: int) -> list[str]:
        material = gathered(source, embed=embed, seed=seed)
        return [item.excerpt.key for item in material.items] + [window.key for window in material.weighted]

    assert keys(3) == keys(3)
    assert keys(3) != keys(4)


def test_there_are_fewer_items_where_the_text_has_no_more() -> None:
    material = gathered(store(blocks=200, firing=0.03), sizes=Sizes(firing=20, random=500, near_miss=500, weighted=10))
    assert len(material.firing) == material.firing_windows == 6
    assert len(material.silent) == material.silent_windows
    assert len(material.weighted) == 10


def test_what_the_explainer_saw_is_no_item() -> None:
    source = store()
    plain = gathered(source, embed=embed)
    shown = [item.excerpt.tokens for item in plain.items[::5]]
    found = gather(source, evidence(*shown), text_of, embed=embed)
    assert isinstance(found, Gathered)
    repeated = {"".join(tokens) for tokens in shown}
    assert repeated
    assert repeated.isdisjoint(item.excerpt.text for item in found.items)
    assert repeated.isdisjoint(window.text for window in found.weighted)
    assert {item.excerpt.text for item in plain.items} & repeated


def test_a_site_that_never_fires_on_what_was_shown_is_failed() -> None:
    outcome = gather(store(), evidence(peak=0.0), text_of)
    assert isinstance(outcome, Failed)
    assert "never fires" in outcome.reason


def test_peak_words_are_those_of_excerpts_that_fire() -> None:
    loud, quiet = evidence((" The", " River", "a", "b", "c", "d")), evidence((" the", " lamp", "a", "b", "c", "d"), peak=1.0)
    assert peak_words([*loud.splits["explain"], *quiet.splits["explain"]], 10.0) == {"river"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 10, width=32), min_size=3, max_size=30), st.integers(1, 8))
def test_the_weighted_sample_is_drawn_in_proportion_to_loudness(loudest: list[float], n: int) -> None:
    weights = np.array(loudest, np.float32)
    drawn = [by_weight(weights, n, np.random.default_rng(seed)) for seed in range(300)]
    if weights.sum() == 0:
        assert drawn == [[]] * 300
        return
    counts = np.bincount(np.concatenate(drawn), minlength=len(weights)) / 300
    expected = n * weights / weights.sum()
    assert all(len(places) == n for places in drawn)
    # The number of times one window is drawn differs by less than 1 between draws, so its mean is within 5 standard errors of .5/sqrt(300).
    assert counts == pytest.approx(expected, abs=0.15)
    assert not counts[weights == 0].any()


def test_nearest_goes_around() -> None:
    pool = [Excerpt("d", i, (word,), np.zeros(1, np.float32), "random") for i, word in enumerate(["river", "stone", "lamp", "door"])]
    found = [window.text for window in nearest_of(embed, ["stone stone", "door lamp door"], pool)]
    assert found[:2] == ["stone", "door"]
    assert sorted(found) == ["door", "lamp", "river", "stone"]
    assert list(nearest_of(embed, ["stone"], [])) == []
