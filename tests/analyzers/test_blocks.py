import json
import os
import random
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.blocks import Blocks, BlockSettings
from analyzers.errors import CorpusError
from analyzers.evidence import SPLITS
from analyzers.splits import SHARES

SMALL = BlockSettings(block_tokens=16, excerpt_tokens=4, tokens=10**9)


def encode(text: str) -> list[int]:
    """A word is a token; its id tells the word: w17 is 17."""
    return [int(word[1:]) for word in text.split()]


def text(ids: list[int]) -> str:
    return " ".join(f"w{i}" for i in ids)


def corpus(path: Path, lengths: list[int], seed: int = 0) -> dict[str, list[int]]:
    rng = random.Random(seed)
    made = {f"d{i}": [rng.randrange(1, 50_000) for _ in range(length)] for i, length in enumerate(lengths)}
    path.write_text("".join(json.dumps({"id": name, "title": f"T{name}", "text": text(ids)}) + "\n" for name, ids in made.items()))
    return made


def build(source: Path, folder: Path, **changed: Any) -> Blocks:
    return Blocks.build(str(source), encode, folder, tokenizer_identity="words", settings=replace(SMALL, **changed))


def error(source: Path, folder: Path, **changed: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        build(source, folder, **changed)
    assert not list(folder.parent.glob(f"*{folder.name}*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(blocks: Blocks, split: Any) -> list[tuple[str, int, list[int]]]:
    n = blocks.count(split)
    padded, lengths = blocks.ids(split, 0, n), blocks.lengths(split, 0, n)
    assert padded.shape == (n, blocks.block_tokens)
    assert padded.dtype == np.int32
    assert all((row[length:] == 0).all() for row, length in zip(padded, lengths, strict=True))
    return [(blocks.document(split, i), blocks.start(split, i), padded[i, : lengths[i]].tolist()) for i in range(n)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 90), min_size=8, max_size=40), st.integers(0, 99))
def test_blocks_are_the_documents_cut_and_dealt_out(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seed: int) -> None:
    lengths = [*lengths, 20, 20, 20, 20]
    base = tmp_path_factory.mktemp("blocks")
    made = corpus(base / "c.jsonl", lengths, seed)
    blocks = build(base / "c.jsonl", base / "out")
    expected = {  # by the letter: whole blocks, and a tail of at least one excerpt
        (name, start, tuple(ids[start : start + 16]))
        for name, ids in made.items()
        for start in range(0, len(ids), 16)
        if len(ids) - start >= 4
    }
    found = [(split, name, start, tuple(ids)) for split in SPLITS for name, start, ids in rows(blocks, split)]
    assert len(found) == len(expected)
    assert {row[1:] for row in found} == expected
    homes = {(name, split) for split, name, _, _ in found}
    assert len(homes) == len({name for name, _ in homes})  # a document has one split
    assert blocks.tokens == sum(len(row[3]) for row in found)
    assert blocks.info["dropped"] == {"exact": 0, "near": 0, "short": sum(length < 4 for length in lengths)}
    table = pq.read_table(base / "out" / "documents.parquet").to_pylist()
    assert {(row["id"], row["split"]) for row in table} == homes
    assert all(row["title"] == f"T{row['id']}" for row in table)
    tokens = Counter[str]()
    for _, name, _, ids in found:
        tokens[name] += len(ids)
    assert {row["id"]: row["tokens"] for row in table} == tokens
    longest = max(tokens.values())
    for split in SPLITS:
        counts = blocks.info["splits"][split]
        assert counts["tokens"] == sum(len(ids) for home, _, _, ids in found if home == split)
        assert counts["blocks"] == blocks.count(split) > 0
        assert counts["documents"] == sum(home == split for _, home in homes)
        assert -3 * longest <= counts["tokens"] - SHARES[split] * blocks.tokens <= longest


def test_the_same_corpus_gives_the_same_bytes_and_opens_again(tmp_path: Path) -> None:
    corpus(tmp_path / "c.jsonl", [100] * 30)
    first = build(tmp_path / "c.jsonl", tmp_path / "a")
    second = build(tmp_path / "c.jsonl", tmp_path / "b")
    names = sorted(path.name for path in first.folder.iterdir())
    assert names == sorted(["blocks.json", "documents.parquet", *(f"{s}.{n}.npy" for s in SPLITS for n in ("ids", "index"))])
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    again = Blocks.open(tmp_path / "a")
    assert (again.fingerprint, again.tokens, again.excerpt_tokens) == (first.fingerprint, first.tokens, 4)
    assert isinstance(again.ids("test", 0, 1), np.memmap)


def test_the_fingerprint_tells_corpus_settings_and_tokenizer_apart(tmp_path: Path) -> None:
    made = corpus(tmp_path / "c.jsonl", [50] * 10)
    corpus(tmp_path / "d.jsonl", [50] * 10, seed=1)
    (tmp_path / "e.jsonl").write_text((tmp_path / "c.jsonl").read_text().replace('"d3"', '"e3"'))
    (tmp_path / "renamed.jsonl").write_text((tmp_path / "c.jsonl").read_text())
    first = build(tmp_path / "c.jsonl", tmp_path / "1").fingerprint
    assert build(tmp_path / "renamed.jsonl", tmp_path / "2").fingerprint == first
    others = [
        build(tmp_path / "d.jsonl", tmp_path / "3").fingerprint,
        build(tmp_path / "e.jsonl", tmp_path / "4").fingerprint,
        build(tmp_path / "c.jsonl", tmp_path / "5", seed=1).fingerprint,
        build(tmp_path / "c.jsonl", tmp_path / "6", tokens=300).fingerprint,
        Blocks.build(str(tmp_path / "c.jsonl"), encode, tmp_path / "7", tokenizer_identity="other", settings=SMALL).fingerprint,
    ]
    assert len({first, *others}) == 6
    assert len(made) == 10


def test_the_first_blocks_of_a_split_are_a_random_sample(tmp_path: Path) -> None:
    """Mean place (in order of reading) of the first quarter of the blocks, against its distribution under random order."""
    corpus(tmp_path / "c.jsonl", [160] * 400)
    blocks = build(tmp_path / "c.jsonl", tmp_path / "out")
    for split in SPLITS:
        n = blocks.count(split)
        places = np.array([int(blocks.document(split, i)[1:]) * 10 + blocks.start(split, i) // 16 for i in range(n)])
        ranks = places.argsort().argsort()
        first = n // 4
        deviation = np.sqrt((n + 1) * (n - first) / (12 * first))
        assert abs(ranks[:first].mean() - (n - 1) / 2) < 4 * deviation
        assert (np.diff(ranks) < 0).mean() > 0.4
    other = build(tmp_path / "c.jsonl", tmp_path / "other", seed=1)
    assert rows(other, "test") != rows(blocks, "test")
    assert sorted(rows(other, "test")) == sorted(rows(blocks, "test"))


def test_reading_stops_at_the_number_of_tokens(tmp_path: Path) -> None:
    corpus(tmp_path / "c.jsonl", [100] * 150)
    with (tmp_path / "c.jsonl").open("a") as file:
        file.write("not JSON\n")
    seen: list[tuple[str, int, int]] = []
    blocks = Blocks.build(
        str(tmp_path / "c.jsonl"), encode, tmp_path / "out", tokenizer_identity="words",
        settings=replace(SMALL, tokens=3000), report=lambda *now: seen.append(now),
    )  # fmt: skip
    assert 3000 <= blocks.tokens < 3000 + 16
    assert seen[-1] == ("reading the corpus", 3000, 3000)


def test_text_is_taken_from_many_documents_evenly_over_their_length(tmp_path: Path) -> None:
    corpus(tmp_path / "c.jsonl", [1600] * 80)
    blocks = build(tmp_path / "c.jsonl", tmp_path / "out", tokens=64 * 5 * 16)
    assert blocks.info["documents"] == 64
    starts: dict[str, list[int]] = {}
    for split in SPLITS:
        for name, start, _ in rows(blocks, split):
            starts.setdefault(name, []).append(start)
    assert all(sorted(found) == [0, 320, 640, 960, 1280] for found in starts.values())


@pytest.mark.parametrize(("asked", "got"), [(3000, 3008), (12_000, 12_000), (100_000, 16_000)])
def test_of_few_documents_more_is_taken(tmp_path: Path, asked: int, got: int) -> None:
    corpus(tmp_path / "c.jsonl", [1600] * 10)
    blocks = build(tmp_path / "c.jsonl", tmp_path / "out", tokens=asked)
    assert blocks.tokens == got
    found = [(name, start) for split in SPLITS for name, start, _ in rows(blocks, split)]
    assert len(set(found)) == len(found) == got // 16
    assert blocks.info["documents"] == 10


def test_a_long_document_fills_up_what_short_ones_lack(tmp_path: Path) -> None:
    corpus(tmp_path / "c.jsonl", [20] * 30 + [5000] + [20] * 30)
    blocks = build(tmp_path / "c.jsonl", tmp_path / "out", tokens=4000)
    assert 4000 <= blocks.tokens < 4000 + 16
    assert blocks.info["documents"] >= 60
    assert blocks.info["most_blocks_of_a_document"] == (4000 - 60 * 20) // 16


def test_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    made = corpus(tmp_path / "c.jsonl", [300] * 8)
    with (tmp_path / "c.jsonl").open("a") as file:
        file.write(json.dumps({"id": "d1", "text": text(made["d1"]).replace(" ", "\n").upper().replace("W", "w")}) + "\n")
        file.write(json.dumps({"id": "near", "text": text([*made["d2"][:-1], 7])}) + "\n")
        file.write(json.dumps({"id": "short", "text": "w1 w2"}) + "\n")
    blocks = build(tmp_path / "c.jsonl", tmp_path / "out")
    assert blocks.info["dropped"] == {"exact": 1, "near": 1, "short": 1}
    assert blocks.info["documents"] == 8
    assert {name for split in SPLITS for name, _, _ in rows(blocks, split)} == set(made)


def test_sections_are_the_unit_of_a_lone_file(tmp_path: Path) -> None:
    rng = random.Random(5)
    (tmp_path / "book.txt").write_text("\n\n".join(text([rng.randrange(99_999) for _ in range(301)]) for _ in range(6)))
    blocks = build(tmp_path / "book.txt", tmp_path / "out")
    assert blocks.info["unit"] == "section"
    assert blocks.document("explain", 0).startswith("book.txt#")


def test_too_little_text_is_named(tmp_path: Path) -> None:
    corpus(tmp_path / "short.jsonl", [3] * 9)
    assert "no document of 4 tokens" in error(tmp_path / "short.jsonl", tmp_path / "out")
    corpus(tmp_path / "few.jsonl", [50, 3, 50, 50])
    message = error(tmp_path / "few.jsonl", tmp_path / "out")
    assert "gave 3 documents (0 duplicate and 1 too short ones left out), too few to be split four ways; give more" in message
    corpus(tmp_path / "many.jsonl", [50] * 9)
    assert "raise the number of tokens, 30" in error(tmp_path / "many.jsonl", tmp_path / "out", tokens=30)
    (tmp_path / "empty.txt").write_text("")
    assert "is empty" in error(tmp_path / "empty.txt", tmp_path / "out")
    assert "there is no corpus" in error(tmp_path / "missing.txt", tmp_path / "out")


def test_settings_and_ids_are_checked(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="tokens is 0"):
        BlockSettings(tokens=0)
    with pytest.raises(CorpusError, match="excerpt_tokens is 200"):
        BlockSettings(excerpt_tokens=200)
    corpus(tmp_path / "c.jsonl", [50] * 5)
    other = corpus(tmp_path / "d.jsonl", [50] * 5, seed=1)
    (tmp_path / "c.jsonl").write_text((tmp_path / "c.jsonl").read_text() + (tmp_path / "d.jsonl").read_text())
    assert "two documents with the id 'd0'" in error(tmp_path / "c.jsonl", tmp_path / "out")
    assert len(other) == 5


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    corpus(tmp_path / "c.jsonl", [50] * 10)
    corpus(tmp_path / "d.jsonl", [50] * 10, seed=1)
    first = build(tmp_path / "c.jsonl", tmp_path / "out")
    assert build(tmp_path / "c.jsonl", tmp_path / "out").fingerprint == first.fingerprint
    with pytest.raises(CorpusError, match="another corpus"):
        build(tmp_path / "d.jsonl", tmp_path / "out")
    with pytest.raises(CorpusError, match="holds no blocks"):
        Blocks.open(tmp_path)
    info = json.loads((tmp_path / "out" / "blocks.json").read_text())
    (tmp_path / "out" / "blocks.json").write_text(json.dumps(info | {"format": 99}))
    with pytest.raises(CorpusError, match="layout version 99"):
        Blocks.open(tmp_path / "out")


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    peaks = []
    for name, documents in (("small", 12), ("large", 60)):
        corpus(tmp_path / f"{name}.jsonl", [4000] * documents)
        tracemalloc.start()
        build(tmp_path / f"{name}.jsonl", tmp_path / name)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 120 * 10_000  # ten kB a document, whose tokens alone take 20 kB


KILLED = """
import sys, time
from pathlib import Path
from analyzers.blocks import Blocks, BlockSettings

def encode(text):
    print("at work", flush=True)
    time.sleep(0.05)
    return [int(word[1:]) for word in text.split()]

Blocks.build(sys.argv[1], encode, Path(sys.argv[2]), tokenizer_identity="words",
             settings=BlockSettings(block_tokens=16, excerpt_tokens=4, tokens=10**9))
"""


def test_killed_while_building_it_leaves_no_half_made_folder(tmp_path: Path) -> None:
    corpus(tmp_path / "c.jsonl", [100] * 500)
    folder = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "c.jsonl"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline() == "at work\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not folder.exists()
    assert len(list(tmp_path.glob(".out.*.part"))) == 1
    assert build(tmp_path / "c.jsonl", folder).tokens == 48_000 + 500 * 4
    assert not list(tmp_path.glob(".out.*.part"))
