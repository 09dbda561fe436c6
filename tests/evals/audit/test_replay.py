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
from evals.audit.results import Metric

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
    assert isinstance(theirs, float)
    # The first word by positivity argues against a negative prediction, so the published figure misses its flips.
    assert mine.value > theirs
    assert results.rows[0].order == "predict-first"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "empty"),
        ("[]", "no rows"),
        ("{]", "no JSON"),
        ('"text"', "neither rows"),
        ('{"text": "a b", "label": 1}', "confidence"),
        ('{"text": "a b", "label": 1, "confidence": 1.5}', "1.5"),
        ('{"text": "a b", "label": 1, "confidence": true}', "True"),
        ('{"text": 3, "label": 1, "confidence": 0.5}', "no text"),
        ('{"text": "a b", "label": 1, "confidence": 0.5}', "two labels"),
        ('{"text": "a", "label": 1, "confidence": 0.5}\n{"text": "b", "label": 0, "confidence": 0.5}', "nothing to audit"),
        ('{"text": "a", "label": 1, "confidence": 0.5}\n{"text": "a", "label": 0, "confidence": 0.5}', "two different answers"),
        (
            '{"text": "a b", "label": 1, "confidence": 0.5, "explanation": [["a", 1]]}\n{"text": "b", "label": 0, "confidence": 0.5}',
            "explanation of row 1",
        ),
        (
            '{"text": "a", "label": 1, "confidence": 0.5, "explanation": [["a", "much"]]}\n{"text": "b", "label": 0, "confidence": 0.5}',
            "explanation of row 1",
        ),
        (
            '{"text": "a", "label": 1, "confidence": 0.5, "explanation": [["a", NaN]]}\n{"text": "b", "label": 0, "confidence": 0.5}',
            "explanation of row 1",
        ),
        ('{"recorded": [], "sentences": ["a"], "gold": [1]}', "Huang"),
    ],
)
def test_what_is_no_recording_is_named(content: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ExplicateError, match=named) as error:
        replay(path, tmp_path / "run", seed=0)
    assert str(path) in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_missing_and_a_binary_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExplicateError, match="there is no file"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\x80\x81\xff")
    with pytest.raises(ExplicateError, match="no text"):
        read(tmp_path / "binary")
    with pytest.raises(ExplicateError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b'{"text": 1}' * 100)[:30])
    with pytest.raises(ExplicateError, match="no text"):
        read(tmp_path / "cut.gz")
