"""Rankings without a model, beside loops that are written out."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.errors import Failed
from evals.influence.baselines import K1, B, baselines, bm25, embedding, known, places, tf_idf

WORDS = ("river", "Hill", "town", "bridge", "of", "stone", "a")
SENTENCES = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join), min_size=2, max_size=6)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@settings(deadline=None)
@given(queries=SENTENCES, texts=SENTENCES)
def test_bm25_equals_a_loop(queries: list[str], texts: list[str]) -> None:
    found = bm25(queries, texts)
    assert not isinstance(found, Failed)
    mean = sum(len(words(text)) for text in texts) / len(texts)
    for row, query in enumerate(queries):
        for column, text in enumerate(texts):
            counts, total = Counter(words(text)), 0.0
            for word in words(query):
                having = sum(word in words(other) for other in texts)
                rarity = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
                slack = K1 * (1 - B + B * len(words(text)) / mean)
                total += rarity * counts[word] * (K1 + 1) / (counts[word] + slack)
            assert found[row, column] == pytest.approx(total, abs=1e-9)


@settings(deadline=None)
@given(queries=SENTENCES, texts=SENTENCES)
def test_tf_idf_equals_a_loop(queries: list[str], texts: list[str]) -> None:
    found = tf_idf(queries, texts)
    assert not isinstance(found, Failed)

    def weighed(text: str) -> dict[str, float]:
        having = {word: sum(word in words(other) for other in texts) for word in set(words(text))}
        return {
            word: count * (math.log((1 + len(texts)) / (1 + having[word])) + 1)
            for word, count in Counter(words(text)).items()
            if having[word]
        }

    for row, query in enumerate(queries):
        for column, text in enumerate(texts):
            one, other = weighed(query), weighed(text)
            size = math.sqrt(sum(v * v for v in one.values()) * sum(v * v for v in other.values()))
            inner = sum(value * other.get(word, 0.0) for word, value in one.items())
            assert found[row, column] == pytest.approx(inner / size if size else 0.0, abs=1e-9)


def test_ranks_share_what_is_equal() -> None:
    assert places([0.5, 2.0, 0.5, -1.0]).tolist() == [2.5, 1.0, 2.5, 4.0]


@pytest.mark.usefixtures("workplace")
def test_what_cannot_be_ranked_says_why() -> None:
    failed = bm25(["a river"], ["--", "!!"])
    assert isinstance(failed, Failed)
    assert failed.reason == "no word stands in the passages"
    assert isinstance(tf_idf(["a river"], ["--", "!!"]), Failed)
    missing = embedding(["a river"], ["a town"])
    assert isinstance(missing, Failed)
    assert "`explicate models minilm` fetches it" in missing.reason
    every = baselines(["a river"], ["a town", "a river"])
    assert list(every) == ["bm25", "tf_idf", "embedding"]
    assert list(known(every)) == ["bm25", "tf_idf"]
    assert np.argmax(known(every)["tf_idf"][0]) == 1
