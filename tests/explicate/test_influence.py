"""`explicate influence` as a user gives it, on tiny random models."""

import html
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.influence.kinds import METHODS
from analyzers.text_model import TextModel
from evals.influence.results import Concentration, Control, Fitted, Influences, Queried, RankedPassage, TokenScore
from evals.results import Failure, Value
from explicate.commands.influence import app
from explicate.influence_page import runs
from explicate.influence_words import in_units
from explicate.shaded_words import visible

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


Call = Callable[..., Any]
TEXTS = [
    "The river rises in the hills north of the town.",
    "A new bridge, built of stone, was opened.",
    "There are markets on Mondays and \x1b[2J [b]herons[/b] in winter.",
    "Otters and herons live along the river.",
    "The harbour was built in the hills.",
    "The town has a bridge and a market.",
]


@pytest.fixture
def call(workplace: Path, ended: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Call:
    """call("fit", ...) runs the command in this process."""
    monkeypatch.setenv("COLUMNS", "160")
    rows = [{"id": f"d{number}", "text": text} for number, text in enumerate(TEXTS)]
    (workplace / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return partial(ended, app)


@pytest.fixture
def fitted(call: Call, tiny_checkpoint: Callable[[str], Path]) -> Any:
    """Factors in the folder `factors`."""
    return call("fit", tiny_checkpoint("llama"), "--train", "text.jsonl", "-o", "factors", "--device", "cpu", "--json")


ASK = ("query", "factors", "--prompt", "The river", "--completion", " rises in the hills", "--device", "cpu")


def documented(command: str) -> str:
    return next(line for line in DOCUMENTED.splitlines() if line.startswith(f"| `{command}` |"))


def test_a_fit_says_what_it_takes_and_what_it_made(fitted: Any, call: Call, workplace: Path) -> None:
    assert fitted.code == 0, fitted.err
    found = Fitted.model_validate_json(fitted.out)
    assert (found.passages, len(found.layers), found.serves) == (6, 9, ["ekfac", "kfac", "identity"])
    first = fitted.err.splitlines()
    (told,) = [line for line in first if line.startswith("to fit: ")]
    assert "6 passages of 6" in told
    assert "9 layers, in 1 shard, so that the text is read 2 times" in told
    assert found.source["train"] == str(workplace / "text.jsonl")
    assert [key for key in Fitted.model_fields if f"`{key}`" not in documented("explicate influence fit")] == []
    before = {path: path.stat().st_mtime_ns for path in (workplace / "factors").glob("*.safetensors")}
    again = call("fit", found.source["model"], "--train", "text.jsonl", "-o", "factors", "--device", "cpu")
    assert again.code == 0
    assert "EK-FAC factors of 9 layers (mlp) on 6 passages" in again.out
    assert before == {path: path.stat().st_mtime_ns for path in (workplace / "factors").glob("*.safetensors")}


@pytest.mark.usefixtures("fitted")
def test_json_and_a_page(call: Call, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = call(*ASK, "--rank", 99, "--top", 4, "--json", "-o", "influence.html")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told.pop("report") == "influence.html"
    found = Influences.model_validate(told)
    (query,) = found.queries
    assert [passage.rank for passage in query.passages] == [1, 2, 3, 4]
    scores = [passage.score for passage in query.passages]
    assert scores == sorted(scores, reverse=True)
    assert query.passages[0].document in ("d0", "d4")
    for passage in query.passages:
        assert passage.text == TEXTS[int(passage.document[1:])]
        assert sum(passage.by_layer.values()) == pytest.approx(passage.score, rel=1e-3, abs=1e-4)
        assert sum(token.score or 0.0 for token in passage.tokens) == pytest.approx(passage.score, rel=1e-3, abs=1e-4)
        assert passage.tokens[-1].score is None
        assert "".join(token.text for token in passage.tokens[1:]) == passage.text
        assert list(passage.ranks) == ["bm25", "tf_idf", "embedding", "gradient"]
        assert isinstance(passage.ranks["embedding"], Failure)
        assert isinstance(passage.ranks["bm25"], float)
    by_bm25 = next(each for each in query.passages if each.document == "d0")
    assert by_bm25.ranks["bm25"] == by_bm25.ranks["tf_idf"] == 1
    assert query.control.how == "its tokens shuffled"
    assert sorted(query.control.completion) == sorted(query.completion)
    assert query.kept == pytest.approx(1, abs=1e-3)
    assert isinstance(query.concentration.top_10, Value)
    kinds = (Influences, Queried, Control, RankedPassage, TokenScore, Concentration, Value)
    fields = [key for kind in kinds for key in kind.model_fields]
    assert [
        key for key in (*fields, *query.passages[0].ranks, *query.agreement) if f"`{key}`" not in documented("explicate influence query")
    ] == []
    page = (workplace / "influence.html").read_text("utf-8")
    assert "\x1b" not in page
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert all(visible(passage.text) in shown for passage in query.passages)
    for expected in ("Not shown by this", "is not on this machine", "The control says", "elsewhere", "few passages (6)", "spread evenly"):
        assert expected in page
    assert page.count('<article class="passage">') == 4
    for _ in ("kept scores", "scores that are computed again"):
        assert call(*ASK, "--rank", 99, "--top", 4, "--json").out == json.dumps(found.model_dump(mode="json"), ensure_ascii=False) + "\n"
        monkeypatch.setenv("EXPLICATE_PASSES", str(workplace / "elsewhere"))


@pytest.mark.usefixtures("fitted")
def test_queries_of_a_file_share_a_pass_and_lend_each_other_controls(call: Call, workplace: Path) -> None:
    asked = [("The river", " rises in the hills"), ("The town has a", " bridge"), ("There are", " markets")]
    lines = [json.dumps({"prompt": prompt, "completion": completion}) for prompt, completion in asked]
    (workplace / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    ended = call("query", "factors", "--queries", "queries.jsonl", "--device", "cpu", "--rank", 99, "--json")
    assert ended.code == 0, ended.err
    # Three queries, their controls and plain gradients, and four pieces of other passages.
    (plan,) = [line for line in ended.err.splitlines() if line.startswith("to score: ")]
    assert re.search(r"6 passages, \d+ tokens, for 13 gradients .* in one pass; up to \d+ MB of memory besides the model", plan)
    found = Influences.model_validate_json(ended.out)
    assert [(query.prompt, query.completion) for query in found.queries] == asked
    assert {query.control.how for query in found.queries} == {"another query's"}
    assert all(query.control.completion in dict(asked).values() for query in found.queries)
    alone = Influences.model_validate_json(call(*ASK, "--rank", 99, "--json").out).queries[0]
    assert [passage.document for passage in alone.passages] == [passage.document for passage in found.queries[0].passages]
    for one, other in zip(alone.passages, found.queries[0].passages, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3, abs=1e-4)
    # Passages that another query shows, too: here all of them.
    assert {passage.also_top for query in found.queries for passage in query.passages} == {2}
    assert set(alone.shared_top) == {"control", "elsewhere"}
    # A control is scored as if it had been asked about.
    first = found.queries[0]
    swapped = call("query", "factors", "--prompt", first.prompt, "--completion", first.control.completion, *ASK[6:], "--rank", 99, "--json")
    other_way = {each.document: each.score for each in Influences.model_validate_json(swapped.out).queries[0].passages}
    for passage in first.passages:
        assert passage.control == pytest.approx(other_way[passage.document], rel=1e-3, abs=1e-4)


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_or_why_not(call: Call, method: str) -> None:
    ended = call(*ASK, "--method", method, "--json")
    if method == "diagonal":
        assert ended.code == 2
        assert "serve ekfac, kfac, identity, not 'diagonal'; fit with --method diagonal" in ended.err
        return
    found = Influences.model_validate_json(ended.out)
    assert found.method == method
    # Plain gradients are no baseline to themselves.
    assert ("gradient" in found.queries[0].passages[0].ranks) == (method != "identity")


@pytest.mark.usefixtures("fitted")
def test_plain_gradients_stand_beside_as_their_own_method_ranks(call: Call) -> None:
    beside = Influences.model_validate_json(call(*ASK, "--rank", 99, "--json").out).queries[0]
    own = Influences.model_validate_json(call(*ASK, "--method", "identity", "--rank", 99, "--json").out).queries[0]
    ranks = {passage.document: passage.ranks["gradient"] for passage in beside.passages}
    assert ranks == {passage.document: float(passage.rank) for passage in own.passages}


@pytest.mark.usefixtures("fitted")
def test_a_prefilter_scores_the_nearest_and_says_so(call: Call, workplace: Path) -> None:
    ended = call(*ASK, "--prefilter", 3, "--json", "-o", "influence.html")
    found = Influences.model_validate({key: value for key, value in json.loads(ended.out).items() if key != "report"})
    assert (found.candidates, found.passages, found.prefilter) == (3, 6, 3)
    whole = Influences.model_validate_json(call(*ASK, "--json").out).queries[0]
    near = sorted(whole.passages, key=lambda passage: float(str(passage.ranks["tf_idf"])))[:3]
    assert {passage.document for passage in found.queries[0].passages} == {passage.document for passage in near}
    of_whole = {passage.document: passage.score for passage in whole.passages}
    assert [passage.score for passage in found.queries[0].passages] == pytest.approx(
        [of_whole[passage.document] for passage in found.queries[0].passages], rel=1e-3, abs=1e-4
    )
    assert any("nearest by TF-IDF" in note for note in found.notes)
    assert "Prefiltered." in (workplace / "influence.html").read_text("utf-8")


@pytest.mark.usefixtures("fitted")
def test_another_text_can_be_scored(call: Call, workplace: Path) -> None:
    (workplace / "other.jsonl").write_text('{"text": "The river rises."}\n{"text": "Otters and markets."}\n', encoding="utf-8")
    ended = call(*ASK, "--train", "other.jsonl", "--json")
    found = Influences.model_validate_json(ended.out)
    assert [passage.document for passage in found.queries[0].passages] == ["1", "2"]
    assert found.source["train"] == "other.jsonl"


@pytest.mark.usefixtures("fitted")
def test_the_table(call: Call) -> None:
    shown = call(*ASK, "--top", 6).out
    for expected in (
        "EK-FAC: 6 passages",
        "Spearman with BM25",
        "embedding: minilm is not on this machine",
        "[b]herons[/b]",
        "few passages",
    ):
        assert expected in shown
    assert "\x1b" not in shown


@pytest.mark.usefixtures("fitted")
def test_words_that_grow_together_are_told(call: Call) -> None:
    """As where the space at the beginning of a completion was forgotten; what has none is told nothing."""
    for prompt, completion, told in (("The river", "rises", True), ("The river", " rises", False), ("The river", ", rising", False)):
        asked = call("query", "factors", "--prompt", prompt, "--completion", completion, "--device", "cpu", "--json")
        notes = " ".join(Influences.model_validate_json(asked.out).notes)
        assert ("no space lies between a prompt and its completion: what is scored is 'The riverrises'" in notes) == told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--modules", "heads"], "choose one of mlp, attention, all"),
        (["--method", "kfac"], "choose ekfac"),
        (["--length", "1"], "give 2 or more"),
        (["--limit", "1"], "influence compares passages"),
        (["--memory", "0"], "--memory 0: give the GB"),
        (["--memory", "0.000001"], "raise it"),
        (["--train", "one.jsonl"], "makes 1 passage; influence compares: give at least two"),
        (["--train", "none.txt"], "there is no corpus 'none.txt'"),
        (["--length", "2000"], "--length 2000: "),
    ],
)
def test_a_fit_that_cannot_be(call: Call, tiny_checkpoint: Callable[[str], Path], workplace: Path, more: list[str], told: str) -> None:
    (workplace / "one.jsonl").write_text('{"text": "The river"}\n', encoding="utf-8")
    ended = call("fit", tiny_checkpoint("llama"), "--train", "text.jsonl", "-o", "none", "--device", "cpu", *more)
    assert ended.code == 2
    (line,) = [each for each in ended.err.splitlines() if each.startswith("error: ")]
    assert told in line


def test_an_encoder_continues_nothing(call: Call, tiny_checkpoint: Callable[[str], Path]) -> None:
    ended = call("fit", tiny_checkpoint("bert"), "--train", "text.jsonl", "-o", "none", "--device", "cpu")
    assert ended.code == 2
    assert "is an encoder: influence is measured on what a model continues" in ended.err


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["query", "nowhere", *ASK[2:]], "there are no factors in"),
        (["query", "factors"], "give --prompt and --completion"),
        (["query", "factors", "--prompt", "The river"], "--completion is missing"),
        ([*ASK, "--queries", "queries.jsonl"], "give one of them"),
        ([*ASK, "--method", "best"], "choose one of ekfac, kfac, diagonal, identity"),
        ([*ASK, "--rank", "0"], "keeps nothing"),
        ([*ASK, "--top", "0"], "shows nothing"),
        ([*ASK, "--prefilter", "7"], "there are 6 passages; give fewer"),
        ([*ASK, "--prefilter", "1"], "give 2 or more"),
        ([*ASK, "--train", "none.jsonl"], "there is no corpus 'none.jsonl'"),
        ([*ASK, "-o", "influence.pdf"], "name a file that ends with"),
        (["query", "factors", "--prompt", "The river " * 600, "--completion", " rises"], "takes 1024"),
        (["query", "factors", "--prompt", "The river", "--completion", ""], "--completion is empty"),
        (["query", "factors", "--queries", "none.jsonl"], "there is no file 'none.jsonl'"),
        (["query", "factors", "--queries", "bad.jsonl"], "'bad.jsonl' line 1 has no text as prompt and completion"),
        (["query", "factors", "--queries", "long.jsonl"], "'long.jsonl' line 2: the text is"),
        (["query", "factors", "--queries", "empty.jsonl"], "holds no query"),
    ],
)
def test_a_query_that_cannot_be(call: Call, workplace: Path, arguments: list[str], told: str) -> None:
    (workplace / "bad.jsonl").write_text('{"prompt": "The river"}\n', encoding="utf-8")
    (workplace / "empty.jsonl").write_text("\n", encoding="utf-8")
    long = [{"prompt": "The river", "completion": " rises"}, {"prompt": "river " * 1200, "completion": " rises"}]
    (workplace / "long.jsonl").write_text("".join(json.dumps(each) + "\n" for each in long), encoding="utf-8")
    ended = call(*arguments)
    assert ended.code == 2
    (line,) = [each for each in ended.err.splitlines() if each.startswith("error: ")]
    assert told in line


