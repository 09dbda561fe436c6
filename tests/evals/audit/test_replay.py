"""Replaying recorded answers: a planted model's recordings, the published form, and files that are neither."""

import gzip
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import ExplicateError, RunFolderError
from evals.audit.recording import read
from evals.audit.replay import replay
from evals.audit.results import Metric, Published
from evals.results import Failure

WORDS = {"great": 0.2, "dull": -0.15, "film": -0.02, "plot": 0.01, "superb": 0.25, "the": 0.0, "awful": -0.22}
SENTENCES = ["the superb film", "the awful dull plot", "the great plot", "dull film superb great", "awful great the"]


def answer(words: list[str]) -> tuple[int, float]:
    """The planted model: it adds up the words and states how far it is from one half."""
    p = min(0.99, max(0.01, 0.5 + sum(WORDS[word] for word in words)))
    return (1, round(p, 4)) if p >= 0.5 else (0, round(1 - p, 4))


def recorded(values: Any) -> list[dict[str, Any]]:
    """Every subset of every sentence, and explanations of the whole ones by `values(word, sign)`."""
    rows: dict[str, dict[str, Any]] = {}
    for sentence in SENTENCES:
        words = sentence.split(" ")
        for size in range(1, len(words) + 1):
            for kept in combinations(words, size):
                label, confidence = answer(list(kept))
                rows.setdefault(" ".join(kept), {"text": " ".join(kept), "label": label, "confidence": confidence})
        sign = 1 if answer(words)[0] else -1
        rows[sentence] |= {"explanation": [[word, values(word, sign)] for word in words], "gold": 1}
    return list(rows.values())


def honest(word: str, sign: int) -> float:
    return sign * WORDS[word]


def reversed_(word: str, sign: int) -> float:
    return -sign * WORDS[word]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def metrics(path: Path, out: Path, source: str = "self") -> dict[str, float]:
    results = replay(path, out, seed=0)
    row = next(row for row in results.rows if row.source == source)
    return {name: value.value for name, value in row.metrics.items() if isinstance(value, Metric)}


def test_the_audit_orders_honest_and_reversed_explanations(tmp_path: Path) -> None:
    good = metrics(write(tmp_path / "honest.jsonl", recorded(honest)), tmp_path / "a")
    bad = metrics(write(tmp_path / "reversed.jsonl", recorded(reversed_)), tmp_path / "b")
    assert good["comprehensiveness"] > bad["comprehensiveness"] + 0.1
    assert good["sufficiency"] < bad["sufficiency"] - 0.1
    assert good["df_mit"] > bad["df_mit"]
    assert good["deletion_rank"] == pytest.approx(1)
    assert bad["deletion_rank"] == pytest.approx(-1)


def test_occlusion_is_found_from_the_recorded_deletions(tmp_path: Path) -> None:
    found = metrics(write(tmp_path / "a.jsonl", recorded(reversed_)), tmp_path / "run", "occlusion")
    assert found["deletion_rank"] == pytest.approx(1)


def test_the_run_folder_holds_the_items_and_the_same_bytes_again(tmp_path: Path) -> None:
    path, out = write(tmp_path / "a.jsonl", recorded(honest)), tmp_path / "run"
    replay(path, out, seed=0)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    items = [json.loads(line) for line in (out / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [item["text"] for item in items] == SENTENCES
    assert items[0]["attributions"]["self"] == [0.0, 0.25, -0.02]
    assert items[0]["effects"] == pytest.approx([0.0, 0.25, -0.02], abs=1e-3)
    replay(path, out, seed=0)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    with pytest.raises(RunFolderError, match="seed"):
        replay(path, out, seed=1)


def test_the_published_form_is_read_and_its_formulas_shown_beside(tmp_path: Path) -> None:
    rows = recorded(honest)

    # Their values speak for the positive label, with noise that breaks ties; the order is by value.
    def published(sentence: str) -> list[list[Any]]:
        triples = [[word, place, WORDS[word] + 0.0001 * (place + 1)] for place, word in enumerate(sentence.split(" "))]
        return sorted(triples, key=lambda triple: -triple[2])

    data = {
        "model": "planted",
        "order": "predict-then-explain",
        "sentences": SENTENCES,
        "gold": [0.9, 0.1, 0.8, 0.7, 0.2],
        "recorded": [[row["text"], row["label"], row["confidence"]] for row in rows],
        "published_self": [published(sentence) for sentence in SENTENCES],
        "published_occlusion": [published(sentence) for sentence in SENTENCES],
    }
    path = tmp_path / "published.json.gz"
    path.write_bytes(gzip.compress(json.dumps(data).encode()))
    found = read(path)
    negative = found.items[1]
    assert negative.rankings["self"].values == pytest.approx((0.0, 0.22, 0.15, -0.01), abs=1e-9)
    assert negative.rankings["self"].order[0] == 1
    assert negative.by_positivity["self"].order[-1] == 1
    results = replay(path, tmp_path / "run", seed=0)
    mine, theirs = results.rows[0].metrics["df_mit"], results.rows[0].paper_compat["df_mit"]
    assert isinstance(mine, Metric)
    assert isinstance(theirs, Published)
    # The first word by positivity argues against a negative prediction, so the published figure misses its flips.
    assert mine.value > theirs.value
    assert theirs.n == len(SENTENCES)
    assert results.rows[0].order == "predict-first"


def row(**changes: Any) -> str:
    return json.dumps({"text": "a b", "label": 1, "confidence": 0.5} | changes)


OTHER = '\n{"text": "b", "label": 0, "confidence": 0.5}'
HUANG = {
    "model": "m",
    "order": "predict",
    "sentences": ["a"],
    "gold": [1],
    "recorded": [["a", 1, 0.9]],
    "published_self": [[["a", 0, 0.1]]],
    "published_occlusion": [[["a", 0, 0.1]]],
}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "empty"),
        ("[]", "no answers"),
        ("{]", "no JSON"),
        ("[" * 100_000, "nested"),
        ('"text"', "neither rows"),
        ("[3]", "row 1"),
        ('{"text": "a b", "label": 1}', "confidence"),
        (row(confidence=1.5), "confidence"),
        (row(confidence=True), "confidence"),
        (row(confidence="0.5"), "confidence"),
        (row(text=3), "text"),
        (row(label=""), "label"),
        (row(label=1.5), "label"),
        (row(text="\ud83d"), "text"),
        (row(), "two labels"),
        (row() + OTHER, "nothing to audit"),
        (row(text="b") + OTHER, "two different answers"),
        (row(explanation=[["a", 1]]) + OTHER, "explanation of row 1"),
        (row(explanation=[["a", "much"], ["b", 1]]) + OTHER, "explanation"),
        (row(explanation="a is important") + OTHER, "explanation"),
        (row(explanation=[["a", 1], ["b", 1]]).replace("1]]", "NaN]]") + OTHER, "explanation"),
        (row(explanation=[["a", 1], ["b", 1]]).replace("1]]", "1" + "0" * 400 + "]]") + OTHER, "explanation"),
        ((row(explanation=[["a", 1], ["b", 2]]) + "\n") * 2 + OTHER, "same text"),
        ('{"recorded": [], "sentences": ["a"], "gold": [1]}', "Huang"),
        (json.dumps(HUANG | {"sentences": []}), "sentences"),
        (json.dumps(HUANG | {"recorded": [["a", 2, 0.9]]}), "recorded"),
        (json.dumps(HUANG | {"recorded": [["a", 1, 95]]}), "recorded"),
        (json.dumps(HUANG | {"sentences": ["c"]}), "'c'"),
        (json.dumps(HUANG | {"gold": [1, 0]}), "Huang"),
        (json.dumps(HUANG | {"published_self": [[["a", 1, 0.1]]]}), "every word once"),
        (json.dumps(HUANG).replace("0.1]", "Infinity]"), "finite"),
    ],
)
def test_what_is_no_recording_is_named(content: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ExplicateError, match=named) as error:
        replay(path, tmp_path / "run", seed=0)
    assert str(path) in str(error.value)
    assert not (tmp_path / "run").exists()


