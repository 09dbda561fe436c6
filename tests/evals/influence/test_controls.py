"""What a query is held against: completions of like length that say something else, and pieces of other passages."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from analyzers.corpus import Document
from analyzers.errors import CorpusError
from analyzers.influence.passages import Passage, passages
from analyzers.influence.scoring import Query, Tokens
from analyzers.text_model import TextModel
from evals.influence.controls import PIECE_TOKENS, PIECES, controls_of, elsewhere

TEXTS = [
    "The river rises in the hills north of the town and runs slowly through meadows.",
    "A new bridge, built of stone.",
    "Herons and otters.",
    "The town has a harbour.",
    "Markets.",
    "Farmers sell cheese, apples, honey and wool.",
]
RISES = Query("The river", " rises in the hills")


@pytest.fixture(params=["llama", "gpt2"])
def model(tiny_checkpoint: Callable[[str], Path], request: pytest.FixtureRequest) -> TextModel:
    return TextModel.load(str(tiny_checkpoint(request.param)), dtype="float32", device="cpu")


@pytest.fixture
def text(model: TextModel) -> list[Passage]:
    return passages(model, [Document(str(number), "", each) for number, each in enumerate(TEXTS)])


def said(model: TextModel, query: Query) -> tuple[int, ...]:
    ids, first = query.ids(model)
    return ids[first:]


def nearest(model: TextModel, asked: Sequence[Query], query: Query) -> int:
    """Tokens by which the nearest in length of the others' completions differs."""
    others = [each for each in asked if each.completion.strip() != query.completion.strip()]
    return min(abs(len(said(model, Query(query.prompt, each.completion))) - len(said(model, query))) for each in others)


def test_a_control_is_another_query_s_completion_nearest_in_length(model: TextModel, text: list[Passage]) -> None:
    asked = [
        RISES,
        Query("A town", " has"),
        Query("A bridge", " was built of stone"),
        Query("The sea", " has"),
        Query("There are", " markets on Mondays and Thursdays, where farmers sell cheese, apples, honey and wool"),
    ]
    lent = controls_of(model, asked, text, seed=0)
    assert len({len(said(model, query)) for query in asked}) > 3
    for query, (control, told) in zip(asked, lent, strict=True):
        assert told.how == "another query's"
        assert told.completion == control.completion
        assert control.prompt == query.prompt
        assert control.completion in {other.completion for other in asked} - {query.completion}
        assert abs(len(said(model, control)) - len(said(model, query))) == nearest(model, asked, query)
    # Nothing of it was drawn.
    assert controls_of(model, asked, text, seed=1) == lent


def test_of_equally_long_ones_the_next_query_lends(model: TextModel, text: list[Passage]) -> None:
    words = [" town", " river", " hills", " bridge"]
    asked = [Query("The", word) for word in words if len(said(model, Query("The", word))) == len(said(model, Query("The", words[0])))]
    assert len(asked) > 2
    lent = [control.completion for control, _ in controls_of(model, asked, text, seed=0)]
    assert lent == [query.completion for query in (*asked[1:], asked[0])]


def test_what_says_the_same_or_continues_nothing_is_not_lent(model: TextModel, text: list[Passage]) -> None:
    """The same answer with another space, and one that would merge with the prompt's last token."""
    same = [RISES, Query("The brook", " rises in the hills ")]
    for query, (control, told) in zip(same, controls_of(model, same, text, seed=0), strict=True):
        assert told.how == "its tokens shuffled"
        assert sorted(said(model, control)) == sorted(said(model, query))
    word = "kingfisher"
    whole = model.tokens.encode(word)
    cut = next(at for at in range(1, len(word)) if model.tokens.encode(word[:at]) != whole[: len(model.tokens.encode(word[:at]))])
    merging = [Query(word[:cut], " and otters"), Query("", word[cut:])]
    (_, first), _ = controls_of(model, merging, text, seed=0)
    assert first.how == "its tokens shuffled"


