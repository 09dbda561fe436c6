"""The shuffled control is never the site's own explanation, and does not depend on more than it must."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from agents.explanation import Explanation
from agents.simulators.lexical import Lexical
from analyzers.errors import Failed, SubjectError
from analyzers.evidence import Evidence, Excerpt, Moments
from analyzers.sites import Site
from analyzers.store import ActivationStore
from analyzers.subject import Subject
from evals.label import _measure
from evals.results import Failure, Value
from evals.shuffled import DRAWN, drawn_neurons, lend, lent, stand_ins
from evals.work import Work

SITE = Site(0, 0)


def evidence(site: Site, word: str | None) -> Evidence:
    """Of a site that fires on one word, or never."""

    def excerpt(number: int) -> Excerpt:
        tokens = (" we", " saw", f" {word}", " and", " left") * 3
        return Excerpt(f"d{number}", 0, tokens, np.array([0, 0, float(word is not None), 0, 0] * 3, np.float32) * (1 + number), "top")

    splits: Any = {split: tuple(excerpt(4 * place + i) for i in range(4)) for place, split in enumerate(("explain", "calibrate", "test"))}
    return Evidence(site, splits | {"select": ()}, Moments(tokens=100, mean=0.0, variance=1.0, firing=0.1))


@dataclass
class Neurons:
    """A subject of two layers and its store: the word of each neuron in turn."""

    words: tuple[str | None, ...]
    name: str = "tiny"
    layers: int = 2
    neurons: tuple[int, ...] = (50, 50)
    asked: int = 0

    def evidence(self, site: Site, token_text: object) -> Evidence:
        self.asked += 1
        return evidence(site, self.words[(site.layer * 50 + site.index) % len(self.words)])

    def token_text(self, number: int) -> str:
        raise NotImplementedError

    async def drawn(self, seed: int = 0, site: Site = SITE) -> tuple[str, ...]:
        return await stand_ins(site, drawn_neurons(site, cast("Subject", self), cast("ActivationStore", self), seed), self.name)


def work(chosen: str | None, *lent: str) -> Work:
    return Work(SITE, evidence(SITE, "the"), lent, chosen=None if chosen is None else Explanation(chosen, "template"))


async def test_two_stand_ins_differ_in_text() -> None:
    """Of 40 words most are the same, and only in case another."""
    neurons = Neurons(("the",) * 30 + ("The",) * 9 + ("such",))
    for seed in range(5):
        assert set(await neurons.drawn(seed)) == {'the word "the"', 'the word "such"'}


async def test_stand_ins_are_drawn_by_seed_and_site() -> None:
    neurons = Neurons(tuple(a + b for a in "abcdefghij" for b in "klmnopqrst"))
    drawn = {await neurons.drawn(seed, site) for seed in range(3) for site in (SITE, Site(1, 1))}
    assert len(drawn) == 6
    assert await neurons.drawn(1) == await neurons.drawn(1)


async def test_where_all_neurons_say_the_same_there_is_one_and_where_none_fires_an_error() -> None:
    same = Neurons(("the", None))
    assert await same.drawn() == ('the word "the"',)
    assert same.asked == DRAWN
    with pytest.raises(SubjectError, match="100 neurons of 'tiny' drawn at random do not fire"):
        await Neurons((None,)).drawn()


@pytest.mark.parametrize(
    ("own", "others", "lent"),
    [
        ('the word "the"', [], 'the word "such"'),
        ('The word  "the"', [], 'the word "such"'),
        ('the word "such"', [], 'the word "the"'),
        ('the word "the"', ['the word "the"', None], 'the word "such"'),
        ('the word "the"', ['the word "the"', "names of rivers"], "names of rivers"),
    ],
)
def test_what_is_lent_is_not_the_own_explanation(own: str, others: list[str | None], lent: str) -> None:
    works = [work(text, 'the word "the"', 'the word "such"') for text in (own, *others)]
    lend(works, 0)
    assert works[0].shuffled == lent
    assert all(one.shuffled != one.chosen.text for one in works if one.chosen is not None)


def test_sites_without_an_explanation_may_lend_one_and_are_lent_none() -> None:
    for seed in range(5):
        assert lent(["a", None, "A "], ["a", "b", "A "], seed) == ["b", None, "b"]
        assert lent(["a", None], ["a", None], seed) == [None, None]
    assert {tuple(lent(["a", "b", "c"], ["a", "b", "c"], seed)) for seed in range(20)} == {("b", "c", "a"), ("c", "a", "b")}


async def test_where_nothing_can_be_lent_the_control_failed_and_the_site_is_scored() -> None:
    alone = work('the word "the"', 'the word "the"')
    lend([alone], 0)
    assert isinstance(alone.shuffled, Failed)
    await _measure(alone, Lexical(), has_prior=False, seed=0)
    assert alone.scores is not None
    assert isinstance(alone.scores.scores["pearson"], Value)
    for score in alone.scores.controls["shuffled"].values():
        assert isinstance(score, Failure)
        assert "no explanation of another site has another text than 'the word \"the\"'" in score.reason