def test_what_failed_is_counted_and_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    rows = recorded(honest)
    by_text = {row["text"]: row for row in rows}
    by_text[SENTENCES[0]]["explanation"] = {"failed": "broken JSON"}
    by_text[SENTENCES[1]]["explanation"] = None
    by_text[SENTENCES[2]] |= {"label": None, "confidence": None}
    by_text["film"] |= {"label": {"failed": "HTTP 500"}}
    results = replay(write(tmp_path / "some.jsonl", rows), tmp_path / "run", seed=0)
    mine, occlusion, _ = results.rows
    assert (mine.n, mine.n_failed) == (2, 3)
    assert (occlusion.n, occlusion.n_failed) == (4, 1)
    reasons = {(each.stage, each.reason): each.n for each in mine.missing["df_mit"]}
    assert reasons == {("explain", "broken JSON"): 1, ("explain", "recorded as failed"): 1, ("answer", "recorded as failed"): 1}
    calm = replay(write(tmp_path / "all.jsonl", recorded(honest)), tmp_path / "calm", seed=0)
    assert isinstance(calm.rows[0].metrics["df_mit"], Metric)
    lines = [json.loads(line) for line in (tmp_path / "run" / "items.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert lines[2]["answer"] == Failure(stage="answer", reason="recorded as failed").model_dump()
    assert lines[3]["metrics"] == json.loads((tmp_path / "calm" / "items.jsonl").read_text(encoding="utf-8").split("\n")[3])["metrics"]


def test_random_rankings_are_followed_where_their_texts_are_recorded(tmp_path: Path) -> None:
    row = replay(write(tmp_path / "a.jsonl", recorded(honest)), tmp_path / "run", seed=0).rows[0]
    for value in row.metrics.values():
        assert isinstance(value, Metric)
        assert isinstance(value.random, float)
        assert value.q is not None


def test_a_changed_file_is_another_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", recorded(honest))
    replay(path, tmp_path / "run", seed=0)
    write(path, recorded(reversed_))
    with pytest.raises(RunFolderError, match="sha256"):
        replay(path, tmp_path / "run", seed=0)


def test_other_line_ends_are_text_like_any(tmp_path: Path) -> None:
    rows = [
        {"text": "a\u2028b c\x85", "label": "x", "confidence": 0.9, "explanation": [["a\u2028b", 1.0], ["c\x85", 0.5]]},
        {"text": "a\u2028b", "label": "x", "confidence": 0.8},
        {"text": "c\x85", "label": "y", "confidence": 0.8},
    ]
    path = tmp_path / "ends.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    found = read(path)
    assert found.labels == ("x", "y")
    assert found.items[0].words == ("a\u2028b", "c\x85")


def test_a_missing_and_a_binary_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExplicateError, match="there is no file"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\x80\x81\xff")
    with pytest.raises(ExplicateError, match="no text"):
        read(tmp_path / "binary")
    with pytest.raises(ExplicateError, match="cannot be read"):
        read(tmp_path)
    whole = bytearray(gzip.compress(bytes(range(256)) * 100))
    whole[60] ^= 0xFF
    for damaged in (whole[:40], whole):
        (tmp_path / "cut.gz").write_bytes(damaged)
        with pytest.raises(ExplicateError, match="damaged gzip"):
            read(tmp_path / "cut.gz")
