"""A corpus as blocks of tokens on disk: de-duplicated, split by document, each split in a seeded random order.

The folder: `blocks.json` (settings, counts, what was dropped, fingerprint), `documents.parquet` (id, title, split, tokens), and for each
split `<split>.ids.npy` int32 [block, pos] and `<split>.index.npy` int32 [block, 3]: length, row in documents.parquet, start in it.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from analyzers.corpus import Document, documents
from analyzers.duplicates import Duplicates
from analyzers.errors import CorpusError
from analyzers.evidence import SPLITS, Split
from analyzers.progress import Report, quiet
from analyzers.splits import SHARES, Splits

FORMAT = 1
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class BlockSettings:
    """How a corpus is cut."""

    block_tokens: int = 128
    excerpt_tokens: int = 32
    """Documents and tails that are shorter are left out."""
    tokens: int = 200_000
    """Reading stops once the blocks hold so many."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise CorpusError(f"tokens is {self.tokens!r}; give 1 or more")
        if not 1 <= self.excerpt_tokens <= self.block_tokens:
            raise CorpusError(f"excerpt_tokens is {self.excerpt_tokens!r}; give 1 to block_tokens, {self.block_tokens!r}")


class Blocks:
    """Blocks of tokens, memory-mapped. Within a split they stand in random order: the first n are a random sample of n."""

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self.folder = folder
        self.info = info
        """blocks.json: settings, tokenizer, unit, documents, dropped, splits, tokens, fingerprint."""
        self._ids: dict[Split, IntArray] = {}
        self._index: dict[Split, IntArray] = {}
        for split in SPLITS:
            self._ids[split] = np.load(folder / f"{split}.ids.npy", mmap_mode="r")
            self._index[split] = np.load(folder / f"{split}.index.npy", mmap_mode="r")

    @classmethod
    def build(
        cls,
        source: str,
        encode: Callable[[str], list[int]],
        folder: Path,
        *,
        tokenizer_identity: str,
        settings: BlockSettings | None = None,
        report: Report = quiet,
    ) -> "Blocks":
        """Read a corpus (see `corpus.documents`) and cut it into blocks, in a new folder that appears whole or not at all.

        `encode` gives a text's token ids without special tokens. Memory does not grow with the text, only with the number of documents
        (titles and signatures) and 8 bytes a block. Where the folder exists it must hold the same blocks. Raises CorpusError: what
        `documents` raises, no document as long as one excerpt, fewer than four documents, another corpus in the folder.
        """
        settings = settings or BlockSettings()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _workplace(folder) as work:
            info = _write(documents(source, report=report), encode, work, source, tokenizer_identity, settings, report)
            if not folder.exists():
                try:
                    work.replace(folder)
                except OSError:
                    if not folder.exists():  # else another process was faster
                        raise
        blocks = cls.open(folder)
        if blocks.fingerprint != info["fingerprint"]:
            raise CorpusError(f"{str(folder)!r} holds the blocks of another corpus or other settings; remove it or choose another folder")
        return blocks

    @classmethod
    def open(cls, folder: Path) -> "Blocks":
        """Open what `build` wrote; raises CorpusError where there is nothing, or something of another version."""
        path = folder / "blocks.json"
        if not path.is_file():
            raise CorpusError(f"{str(folder)!r} holds no blocks: {path.name} is missing; build them again")
        info = json.loads(path.read_text(encoding="utf-8"))
        if info.get("format") != FORMAT:
            raise CorpusError(f"{str(folder)!r} has layout version {info.get('format')!r}, this program reads {FORMAT}; build it again")
        return cls(folder, info)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the settings, the tokenizer's identity, and the ids and texts of the documents."""
        return str(self.info["fingerprint"])

    @property
    def block_tokens(self) -> int:
        return int(self.info["settings"]["block_tokens"])

    @property
    def excerpt_tokens(self) -> int:
        return int(self.info["settings"]["excerpt_tokens"])

    @property
    def tokens(self) -> int:
        """Tokens in all blocks of all splits, padding not counted."""
        return int(self.info["tokens"])

    def count(self, split: Split) -> int:
        """Blocks of a split."""
        return len(self._index[split])

    def ids(self, split: Split, start: int, stop: int) -> IntArray:
        """int32 [block, pos] token ids of some blocks, on the right filled up with 0; no special tokens; read-only."""
        return self._ids[split][start:stop]

    def lengths(self, split: Split, start: int, stop: int) -> IntArray:
        """int32 [block] tokens that are not padding: all positions, or fewer in a document's last block."""
        return self._index[split][start:stop, 0]

    def document(self, split: Split, i: int) -> str:
        """Id of the document that block i is from."""
        return str(self._documents[int(self._index[split][i, 1])])

    def start(self, split: Split, i: int) -> int:
        """Index of the first token of block i among the tokens of its document."""
        return int(self._index[split][i, 2])

    @cached_property
    def _documents(self) -> list[str]:
        import pyarrow.parquet as pq

        ids: list[str] = pq.read_table(self.folder / "documents.parquet", columns=["id"])["id"].to_pylist()
        return ids


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`, which is gone in the end; removes those that killed processes left."""
    import psutil

    for left in folder.parent.glob(f".{folder.name}.*.part"):
        found = re.fullmatch(r"(\d+)\.part", left.name.removeprefix(f".{folder.name}."))
        if found and (int(found[1]) == os.getpid() or not psutil.pid_exists(int(found[1]))):  # process numbers come again
            shutil.rmtree(left)
    work = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _cut(ids: IntArray, settings: BlockSettings, room: int) -> tuple[IntArray, IntArray]:
    """Return padded ids [block, pos] and (length, start) [block, 2], as many blocks as it takes to fill `room` tokens."""
    size = settings.block_tokens
    starts = [start for start in range(0, len(ids), size) if len(ids) - start >= settings.excerpt_tokens]
    starts = starts[: -(-room // size)]
    lengths = [min(size, len(ids) - start) for start in starts]
    padded = np.zeros((len(starts), size), dtype=np.int32)
    for row, start, length in zip(padded, starts, lengths, strict=True):
        row[:length] = ids[start : start + length]
    return padded, np.array([lengths, starts], dtype=np.int32).T


def _write(
    found: Iterator[Document],
    encode: Callable[[str], list[int]],
    work: Path,
    source: str,
    tokenizer_identity: str,
    settings: BlockSettings,
    report: Report,
) -> dict[str, Any]:
    """Write all files of the folder; return what stands in blocks.json."""
    dropped = {"exact": 0, "near": 0, "short": 0}
    whole = hashlib.sha256(json.dumps([FORMAT, asdict(settings), dict(SHARES), tokenizer_identity]).encode())
    duplicates, splits = Duplicates(), Splits()
    rows: dict[str, tuple[str, Split, int]] = {}
    tokens, unit = 0, "document"
    with ExitStack() as stack:
        raw: dict[Split, tuple[BinaryIO, BinaryIO]] = {}
        for split in SPLITS:
            raw[split] = (
                stack.enter_context((work / f"{split}.ids").open("wb")),
                stack.enter_context((work / f"{split}.index").open("wb")),
            )
        for document in found:
            if duplicate := duplicates.seen(document.text):
                dropped[duplicate] += 1
                continue
            if document.id in rows:
                raise CorpusError(f"corpus {source!r} has two documents with the id {document.id!r}; make the ids differ or leave them out")
            ids, placed = _cut(np.array(encode(document.text), dtype=np.int32), settings, settings.tokens - tokens)
            if len(placed) == 0:
                dropped["short"] += 1
                continue
            kept = int(placed[:, 0].sum())
            split = splits.assign(kept)
            raw[split][0].write(ids.tobytes())
            raw[split][1].write(np.insert(placed, 1, len(rows), axis=1).tobytes())
            rows[document.id] = (document.title, split, kept)
            unit = document.unit
            for part in (document.id, document.text):
                data = part.encode()
                whole.update(len(data).to_bytes(8, "little") + data)
            tokens += kept
            report("reading the corpus", min(tokens, settings.tokens), settings.tokens)
            if tokens >= settings.tokens:
                break
    _check(source, len(rows), dropped, tokens, unit, settings)
    fingerprint = whole.hexdigest()
    counts = {}
    for number, split in enumerate(SPLITS):
        random = np.random.default_rng([settings.seed, number, int(fingerprint[:16], 16)])
        counts[split] = {
            "documents": sum(row[1] == split for row in rows.values()),
            "tokens": splits.tokens[split],
            "blocks": _shuffle(work, split, settings.block_tokens, random),
        }
    _write_documents(work / "documents.parquet", rows)
    info: dict[str, Any] = {
        "format": FORMAT,
        "source": source,
        "settings": asdict(settings),
        "tokenizer": tokenizer_identity,
        "unit": unit,
        "documents": len(rows),
        "dropped": dropped,
        "splits": counts,
        "tokens": tokens,
        "fingerprint": fingerprint,
    }
    (work / "blocks.json").write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return info


def _check(source: str, kept: int, dropped: Mapping[str, int], tokens: int, unit: str, settings: BlockSettings) -> None:
    if kept == 0:
        raise CorpusError(
            f"corpus {source!r} has no {unit} of {settings.excerpt_tokens} tokens, the length of one excerpt "
            f"({dropped['short']} shorter ones were read); give longer texts"
        )
    if kept < len(SPLITS):
        remedy = (
            f"raise the number of tokens, {settings.tokens}, or give more of them" if tokens >= settings.tokens else "give more of them"
        )
        twice = dropped["exact"] + dropped["near"]
        raise CorpusError(
            f"corpus {source!r} gave {kept} {unit}{'s' if kept > 1 else ''} ({twice} duplicate and {dropped['short']} too short ones left "
            f"out), too few to be split four ways; {remedy}"
        )


def _shuffle(work: Path, split: Split, block_tokens: int, random: np.random.Generator) -> int:
    """Turn the raw files of a split into arrays in random order, some thousand blocks at a time; return the number of blocks."""
    count = (work / f"{split}.index").stat().st_size // 12
    order = random.permutation(count)
    for name, width in (("ids", block_tokens), ("index", 3)):
        path = work / f"{split}.{name}"
        read = np.memmap(path, dtype=np.int32, mode="r", shape=(count, width))
        write = np.lib.format.open_memmap(path.with_name(f"{path.name}.npy"), mode="w+", dtype=np.int32, shape=(count, width))
        for i in range(0, count, 4096):
            write[i : i + 4096] = read[order[i : i + 4096]]
        write.flush()
        path.unlink()
    return int(count)


def _write_documents(path: Path, rows: Mapping[str, tuple[str, Split, int]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    titles, splits, tokens = zip(*rows.values(), strict=True)
    columns = {"id": list(rows), "title": list(titles), "split": list(splits), "tokens": pa.array(tokens, pa.int64())}
    pq.write_table(pa.table(columns), path, compression="zstd")