def test_a_completion_that_is_no_continuation(fitted: Any, call: Call) -> None:
    model = TextModel.load(Fitted.model_validate_json(fitted.out).source["model"], device="cpu")
    word = "kingfisher"
    whole = model.tokens.encode(word)
    cut = next(at for at in range(1, len(word)) if model.tokens.encode(word[:at]) != whole[: len(model.tokens.encode(word[:at]))])
    ended = call("query", "factors", "--prompt", word[:cut], "--completion", word[cut:])
    assert ended.code == 2
    assert "is not one continuation of the text" in ended.err


@pytest.mark.usefixtures("fitted")
def test_text_and_model_are_those_of_the_factors(call: Call, workplace: Path, tiny_checkpoint: Callable[[str], Path]) -> None:
    text = workplace / "text.jsonl"
    whole = text.read_text("utf-8")
    text.write_text(whole.replace("Otters", "Badgers"), encoding="utf-8")
    ended = call(*ASK)
    assert ended.code == 2
    assert "has changed since the factors were fitted" in ended.err
    assert call(*ASK, "--train", "text.jsonl").code == 0
    text.unlink()
    assert "is no longer there" in call(*ASK).err
    text.write_text(whole, encoding="utf-8")
    info = workplace / "factors" / "factors.json"
    told = json.loads(info.read_text("utf-8"))
    told["source"]["model"] = str(tiny_checkpoint("gpt2"))
    info.write_text(json.dumps(told), encoding="utf-8")
    ended = call(*ASK)
    assert ended.code == 2
    assert "are of 'llama" in ended.err
    info.unlink()
    assert "were begun and not finished" in call(*ASK).err


def test_a_single_token_is_held_against_another_one(fitted: Any, call: Call) -> None:
    assert fitted.code == 0
    ended = call("query", "factors", "--prompt", "The river", "--completion", ".", "--device", "cpu", "--json")
    query = Influences.model_validate_json(ended.out).queries[0]
    assert query.control.how == "tokens drawn from the text"
    assert query.control.completion != "."
    assert np.isfinite(query.logprob)
    assert torch.is_grad_enabled()


def test_what_stands_before_every_text_is_not_what_words_are_shaded_by() -> None:
    tokens = [TokenScore(text="<s>", score=900.0, special=True), TokenScore(text="otter", score=4.0), TokenScore(text="s", score=-2.0)]
    first, second, third = runs([*tokens, TokenScore(text=".", score=None)])[:3]
    assert first == {"text": "<s>", "special": "900.0"}
    assert (second["for"], third["against"]) == ("1.00", "0.50")
    assert runs([TokenScore(text="a", score=0.0), tokens[0], TokenScore(text="b", score=0.0)])[-1] == {"text": "b"}


def test_influence_is_told_in_units_of_all_passages() -> None:
    assert (in_units(-6.0, 2.0), in_units(3.0, 0.0)) == ("-3.000", "0.000")
