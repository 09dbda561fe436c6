"""A corpus as blocks of tokens on disk: de-duplicated, split by document, each split in a seeded random order.

The folder: `blocks.json` (settings, counts, what was dropped, fingerprint), `documents.parquet` (id, title, split, tokens), and for each
split `<split>.ids.npy` int32 [block, pos] and `<split>.index.npy` int32 [block, 3]: length, row in documents.parquet, start in it.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analyzers.corpus import documents
from analyzers.cutting import FORMAT, BlockSettings, IntArray, read_corpus, write_blocks
from analyzers.errors import CorpusError
from analyzers.evidence import SPLITS, Split
from analyzers.progress import Report, quiet

__all__ = ["BlockSettings", "Blocks"]


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
            most = max(1, settings.tokens // (settings.documents * settings.block_tokens))
            read = read_corpus(documents(source, report=report), encode, work, source, settings, most, report)
            while read.most < (most := read.enough(settings)):
                read = read_corpus(documents(source, report=report), encode, work, source, settings, most, report)
            info = write_blocks(read, work, source, tokenizer_identity, settings)
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
