"""Which passages a pre-filter leaves to be scored, beside loops that are written out."""

import numpy as np
import pytest

from analyzers.errors import CorpusError, ExplicateError
from analyzers.influence.passages import Passage
from analyzers.influence.scoring import Query
from evals.influence import prefilter
from evals.influence.prefilter import SHARES, kept, prefiltered

TEXTS = ["The river rises in the hills.", "A new bridge, built of stone.", "Herons and otters.", "The town has a harbour.", "Markets."]


def passages(texts: list[str]) -> list[Passage]:
    return [Passage(str(number), (0, 1), (0, len(text)), text, (None, (0, len(text)))) for number, text in enumerate(texts)]


def left(queries: list[Query], texts: list[str], most: int) -> list[int]:
    return [int(passage.document) for passage in prefiltered(queries, passages(texts), most)]


def test_the_nearest_to_any_query_are_left_in_their_order() -> None:
    queries = [Query("The town has a", " harbour"), Query("Herons", " and otters")]
    assert left(queries, TEXTS, 2) == [2, 3]
    # The completion is read, too, not the prompt alone.
    assert left([Query("", "markets"), Query("otters", "")], TEXTS, 2) == [2, 4]
    text = passages(TEXTS)
    assert prefiltered(queries, text, None) == text
    assert prefiltered(queries, text, 5) == text


def test_a_query_that_shares_many_words_leaves_room_for_another_one() -> None:
    """Ten passages are nearer to the first query than any is to the second."""
    texts = [f"the old stone bridge over the river number {number}" for number in range(10)]
    texts += ["otters, by and by, and other animals of all kinds that live at some place or other in water"]
    queries = [Query("the old stone bridge over", " the river"), Query("What lives here?", " otters")]
    found = left(queries, texts, 4)
    assert 10 in found
    assert len(found) == 4
    near = prefilter.tf_idf([query.prompt + query.completion for query in queries], texts)
    assert isinstance(near, np.ndarray)
    assert near[1].max() < near[0, :10].min()


@pytest.mark.parametrize("seed", range(8))
def test_queries_take_their_next_best_in_turns(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    near, many = rng.permuted(np.tile(np.arange(20.0), (3, 1)), axis=1), int(rng.integers(2, 20))
    monkeypatch.setattr(prefilter, "tf_idf", lambda *_: near)
    wanted: list[int] = []
    for turn in range(20):
        # Those of one turn come by their place in the text.
        wanted += sorted({int(np.flatnonzero(row == 19 - turn)[0]) for row in near} - set(wanted))
    assert left([Query("", "")] * 3, ["word"] * 20, many) == sorted(wanted[:many])


def test_equally_near_ones_are_left_in_the_order_of_the_text() -> None:
    assert left([Query("", "bridge")], ["bridge", "bridge", "town", "bridge", "town"], 2) == [0, 1]
    assert left([Query("", "town")], ["bridge", "bridge", "town", "bridge", "town"], 3) == [0, 2, 4]
    # To a query that shares no word all are equally far, so that it takes no place from another one.
    assert left([Query("", "nothing"), Query("", "town")], ["bridge", "bridge", "town", "bridge", "town"], 2) == [2, 4]


def test_what_cannot_be_filtered_says_why() -> None:
    with pytest.raises(ExplicateError, match=r"^--prefilter 6: there are 5 passages; give fewer, or leave it out to score all$"):
        prefiltered([Query("", "river")], passages(TEXTS), 6)
    with pytest.raises(CorpusError, match=r"^--prefilter: no word stands in the passages; leave it out to score all passages$"):
        prefiltered([Query("", "river")], passages(["--", "!!"]), 2)
    assert len(prefiltered([Query("", "river")], passages(["--", "!!"]), None)) == 2


@pytest.mark.parametrize("many", [3, 10, 30, 41])
def test_what_is_kept_of_the_top_is_counted(many: int) -> None:
    rng = np.random.default_rng(many)
    near, top = rng.integers(4, size=many).astype(float), rng.permutation(many)[:5].tolist()
    # Among equal ones the first in the text comes first.
    order = sorted(range(many), key=lambda place: (-near[place], place))
    found = kept(top, near)
    assert list(found) == list(SHARES)
    for share in SHARES:
        count = max(1, round(share * many))
        assert found[share] == [place in order[:count] for place in top]
    assert any(any(each) for each in found.values())