def test_a_lonely_query_s_control_has_its_tokens_in_another_order(model: TextModel, text: list[Passage]) -> None:
    ((control, told),) = controls_of(model, [RISES], text, seed=0)
    assert isinstance(control, Tokens)
    assert told.how == "its tokens shuffled"
    assert control.prompt == RISES.prompt
    assert sorted(control.said) == sorted(said(model, RISES))
    assert control.said != said(model, RISES)
    assert told.completion == "".join(model.tokens.text(number) for number in control.said)
    orders = {controls_of(model, [RISES], text, seed=seed)[0][0] for seed in range(4)}
    assert len(orders) > 1
    assert controls_of(model, [RISES], text, seed=0) == [(control, told)]
    # Of two different tokens there is one other order, which is found whatever is drawn.
    pair = Query("The river", "! ?")
    assert len(said(model, pair)) in (2, 3)
    for seed in range(8):
        ((other, _),) = controls_of(model, [pair], text, seed=seed)
        assert said(model, other) != said(model, pair)


@pytest.mark.parametrize("completion", [".", "...."])
def test_what_has_no_other_order_is_drawn_from_the_text(model: TextModel, text: list[Passage], completion: str) -> None:
    query = Query("The river", completion)
    own = said(model, query)
    assert len(set(own)) == 1
    there = {token for passage in text for token, span in zip(passage.ids, passage.spans, strict=True) if span is not None}
    assert own[0] in there
    drawn = set()
    for seed in range(20):
        ((control, told),) = controls_of(model, [query], text, seed=seed)
        assert isinstance(control, Tokens)
        assert told.how == "tokens drawn from the text"
        assert len(control.said) == len(own)
        assert set(control.said) <= there - set(own)
        assert told.completion == "".join(model.tokens.text(number) for number in control.said)
        drawn.add(control.said)
    assert len(drawn) > 5
    assert controls_of(model, [query], text, seed=3) == controls_of(model, [query], text, seed=3)


def test_queries_draw_apart(model: TextModel, text: list[Passage]) -> None:
    """Two that ask the same lend each other nothing, and are not held against the same order."""
    asked = [RISES] * 6
    found = controls_of(model, asked, text, seed=0)
    assert {told.how for _, told in found} == {"its tokens shuffled"}
    assert len({control for control, _ in found}) > 1


def test_a_text_of_a_single_token_lends_none(model: TextModel) -> None:
    dot = said(model, Query("The river", "."))
    other = said(model, Query("The river", "!"))

    def alone(ids: tuple[int, ...]) -> list[Passage]:
        return [Passage("0", ids, (0, len(ids)), "." * len(ids), tuple((at, at + 1) for at in range(len(ids))))]

    with pytest.raises(CorpusError, match=r"^the training text has no other token than the completion; give another text$"):
        controls_of(model, [Query("The river", ".")], alone(dot * 3), seed=0)
    # The first token of a passage counts, where nothing stands before every text; what stands before it never does.
    behind = Passage("0", (model.begun("").ids[0], *other, *dot), (0, 2), "!.", (None, (0, 1), (1, 2)))
    for text in (alone(other + dot), [behind]):
        for seed in range(12):
            ((control, _),) = controls_of(model, [Query("The river", ".")], text, seed=seed)
            assert said(model, control) == other


def test_pieces_are_beginnings_of_passages(model: TextModel, text: list[Passage]) -> None:
    found = elsewhere(text, seed=0)
    assert len({place for place, _ in found}) == len(found) == PIECES
    before = len(model.begun("").ids)
    for place, piece in found:
        ids, first = piece.ids(model)
        assert first == before
        own = tuple(token for token, span in zip(text[place].ids, text[place].spans, strict=True) if span is not None)
        assert ids[first:] == own[:PIECE_TOKENS]
    assert max(len(passage.ids) for passage in text) > PIECE_TOKENS + before
    assert found == elsewhere(text, seed=0)
    assert len({tuple(sorted(place for place, _ in elsewhere(text, seed=seed))) for seed in range(8)}) > 1
    # Of fewer passages there are fewer.
    assert sorted(place for place, _ in elsewhere(text[:3], seed=0)) == [0, 1, 2]
