"""The lexical simulator on sentences where one can see what is right."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.explanation import Simulation
from agents.simulators.lexical import Lexical, words
from analyzers.evidence import Excerpt


def excerpt(*tokens: str) -> Excerpt:
    return Excerpt("d", 0, tokens, np.zeros(len(tokens), np.float32), "random")


async def marked(explanation: str, *tokens: str) -> list[str]:
    (outcome,) = await Lexical().simulate(explanation, [excerpt(*tokens)])
    assert isinstance(outcome, Simulation)
    assert outcome.scale == Lexical().scale == "indicator"
    assert outcome.present.all()
    assert set(outcome.values.tolist()) <= {0.0, 1.0}
    return [token for token, value in zip(tokens, outcome.values, strict=True) if value]


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        ('the word "such", as in the title of a book', {"such"}),
        ('the word "such," as in the title of a book', {"such,", "such"}),
        ('the words "upon" or "On"', {"upon", "on"}),
        ("the word 'don't' and the dogs' tails", {"don't"}),
        ("the dogs' tails and the cats' paws", {"dogs", "tails", "cats", "paws"}),
        ("it's not quoted, isn't it", {"it's", "not", "quoted", "isn't"}),
        ("“one or more” or ‘least’", {"one", "or", "more", "least"}),
        ("the token `for`", {"for"}),
        ("names of places, and time intervals", {"names", "places", "time", "intervals"}),
        ("or, than", {"or", "than"}),
        ("the and of", {"the", "and", "of"}),
        ('a comma "," or "("', {",", "("}),
        ("the ﬁrst “ﬁnal” word", {"final"}),
        ("", set()),
    ],
)
def test_words_of_an_explanation(explanation: str, expected: set[str]) -> None:
    assert words(explanation) == expected


async def test_a_token_that_is_a_quoted_word() -> None:
    tokens = ("Such", " people", ",", " as", " such", ",", " suchlike", " SUCH")
    assert await marked('the word "such"', *tokens) == ["Such", " such", " SUCH"]


async def test_all_pieces_of_a_word_and_no_piece_of_a_longer_one() -> None:
    tokens = (" an", " un", "bel", "iev", "able", " unbel", "ievably", ".")
    assert await marked('the word "unbelievable"', *tokens) == [" un", "bel", "iev", "able"]


async def test_a_quoted_piece_is_found_where_it_is_a_token() -> None:
    assert await marked('the token "ing"', " sing", " walk", "ing", " ingots") == ["ing"]


async def test_a_quoted_sign_and_a_clitic() -> None:
    assert await marked('an opening "("', "(", " (", ")", " ((") == ["(", " ("]
    assert await marked('the possessive "\'s"', " Mary", "'s", " lamb", " s") == ["'s", " s"]


async def test_apostrophes_belong_to_the_word() -> None:
    assert await marked('the word "don\'t"', " I", " don", "'t", " don", "ate") == [" don", "'t"]


async def test_one_simulation_an_excerpt_and_nothing_for_the_null_explanation() -> None:
    outcomes = await Lexical().simulate("", [excerpt(" a", " b"), excerpt(" c")])
    assert [outcome.values.tolist() for outcome in outcomes if isinstance(outcome, Simulation)] == [[0, 0], [0]]
    assert await Lexical().simulate("x", []) == []


@settings(deadline=None)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=12), st.text(max_size=30))
async def test_never_fails_and_is_deterministic(tokens: list[str], explanation: str) -> None:
    first, second = [await Lexical().simulate(explanation, [excerpt(*tokens)]) for _ in range(2)]
    assert isinstance(first[0], Simulation)
    assert isinstance(second[0], Simulation)
    assert len(first[0].values) == len(tokens)
    assert (first[0].values == second[0].values).all()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["alpha", "Beta", "gam'ma", "d4"]), min_size=1, max_size=8), st.data())
async def test_how_words_are_split_into_tokens_does_not_matter(sentence: list[str], data: st.DataObject) -> None:
    text = " ".join(sentence)
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=8))})
    tokens = [text[a:b] for a, b in pairwise(cuts)]
    (outcome,) = await Lexical().simulate('the word "BETA"', [excerpt(*tokens)])
    assert isinstance(outcome, Simulation)
    holds, start = [], 0
    for word in sentence:
        holds += [word == "Beta"] * len(word) + [False]
    for token, value in zip(tokens, outcome.values, strict=True):
        assert bool(value) == any(holds[start : start + len(token)])
        start += len(token)
