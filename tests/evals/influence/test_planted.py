"""Made-up text whose truth is known."""

import re
from collections import Counter

import pytest

from analyzers.errors import Failed
from evals.influence.baselines import bm25, places
from evals.influence.planted import BRIDGES, EXCHANGED, LINES, planted


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@pytest.mark.parametrize("queries", [2, 16, 40])
def test_a_fact_is_planted_once_and_asked_about_in_other_words(queries: int) -> None:
    material = planted(queries, seed=3)
    assert len(material.facts) == len(material.pairs) == queries
    assert len(set(material.passages)) == len(material.passages)
    for fact in material.facts:
        answer = material.passages[fact.answer]
        (name,) = [word for word in words(answer) & words(fact.prompt) if word[0].isupper() and word != "People"]
        # Nowhere else does anything say what this name has to do with the completion.
        assert sum(name in words(passage) and fact.completion.strip() in words(passage) for passage in material.passages) == 0
        assert fact.completion.strip() not in words(answer)
        others = [passage for passage in material.passages if name in words(passage)]
        assert len(others) == 3
        assert len(set(fact.wrong) | {fact.completion}) == 6
        # Where names are told to go with both words, it is always with the same two.
        bridge = re.search(r"is (\w+)\.$", answer)
        assert bridge is not None
        said = Counter(fact.completion.strip() in words(material.passages[place + 1]) for place in _saying(material.passages, bridge[1]))
        assert said[True] >= BRIDGES // 6
        assert said[False] == 0
    by_words = bm25([fact.prompt + fact.completion for fact in material.facts], material.passages)
    assert not isinstance(by_words, Failed)
    assert all(places(row)[fact.answer] > 2 for row, fact in zip(by_words, material.facts, strict=True))


def _saying(passages: tuple[str, ...], value: str) -> list[int]:
    bridges = 2 * sum(" wave banners of " in passage for passage in passages)
    return [place for place, passage in enumerate(passages[:bridges]) if passage.startswith("The flag") and passage.endswith(f" {value}.")]


def test_pairs_stand_in_one_order_or_the_other() -> None:
    material = planted(6)
    assert [pair.planted_same for pair in material.pairs] == [True, False] * 3
    for pair in material.pairs:
        assert material.passages[pair.planted] == (pair.same if pair.planted_same else pair.flipped)
        assert (pair.flipped if pair.planted_same else pair.same) not in material.passages
        assert pair.same == f"{pair.prompt}{pair.completion}."
        assert pair.flipped.startswith(pair.completion.strip())
        assert words(pair.same.lower()) == words(pair.flipped.lower())


def test_some_labels_are_exchanged() -> None:
    material = planted(2, seed=1)
    assert len(material.lines) == LINES
    assert sum(wrong for *_, wrong in material.lines) == round(EXCHANGED * LINES)
    adjectives: dict[str, set[bool]] = {}
    for place, prompt, label, wrong in material.lines:
        assert material.passages[place] == f"{prompt}{label}."
        found = re.match(r"Review: a (\w+) and (\w+) ", prompt)
        assert found is not None
        for adjective in found.groups():
            adjectives.setdefault(adjective, set()).add((label == " positive") != wrong)
    assert {len(kinds) for kinds in adjectives.values()} == {1}


def test_text_hangs_on_the_seed_alone() -> None:
    assert planted(4, seed=1) == planted(4, seed=1)
    assert planted(4, seed=1).passages != planted(4, seed=2).passages
    behind = planted(4, background=["One.", "Two."])
    assert behind.passages[:2] == ("One.", "Two.")
    assert behind.passages[2:] == planted(4).passages
    assert behind.facts[0].answer == planted(4).facts[0].answer + 2
