"""What a query asks for, and how it is told what is wrong with it: in one line, with file and line where there are some."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzers.corpus import Document, source_identity
from analyzers.errors import CorpusError, ExplicateError, RunFolderError, SubjectError
from analyzers.influence.factors import Factors
from analyzers.influence.passages import passages
from analyzers.influence.scoring import Query
from analyzers.pass_folder import content_key
from analyzers.progress import quiet
from analyzers.text_model import TextModel
from evals.influence.asked import asked_in, check_same_text, checked, method_of, source_of, text_lines_of
from evals.influence.config import FORM, QueryConfig

FOLDER = Path("factors")


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")


def factors(**info: Any) -> Factors:
    return Factors(FOLDER, {"model": {}, "kind": "mlp", "layers": [], "shards": {}, "method": "ekfac", **info})


def message(error: pytest.ExceptionInfo[ExplicateError]) -> str:
    told = str(error.value)
    assert "\n" not in told
    return told


def test_what_was_given_is_asked() -> None:
    assert asked_in(QueryConfig(FOLDER, prompt="The river", completion=" rises")) == [("", "The river", " rises")]
    assert asked_in(QueryConfig(FOLDER, completion="Otters")) == [("", "", "Otters")]
    # Half a surrogate pair, which no tokenizer takes.
    assert asked_in(QueryConfig(FOLDER, prompt="a\ud83d", completion="b\udc00")) == [("", "a?", "b?")]


def test_lines_of_a_file_are_asked_in_order_and_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    lines = [json.dumps({"prompt": "The river", "completion": " rises", "note": 3}), "", '{"completion": "Otters\\ud83d"}', FORM]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert asked_in(QueryConfig(FOLDER, queries=path)) == [
        (f"'{path}' line 1: ", "The river", " rises"),
        (f"'{path}' line 3: ", "", "Otters?"),
        (f"'{path}' line 4: ", "The capital of France is", " Paris"),
    ]


NO_TEXT = "has no text as prompt and completion"
BAD = {
    "no completion": ('{"prompt": "The river"}', NO_TEXT),
    "an empty completion": ('{"prompt": "The river", "completion": ""}', NO_TEXT),
    "a completion that is null": ('{"prompt": "The river", "completion": null}', NO_TEXT),
    "a completion that is a number": ('{"prompt": "The river", "completion": 7}', NO_TEXT),
    "a completion that is a list": ('{"prompt": "The river", "completion": [" rises"]}', NO_TEXT),
    "a prompt that is null": ('{"prompt": null, "completion": " rises"}', NO_TEXT),
    "a prompt that is a number": ('{"prompt": 1, "completion": " rises"}', NO_TEXT),
    "other names": ('{"question": "The river", "answer": " rises"}', NO_TEXT),
    "no object": ('["The river", " rises"]', "holds no JSON object but list"),
    "no JSON": ("The river rises", "is not JSON"),
}


@pytest.mark.parametrize(("line", "told"), BAD.values(), ids=list(BAD))
def test_a_bad_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text(f"{FORM}\n\n{line}\n{FORM}\n", encoding="utf-8")
    with pytest.raises(CorpusError) as error:
        asked_in(QueryConfig(FOLDER, queries=path))
    said = message(error)
    assert said.startswith(f"'{path}' line 3 {told}")
    assert said.endswith(f"; give lines such as {FORM}")


@pytest.mark.parametrize("content", [b"", b"\n  \n"])
def test_a_file_without_queries(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_bytes(content)
    with pytest.raises(CorpusError) as error:
        asked_in(QueryConfig(FOLDER, queries=path))
    assert message(error) == f"--queries '{path}' holds no query; give lines such as {FORM}"


def test_no_file_and_no_text(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(CorpusError) as error:
            asked_in(QueryConfig(FOLDER, queries=path))
        assert message(error) == f"--queries: there is no file '{path}'; give lines such as {FORM}"
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(CorpusError) as error:
        asked_in(QueryConfig(FOLDER, queries=tmp_path / "binary.jsonl"))
    assert "binary or not UTF-8" in message(error)


def test_lines_of_other_texts(tmp_path: Path) -> None:
    """Only a prompt may be empty or left out, whatever else there is."""
    path, names, form = tmp_path / "pairs.jsonl", ("prompt", "one", "other"), '{"one": "A", "other": "B"}'
    path.write_text(f'{form}\n{{"prompt": "", "one": "a\\ud83d", "other": "b"}}\n', encoding="utf-8")
    assert text_lines_of(path, "--pairs", names, form) == [(f"'{path}' line 1", ["", "A", "B"]), (f"'{path}' line 2", ["", "a?", "b"])]
    for line in ('{"one": "A", "other": ""}', '{"one": "", "other": "B"}', '{"prompt": "P", "one": "A"}', '{"one": "A", "other": 2}'):
        path.write_text(f"{form}\n{line}\n", encoding="utf-8")
        with pytest.raises(CorpusError) as error:
            text_lines_of(path, "--pairs", names, form)
        assert message(error) == f"'{path}' line 2 has no text as prompt, one and other; give lines such as {form}"
    with pytest.raises(CorpusError) as error:
        text_lines_of(tmp_path / "none.jsonl", "--pairs", names, form)
    assert message(error) == f"--pairs: there is no file '{tmp_path / 'none.jsonl'}'; give lines such as {form}"


def test_queries_are_checked_against_the_model(model: TextModel) -> None:
    read = [("", "The river", " rises"), ("'q.jsonl' line 2: ", "", "Otters")]
    assert checked(model, read) == [Query("The river", " rises"), Query("", "Otters")]
    with pytest.raises(SubjectError) as error:
        checked(model, [*read, ("'q.jsonl' line 3: ", "river " * 1200, " rises")])
    said = message(error)
    assert said.startswith("'q.jsonl' line 3: the text is ")
    assert "takes 1024" in said
    with pytest.raises(SubjectError) as error:
        checked(model, [("", "river " * 1200, " rises")])
    assert message(error) == said.removeprefix("'q.jsonl' line 3: ")


@pytest.mark.parametrize("method", ["ekfac", "kfac", "identity"])
def test_a_method_that_is_served(method: str) -> None:
    assert method_of(factors(), QueryConfig(FOLDER, method=method)) == method


def test_the_method_is_the_best_that_was_fitted_unless_asked_for() -> None:
    assert method_of(factors(), QueryConfig(FOLDER)) == "ekfac"
    assert method_of(factors(method="diagonal"), QueryConfig(FOLDER)) == "diagonal"
    assert method_of(factors(method="diagonal"), QueryConfig(FOLDER, method="identity")) == "identity"


@pytest.mark.parametrize(
    ("fitted", "method", "told"),
    [
        ("ekfac", "diagonal", "serve ekfac, kfac, identity, not 'diagonal'; fit with --method diagonal"),
        ("diagonal", "ekfac", "serve diagonal, identity, not 'ekfac'; fit with --method ekfac"),
        # K-FAC is not fitted by itself.
        ("diagonal", "kfac", "serve diagonal, identity, not 'kfac'; fit with --method ekfac"),
    ],
)
def test_a_method_that_is_not_served(fitted: str, method: str, told: str) -> None:
    with pytest.raises(SubjectError) as error:
        method_of(factors(method=fitted), QueryConfig(FOLDER, method=method))
    assert message(error) == f"the factors in 'factors' {told}"


def source(train: str, identity: str) -> dict[str, str]:
    return {"train": train, "identity": identity, "length": "64", "limit": "20", "seed": "3", "model": "tiny"}


def test_the_text_is_that_of_the_factors_or_the_one_that_was_given(tmp_path: Path) -> None:
    text, other = tmp_path / "text.txt", tmp_path / "other.txt"
    text.write_text("The river rises.", encoding="utf-8")
    other.write_text("Otters.", encoding="utf-8")
    fitted = factors(source=source(str(text), source_identity(str(text))))
    found = source_of(fitted, QueryConfig(FOLDER), quiet)
    assert found == {"train": str(text), "identity": source_identity(str(text)), "length": "64", "limit": "20"}
    # Of another text all passages are scored, and it need not be what the factors are of.
    given = source_of(fitted, QueryConfig(FOLDER, train=str(other)), quiet)
    assert given == {"train": str(other), "identity": source_identity(str(other)), "length": "64", "limit": ""}
    text.unlink()
    assert source_of(fitted, QueryConfig(FOLDER, train=str(other)), quiet) == given


def test_a_text_that_is_not_what_it_was(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The river rises.", encoding="utf-8")
    fitted = factors(source=source(str(text), source_identity(str(text))))
    text.write_text("The river falls.", encoding="utf-8")
    with pytest.raises(RunFolderError) as error:
        source_of(fitted, QueryConfig(FOLDER), quiet)
    assert message(error).startswith(f"the training text '{text}' has changed since the factors were fitted; put it back")
    assert source_of(fitted, QueryConfig(FOLDER, train=str(text)), quiet)["identity"] == source_identity(str(text))
    text.unlink()
    with pytest.raises(RunFolderError) as error:
        source_of(fitted, QueryConfig(FOLDER), quiet)
    assert message(error).startswith(f"the training text '{text}' of the factors is no longer there; put it back")
    # A text that was given and is missing is no fault of the factors.
    with pytest.raises(CorpusError, match="there is no corpus"):
        source_of(fitted, QueryConfig(FOLDER, train=str(text)), quiet)


@pytest.mark.parametrize("missing", ["train", "identity", "length", "limit", "seed", "model"])
def test_factors_that_do_not_say_what_they_are_of(missing: str) -> None:
    """As those that were fitted by the library and not by the command."""
    told = source("text.txt", "0")
    del told[missing]
    with pytest.raises(RunFolderError) as error:
        source_of(factors(source=told), QueryConfig(FOLDER, train="hf:some"), quiet)
    assert message(error) == "the factors in 'factors' do not say what they are of; fit them with `explicate influence fit`"


def test_the_same_text_gives_the_same_passages(model: TextModel) -> None:
    documents = [Document(str(number), "", text) for number, text in enumerate(["The river rises.", "Otters and herons."])]
    read = passages(model, documents)
    fitted = factors(text=content_key([list(passage.ids) for passage in read]))
    check_same_text(fitted, read, QueryConfig(FOLDER))
    # Read by another tokenizer, cut elsewhere, or in another order.
    for other in (passages(model, documents, length=4), list(reversed(read)), read[:1]):
        with pytest.raises(RunFolderError) as error:
            check_same_text(fitted, other, QueryConfig(FOLDER))
        assert message(error) == "the training text of the factors in 'factors' gives other passages than they were fitted to; fit anew"
