"""Finds text that occurs twice: whole documents (exactly, or nearly, by MinHash), and passages within others (`overlap`)."""

import hashlib
import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

SHINGLE = 5
"""Words in a shingle: four in a row are often chance, five seldom are."""
PERMUTATIONS = 64
BANDS = 16
"""Of 4 permutations each: a pair of Jaccard 0.8 meets in one of them with probability 0.9998, a pair of 0.3 with 0.12."""
NEAR = 0.8
"""Estimated Jaccard index from which two documents count as the same."""

_MASK = (1 << 64) - 1
# Scripts written without spaces: there every character is a word, or else a whole sentence would be one.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")

Signature = npt.NDArray[np.uint32]
"""[permutation] the least hash over the shingles of a text."""


def normalise(text: str) -> str:
    """NFKC, case-folded, every run of white space one blank: what two exact duplicates share."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """Runs of letters and digits of the normalised text; in scripts written without spaces, single characters."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def covered(shorter: Sequence[str], longer: Sequence[str], run: int = SHINGLE) -> float:
    """Share of the words of `shorter` that lie in a run of `run` words which also occurs in `longer`."""
    grams = {tuple(longer[i : i + run]) for i in range(len(longer) - run + 1)}
    inside: set[int] = set()
    for i in range(len(shorter) - run + 1):
        if tuple(shorter[i : i + run]) in grams:
            inside.update(range(i, i + run))
    return len(inside) / len(shorter)


def overlap(a: str, b: str) -> float:
    """Share of the shorter text that also stands in the other: of its words, those in a run of five which the other has too.

    It is never less than the share of word 5-grams in common, and unlike that it does not collapse when single words are exchanged: of a
    passage of 20 words with two of them changed it still finds about 0.9, where 6 of 16 5-grams are left. A text of fewer than five words
    is sought as a whole; one without any word (rules, punctuation) as a string without its white space. Symmetric, in [0, 1]; 0 if a text
    is blank.
    """
    (words_a, runs_a), (words_b, runs_b) = _runs(a), _runs(b)
    if runs_a and runs_b and runs_a.isdisjoint(runs_b):  # by far the most frequent case
        return 0.0
    shorter, longer = sorted((words_a, words_b), key=len)
    if not shorter:
        bare = sorted(("".join(normalise(text).split()) for text in (a, b)), key=len)
        return float(bare[0] != "" and bare[0] in bare[1])
    run = min(SHINGLE, len(shorter))
    share = covered(shorter, longer, run)
    return max(share, covered(longer, shorter, run)) if len(shorter) == len(longer) else share


@lru_cache(maxsize=1024)
def _runs(text: str) -> tuple[tuple[str, ...], frozenset[int]]:
    """Words, and hashes of all runs of five of them."""
    found = tuple(words(text))
    return found, frozenset(hash(found[i : i + SHINGLE]) for i in range(len(found) - SHINGLE + 1))


def shingles(text: str) -> npt.NDArray[np.uint64]:
    """[shingle] distinct 64-bit hashes of the runs of five words (of all words, if fewer), ascending; empty for a text without words."""
    hashes = np.fromiter((zlib.crc32(word.encode()) for word in words(text)), dtype=np.uint64)
    run = min(SHINGLE, len(hashes))
    if run == 0:
        return hashes
    count = len(hashes) - run + 1
    mixed = np.zeros(count, dtype=np.uint64)
    for i in range(run):
        mixed = _mix(mixed * np.uint64(0x9E3779B97F4A7C15) + hashes[i : i + count])
    return np.unique(mixed)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    # The finaliser of splitmix64 (Steele, Lea and Flood 2014): every input bit reaches every output bit.
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def signature(hashes: npt.NDArray[np.uint64], seed: int = 0) -> Signature:
    """[permutation] MinHash (Broder 1997) of a set of at least one hash.

    The share of equal entries of two signatures estimates the Jaccard index J of the sets, with standard deviation sqrt(J (1 - J) / 64).
    """
    salts = _mix(np.random.default_rng(seed).integers(0, 2**63, size=PERMUTATIONS, dtype=np.uint64))
    least = np.full(PERMUTATIONS, np.iinfo(np.uint32).max, dtype=np.uint32)
    for i in range(0, len(hashes), 4096):
        permuted = _mix(hashes[i : i + 4096, None] ^ salts) >> np.uint64(32)
        least = np.minimum(least, permuted.min(axis=0).astype(np.uint32))
    return least


class Duplicates:
    """Remembers the documents it was shown; keeps a hash, a signature and 16 table entries of each, never its text."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._exact: set[bytes] = set()
        self._signatures: list[Signature] = []
        self._table: dict[int, int] = {}

    def seen(self, text: str) -> Literal["exact", "near"] | None:
        """Whether an earlier document is the same, or nearly (estimated Jaccard index of word 5-shingles >= 0.8); None: new, and kept."""
        digest = hashlib.blake2b(normalise(text).encode(), digest_size=16).digest()
        if digest in self._exact:
            return "exact"
        self._exact.add(digest)
        hashes = shingles(text)
        if len(hashes) == 0:
            return None
        own = signature(hashes, self._seed)
        free = []
        for band, rows in enumerate(own.reshape(BANDS, -1)):
            key = int.from_bytes(hashlib.blake2b(rows.tobytes(), digest_size=8, salt=bytes([band])).digest(), "little")
            while (other := self._table.get(key)) is not None:
                if np.mean(self._signatures[other] == own) >= NEAR:
                    return "near"
                key = (key * 0x9E3779B97F4A7C15 + 1) & _MASK  # the next place for documents that meet in this band
            free.append(key)
        for key in free:
            self._table[key] = len(self._signatures)
        self._signatures.append(own)
        return None
