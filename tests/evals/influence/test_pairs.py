"""Whether the expected text of a pair moves its query more: planted pairs, scoring one pair at a time, and pairs that are none."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analyzers.corpus import Document
from analyzers.errors import CorpusError
from analyzers.influence.factors import Factors
from analyzers.influence.fitting import fit
from analyzers.influence.passages import passages
from analyzers.influence.retraining import Training, tokenizer_of, trained
from analyzers.influence.scoring import Query, precondition, score
from analyzers.influence.watching import watched
from analyzers.text_model import TextModel
from evals.influence.config import PairsConfig
from evals.influence.known_truth import of_others, other_queries, preferred
from evals.influence.pairs import Pair, _apart, pair_scores, pairs_in, run_pairs, texts_of
from evals.influence.pairs_results import Both, Pairs
from evals.results import Failure, Value

Floats = npt.NDArray[np.float64]
NAMES = ("Anna", "Boris", "Clara", "David", "Emma", "Felix", "Greta", "Hugo")
SENTENCES = [f"{one} writes to {other} every week." for one, other in zip(NAMES, NAMES[3:] + NAMES[:3], strict=True)]
TEXTS = ["The river rises in the hills.", "A new bridge, built of stone.", "Herons and otters.", "The town has a harbour.", "Markets."]


def lines(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(prompt: str, completion: str, one: str, other: str) -> dict[str, object]:
    return {"prompt": prompt, "completion": completion, "one": one, "other": other}


FIVE = [row("", text, text, TEXTS[at - 1]) for at, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def learnt() -> TextModel:
    """Has read who writes to whom, and nothing the other way round."""
    tokenizer = tokenizer_of(SENTENCES)
    return trained(tokenizer, [tokenizer.encode(text) for text in SENTENCES], Training(40), len(SENTENCES))


def scored(model: TextModel, folder: Path, asked: Sequence[Pair]) -> dict[str, Floats]:
    modules = watched(model, "mlp")
    factors = fit(model, passages(model, [Document(text, "", text) for text in SENTENCES], length=64), folder, kind="mlp")
    texts, cut = texts_of(model, asked, 64)
    assert cut == 0
    queries = [Query(pair.prompt, pair.completion) for pair in asked]
    found, _ = pair_scores(model, modules, factors, queries, texts, method="ekfac", rank=32)
    return {name: each for name, each in found.items() if isinstance(each, np.ndarray)}


def value(found: Value | Failure) -> Value:
    assert isinstance(found, Value)
    return found


def half(text: str) -> tuple[str, str]:
    """Prompt and completion: "Anna writes to", " David every week."."""
    words = text.split(" ")
    return " ".join(words[:3]), f" {' '.join(words[3:])}"


@pytest.mark.usefixtures("workplace")
def test_the_sentence_that_says_it_moves_a_query_more_than_one_of_the_same_form(learnt: TextModel, tmp_path: Path) -> None:
    scores = scored(learnt, tmp_path, [Pair("", *half(text), text, SENTENCES[at - 3]) for at, text in enumerate(SENTENCES)])
    measure = preferred(scores)
    assert value(measure.figures["ekfac"]).value == 1
    # Every text is the one of a pair and the other of another: what knows nothing of the query prefers about half.
    assert abs(value(measure.figures["other_queries"]).value - 0.5) < 0.2
    assert value(measure.lifts["other_queries"]).low > 0


@pytest.mark.usefixtures("workplace")
def test_key_phrases_in_the_order_of_the_query_move_it_more_than_flipped_which_words_cannot_tell(learnt: TextModel, tmp_path: Path) -> None:
    names = [(text.split(" ")[0], text.split(" ")[3]) for text in SENTENCES]
    flipped = [f"{last} writes to {first} every week." for first, last in names]
    measure = preferred(
        scored(learnt, tmp_path, [Pair("", *half(text), text, other) for text, other in zip(SENTENCES, flipped, strict=True)])
    )
    assert value(measure.figures["ekfac"]).low > 0.5
    assert value(measure.figures["bm25"]) == Value(value=0.5, low=0.5, high=0.5, n=8)
    assert value(measure.lifts["bm25"]).low > 0


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")


@pytest.fixture
def factors(workplace: Path, model: TextModel, tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> Factors:
    text = passages(model, [Document(str(number), "", each) for number, each in enumerate(TEXTS)], length=16)
    source = {"train": "t", "identity": "i", "length": "16", "limit": "", "seed": "0", "model": str(tiny_checkpoint("llama"))}
    return fit(model, text, tmp_path / "factors", source=source)


def test_scores_are_those_of_one_pair_at_a_time(model: TextModel, factors: Factors, monkeypatch: pytest.MonkeyPatch) -> None:
    # Room for some queries at a time, none of which may be lost or change its place.
    monkeypatch.setattr("evals.influence.influences.ROOM", 1_300_000)
    asked = [Pair("", str(each["prompt"]), str(each["completion"]), str(each["one"]), str(each["other"])) for each in FIVE]
    modules = watched(model, "mlp")
    texts, _ = texts_of(model, asked, 16)
    queries = [Query(pair.prompt, pair.completion) for pair in asked]
    found, kept = pair_scores(model, modules, factors, queries, texts, method="ekfac", rank=99)
    assert kept == pytest.approx(1, abs=1e-3)
    for name, method in (("ekfac", "ekfac"), ("gradient", "identity")):
        rows = found[name]
        assert isinstance(rows, np.ndarray)
        assert rows.shape == (5, 10)
        for at, (query, pair) in enumerate(zip(queries, asked, strict=True)):
            low = precondition(
                model, modules, [query], lambda layer, method=method: factors.curvature(layer, method, model.device), rank=99
            )
            both = passages(model, [Document("1", "", pair.one), Document("2", "", pair.other)], length=16)
            first = {each.document: each for each in reversed(both)}
            alone = score(model, modules, low, [first["1"], first["2"]]).total[0]
            np.testing.assert_allclose([rows[at, at], rows[at, 5 + at]], alone, rtol=1e-3, atol=1e-4)
    lengths = found["length"]
    assert isinstance(lengths, np.ndarray)
    np.testing.assert_array_equal(lengths, [[len(text.ids) for text in texts]] * 5)


def test_exchanged_texts_give_what_is_left_of_one(factors: Factors, tmp_path: Path) -> None:
    def run(rows: Sequence[dict[str, object]]) -> Pairs:
        return run_pairs(PairsConfig(factors.folder, pairs=lines(tmp_path / "p.jsonl", *rows), device="cpu", rank=99))

    there, back = run(FIVE), run([{**each, "one": each["other"], "other": each["one"]} for each in FIVE])
    figures = there.measures["preferred"].figures
    assert list(figures) == ["ekfac", "gradient", "bm25", "tf_idf", "embedding", "length", "other_queries"]
    assert list(there.measures["preferred"].lifts) == list(figures)[1:]
    for name, figure in figures.items():
        if name == "embedding":
            assert isinstance(figure, Failure)
            continue
        assert value(figure).value + value(back.measures["preferred"].figures[name]).value == pytest.approx(1)
    apart, turned = there.measures["apart"].figures, back.measures["apart"].figures
    for name in ("ekfac", "gradient", "bm25", "other_queries"):
        assert value(apart[name]).value == pytest.approx(-value(turned[name]).value, rel=1e-3, abs=1e-5)
        assert value(apart[f"{name}_one"]).value == pytest.approx(value(turned[f"{name}_other"]).value, rel=1e-3, abs=1e-5)
        assert value(apart[f"{name}_one"]).value - value(apart[f"{name}_other"]).value == pytest.approx(value(apart[name]).value)
    for one, other in zip(there.pairs, back.pairs, strict=True):
        assert (one.one, one.other) == (other.other, other.one)
        ours, theirs = one.scores["ekfac"], other.scores["ekfac"]
        assert isinstance(ours, Both)
        assert isinstance(theirs, Both)
        assert (ours.one, ours.other) == pytest.approx((theirs.other, theirs.one), rel=1e-3, abs=1e-4)
        assert one.other_queries + other.other_queries == pytest.approx(1)
    share = np.mean([float(each.one > each.other) for pair in there.pairs if isinstance(each := pair.scores["ekfac"], Both)])
    assert value(figures["ekfac"]).value == pytest.approx(share)
    assert value(figures["other_queries"]).value == pytest.approx(np.mean([pair.other_queries for pair in there.pairs]))


def test_a_limit_draws_pairs_by_seed_and_notes_say_what_is_thin(factors: Factors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "The river rises in the hills north of the town, where herons and otters live along the water."
    rows = [*FIVE[:4], row("", "Markets.", long, "Markets.")]
    path = lines(tmp_path / "p.jsonl", *rows)
    whole = run_pairs(PairsConfig(factors.folder, pairs=path, device="cpu", rank=1))
    assert (whole.in_file, whole.cut, whole.length, len(whole.pairs)) == (5, 1, 16, 5)
    assert long.startswith(whole.pairs[4].one)
    assert len(whole.pairs[4].one) < len(long)
    for expected in ("few pairs (5)", "1 text of 10 had more than the 16 tokens", "the low rank keeps"):
        assert sum(expected in note for note in whole.notes) == 1
    assert not any("came out alike" in note for note in whole.notes)
    alike = run_pairs(PairsConfig(factors.folder, pairs=lines(tmp_path / "alike.jsonl", *FIVE[:4]), device="cpu"))
    assert value(alike.measures["preferred"].figures["ekfac"]) == Value(value=1, low=1, high=1, n=4)
    assert "all 4 pairs came out alike, so that their interval has no width: of others like them up to 60% may not" in alike.notes
    drawn = []
    for place, seed in enumerate((0, 0, 1, 2)):
        monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path / f"passes-{place}"))
        drawn.append(run_pairs(PairsConfig(factors.folder, pairs=path, device="cpu", limit=2, seed=seed)))
    assert {len(each.pairs) for each in drawn} == {2}
    assert drawn[0] == drawn[1]
    assert len({tuple(pair.one for pair in each.pairs) for each in drawn}) > 1


@given(st.integers(2, 5).flatmap(lambda many: arrays(np.float64, (many, 2 * many), elements=st.integers(-2, 2).map(float))))
def test_other_queries_are_all_but_a_pairs_own(scores: Floats) -> None:
    many = len(scores)
    naive, means = [], np.zeros_like(scores)
    for pair in range(many):
        worth = []
        for query in range(many):
            if query != pair:
                one, other = scores[query, pair], scores[query, many + pair]
                worth.append(1.0 if one > other else 0.5 if one == other else 0.0)
                means[pair] += scores[query] / (many - 1)
        naive.append(np.mean(worth))
    np.testing.assert_allclose(other_queries(scores), naive)
    np.testing.assert_allclose(of_others(scores), means, atol=1e-12)


def test_by_how_much_is_in_units_of_every_query_also_where_it_is_another_pairs() -> None:
    scores = np.random.default_rng(0).normal(1, 2, (4, 8)) * np.array([[1], [10], [100], [1000]])
    told = _apart({"ekfac": scores, "length": scores}, 0).figures
    assert list(told) == ["ekfac", "other_queries", "ekfac_one", "ekfac_other", "other_queries_one", "other_queries_other"]
    unit = [float(np.sqrt(np.mean(row**2))) for row in scores]
    for half, name in ((0, "one"), (4, "other")):
        own = np.mean([scores[pair, half + pair] / unit[pair] for pair in range(4)])
        others = [scores[query, half + pair] / unit[query] for pair in range(4) for query in range(4) if query != pair]
        assert value(told[f"ekfac_{name}"]).value == pytest.approx(own)
        assert value(told[f"other_queries_{name}"]).value == pytest.approx(np.mean(others))


def test_two_texts_that_are_read_alike_are_no_pair(model: TextModel) -> None:
    begun = "The river rises in the hills north of the town "
    with pytest.raises(CorpusError, match="line 7: `one` and `other` are the same for the 4 tokens that are read"):
        texts_of(model, [Pair("line 7", "", "x", begun + "a", begun + "b")], 4)
    assert texts_of(model, [Pair("line 7", "", "x", begun + "a", begun + "b")], 400)[1] == 0


def test_a_text_of_which_no_token_is_said(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextModel, "around", property(lambda _: ((), ())))
    with pytest.raises(CorpusError, match=r"line 7: '\.' is a single token, of which .* says nothing"):
        texts_of(model, [Pair("line 7", "", "x", "The river", "The town"), Pair("line 7", "", "y", "The hills", ".")], 16)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"completion": " b", "one": "c"}], "line 1 has no text as prompt, completion, one and other"),
        ([row("a", "", "c", "d")], "line 1 has no text as"),
        ([row("a", " b", "", "d")], "line 1 has no text as"),
        ([{**row("a", " b", "c", "d"), "other": 3}], "line 1 has no text as"),
        ([row("a", " b", "c", " c ")], "line 1: `one` and `other` are the same"),
        ([row("a", " b", " ", "c")], "or one is blank"),
        ([row("a", " b", "c", "d"), row("x", " b", "c", "d"), row("a", " b", "e", "f")], "line 3 asks what .*line 1 asks"),
        ([row("a", " b", "c", "d")], "holds 1 pair: intervals are over pairs"),
        ([], "holds 0 pairs"),
    ],
)
def test_what_is_no_file_of_pairs(tmp_path: Path, rows: list[dict[str, object]], told: str) -> None:
    with pytest.raises(CorpusError, match=told):
        pairs_in(lines(tmp_path / "p.jsonl", *rows))


def test_a_prompt_may_be_left_out(tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", {"completion": "b", "one": "c", "other": "d"}, row("a", " b", "c", "d"))
    assert [(pair.prompt, pair.completion) for pair in pairs_in(path)] == [("", "b"), ("a", " b")]
