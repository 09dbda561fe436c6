"""Reads a corpus, cuts its documents into blocks, and writes them in random order, with no more in memory than one document."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from analyzers.corpus import Document
from analyzers.duplicates import Duplicates
from analyzers.errors import CorpusError
from analyzers.evidence import SPLITS, Split
from analyzers.progress import Report
from analyzers.splits import SHARES, Splits

FORMAT = 1
"""Version of the folder's layout."""

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class BlockSettings:
    """How a corpus is cut."""

    block_tokens: int = 128
    excerpt_tokens: int = 32
    """Documents and tails that are shorter are left out."""
    tokens: int = 200_000
    """Reading stops once the blocks hold so many."""
    documents: int = 64
    """No document gives more than one in so many of the tokens (some of its blocks, evenly over its length), unless the corpus has too few
    or too short ones: a score's interval is over documents, so a few long ones would make poor evidence."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise CorpusError(f"tokens is {self.tokens!r}; give 1 or more")
        if self.documents < 1:
            raise CorpusError(f"documents is {self.documents!r}; give 1 or more")
        if not 1 <= self.excerpt_tokens <= self.block_tokens:
            raise CorpusError(f"excerpt_tokens is {self.excerpt_tokens!r}; give 1 to block_tokens, {self.block_tokens!r}")


@dataclass(frozen=True)
class _Taken:
    """What was taken of a document."""

    title: str
    split: Split
    tokens: int
    available: int
    """Tokens in all of its blocks, taken or not."""


@dataclass
class Read:
    """What was read of a corpus, beside the blocks in the raw files."""

    most: int
    """Blocks of one document."""
    splits: Splits = field(default_factory=Splits)
    documents: dict[str, _Taken] = field(default_factory=dict)
    """By id."""
    dropped: dict[str, int] = field(default_factory=lambda: {"exact": 0, "near": 0, "short": 0})
    unit: str = "document"
    texts: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def tokens(self) -> int:
        return sum(self.splits.tokens.values())

    def enough(self, settings: BlockSettings) -> int:
        """How many blocks of one document it takes to get all tokens, if the corpus ended before; at most what its longest has."""
        available = [taken.available for taken in self.documents.values()]
        longest = -(-max(available, default=0) // settings.block_tokens)
        if self.tokens >= settings.tokens or longest <= self.most:
            return self.most
        wider = range(self.most + 1, longest)
        return (
            self.most
            + 1
            + bisect_left(wider, settings.tokens, key=lambda most: sum(min(tokens, most * settings.block_tokens) for tokens in available))
        )


def _cut(ids: IntArray, settings: BlockSettings, most: int) -> tuple[IntArray, IntArray, int]:
    """Return padded ids [block, pos] and (length, start) [block, 2] of at most so many blocks, and how many tokens all blocks have."""
    size = settings.block_tokens
    starts = [start for start in range(0, len(ids), size) if len(ids) - start >= settings.excerpt_tokens]
    available = min(len(ids), starts[-1] + size) if starts else 0
    if len(starts) > most:
        starts = [starts[i * len(starts) // most] for i in range(most)]
    lengths = [min(size, len(ids) - start) for start in starts]
    padded = np.zeros((len(starts), size), dtype=np.int32)
    for row, start, length in zip(padded, starts, lengths, strict=True):
        row[:length] = ids[start : start + length]
    return padded, np.array([lengths, starts], dtype=np.int32).T, available


def read_corpus(
    found: Iterator[Document],
    encode: Callable[[str], list[int]],
    work: Path,
    source: str,
    settings: BlockSettings,
    most: int,
    report: Report,
) -> Read:
    """Write the blocks of each split, in the order of reading, to the raw files `<split>.ids` and `<split>.index`."""
    read, duplicates = Read(most), Duplicates()
    with ExitStack() as stack:
        raw: dict[Split, tuple[BinaryIO, BinaryIO]] = {}
        for split in SPLITS:
            raw[split] = (
                stack.enter_context((work / f"{split}.ids").open("wb")),
                stack.enter_context((work / f"{split}.index").open("wb")),
            )
        for document in found:
            if duplicate := duplicates.seen(document.text):
                read.dropped[duplicate] += 1
                continue
            if document.id in read.documents:
                raise CorpusError(f"corpus {source!r} has two documents with the id {document.id!r}; make the ids differ or leave them out")
            room = -(-(settings.tokens - read.tokens) // settings.block_tokens)
            ids, placed, available = _cut(np.array(encode(document.text), dtype=np.int32), settings, min(most, room))
            if len(placed) == 0:
                read.dropped["short"] += 1
                continue
            kept = int(placed[:, 0].sum())
            split = read.splits.assign(kept)
            raw[split][0].write(ids.tobytes())
            raw[split][1].write(np.insert(placed, 1, len(read.documents), axis=1).tobytes())
            read.documents[document.id] = _Taken(document.title, split, kept, available)
            read.unit = document.unit
            for part in (document.id, document.text):
                data = part.encode()
                read.texts.update(len(data).to_bytes(8, "little") + data)
            report("reading the corpus", min(read.tokens, settings.tokens), settings.tokens)
            if read.tokens >= settings.tokens:
                break
    return read


def write_blocks(read: Read, work: Path, source: str, tokenizer_identity: str, settings: BlockSettings) -> dict[str, Any]:
    """Write the files of the folder from the raw files; return what stands in blocks.json."""
    _check(read, source, settings)
    identity = [FORMAT, asdict(settings), read.most, dict(SHARES), tokenizer_identity, read.texts.hexdigest()]
    fingerprint = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    counts = {}
    for number, split in enumerate(SPLITS):
        random = np.random.default_rng([settings.seed, number, int(fingerprint[:16], 16)])
        counts[split] = {
            "documents": sum(taken.split == split for taken in read.documents.values()),
            "tokens": read.splits.tokens[split],
            "blocks": _shuffle(work, split, settings.block_tokens, random),
        }
    _write_documents(work / "documents.parquet", read.documents)
    info: dict[str, Any] = {
        "format": FORMAT,
        "source": source,
        "settings": asdict(settings),
        "tokenizer": tokenizer_identity,
        "unit": read.unit,
        "documents": len(read.documents),
        "most_blocks_of_a_document": read.most,
        "dropped": read.dropped,
        "splits": counts,
        "tokens": read.tokens,
        "fingerprint": fingerprint,
    }
    (work / "blocks.json").write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return info


def _check(read: Read, source: str, settings: BlockSettings) -> None:
    kept, dropped, unit = len(read.documents), read.dropped, read.unit
    if kept == 0:
        raise CorpusError(
            f"corpus {source!r} has no {unit} of {settings.excerpt_tokens} tokens, the length of one excerpt "
            f"({dropped['short']} shorter ones were read); give longer texts"
        )
    if kept < len(SPLITS):
        enough = read.tokens >= settings.tokens
        remedy = f"raise the number of tokens, {settings.tokens}, or give more of them" if enough else "give more of them"
        raise CorpusError(
            f"corpus {source!r} gave {kept} {unit}{'s' if kept > 1 else ''} ({dropped['exact'] + dropped['near']} duplicate and "
            f"{dropped['short']} too short ones left out), too few to be split four ways; {remedy}"
        )


def _shuffle(work: Path, split: Split, block_tokens: int, random: np.random.Generator) -> int:
    """Turn the raw files of a split into arrays in random order, some thousand blocks at a time; return the number of blocks."""
    count = (work / f"{split}.index").stat().st_size // 12
    order = random.permutation(count)
    for name, width in (("ids", block_tokens), ("index", 3)):
        path = work / f"{split}.{name}"
        read = np.memmap(path, dtype=np.int32, mode="r", shape=(count, width))
        # Written as a file, not through a memory map: on a full disk that kills the process instead of raising an error.
        with path.with_name(f"{path.name}.npy").open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int32)), "fortran_order": False, "shape": (count, width)}
            np.lib.format.write_array_header_1_0(file, header)
            for i in range(0, count, 4096):
                file.write(read[order[i : i + 4096]].tobytes())
        path.unlink()
    return int(count)


def _write_documents(path: Path, rows: Mapping[str, _Taken]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    taken = list(rows.values())
    columns = {
        "id": list(rows),
        "title": [each.title for each in taken],
        "split": [each.split for each in taken],
        "tokens": pa.array([each.tokens for each in taken], pa.int64()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")
