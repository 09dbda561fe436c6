"""Minimal pairs: how often a model holds the good sentence likelier than the bad one, as in BLiMP (arXiv 1912.00582)."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.corpus import json_objects
from analyzers.errors import CorpusError, Failed
from analyzers.progress import Report
from analyzers.whole_text import whole_text
from evals.growing.config import ITEMS, GrowConfig
from evals.growing.tally import Tallies, Tally
from evals.source_files import files_of

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

SAMPLE = Path(__file__).parents[1] / "probes" / "samples" / "minimal_pairs.jsonl"
_FORM = '{"sentence_good": "The dogs bark.", "sentence_bad": "The dogs barks.", "UID": "agreement"}'


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in one thing."""

    good: str
    bad: str
    phenomenon: str


@dataclass(frozen=True, eq=False)
class MinimalPairs:
    """See above. The log-probabilities of all tokens of a sentence are added up."""

    pairs: tuple[Pair, ...]
    files: tuple[Path, ...]
    there: int
    """Pairs that these were drawn from."""
    name: str = "minimal-pairs"
    needs_decoder: bool = True

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the figures."""
        told = json.dumps([[pair.good, pair.bad, pair.phenomenon] for pair in self.pairs])
        return {"pairs": hashlib.sha256(told.encode()).hexdigest()}

    @property
    def items(self) -> dict[str, int]:
        """How many by what was done with them."""
        return {"pairs": len(self.pairs), "not_drawn": self.there - len(self.pairs)}

    @property
    def notes(self) -> list[str]:
        """How it was measured."""
        return [
            "minimal-pairs: the good sentence must be likelier than the bad one, the log-probabilities of all tokens added up; equally "
            "likely ones count half, and a sentence that is a token longer has one more to pay for"
        ]

    def measure(self, model: "TextModel", report: Report) -> Tallies | Failed:
        """`minimal-pairs`, and of each phenomenon, where there are several, `minimal-pairs/<phenomenon>`."""
        from analyzers.growing.token_scores import fits, score_tokens

        read = [(model.begun(pair.good).ids, model.begun(pair.bad).ids) for pair in self.pairs]
        kept = [number for number, both in enumerate(read) if all(fits(model, ids) for ids in both)]
        if not kept:
            return Failed("probe", f"no pair fits into the {model.limit} tokens that {model.name} takes")
        scores = score_tokens(model, [ids for number in kept for ids in read[number]], what="read minimal pairs", report=report)
        totals = np.array([score.logprobs.sum() for score in scores]).reshape(-1, 2)
        won, there = np.zeros(len(self.pairs)), np.zeros(len(self.pairs))
        # The same tokens in another batch may differ in their last digits.
        tied = np.array([read[number][0] == read[number][1] for number in kept])
        won[kept] = np.where(tied, 0.5, (np.sign(totals[:, 0] - totals[:, 1]) + 1) / 2)
        there[kept] = 1
        found = {self.name: self._tally(won, there)}
        kinds = list(dict.fromkeys(pair.phenomenon for pair in self.pairs))
        for kind in kinds if len(kinds) > 1 else ():
            own = np.array([pair.phenomenon == kind for pair in self.pairs])
            if (there * own).any():
                found[f"{self.name}/{kind}"] = self._tally(won * own, there * own)
        return found

    def _tally(self, won: Any, there: Any) -> Tally:
        return Tally(won, there, "pairs", "pairs", chance=0.5, against="a coin")


def load_pairs(config: GrowConfig) -> MinimalPairs:
    """Read and draw, as many of each phenomenon, each pair once. Raises CorpusError for files that are not in the form, with the line."""
    files = files_of(config.pairs or SAMPLE, "--pairs", (".jsonl",), _FORM)
    pairs = list(dict.fromkeys(pair for path in files for pair in _read(path)))
    return MinimalPairs(tuple(_drawn(pairs, config.most(ITEMS), config.seed)), tuple(files), len(pairs))


def _read(path: Path) -> list[Pair]:
    found = []
    for _, (where, record) in json_objects(path, f"give one object a line, such as {_FORM}"):
        good, bad = (_sentence(record, key, where) for key in ("sentence_good", "sentence_bad"))
        if good == bad:
            raise CorpusError(f"{where}: both sentences are {good[:60]!r}; a pair differs in one thing")
        kind = record.get("UID", path.stem)
        if not isinstance(kind, str) or not kind.strip():
            raise CorpusError(f"{where}: the UID {json.dumps(kind)[:40]} is no name of a phenomenon; give lines such as {_FORM}")
        found.append(Pair(good, bad, kind))
    if not found:
        raise CorpusError(f"{str(path)!r} holds no pairs; give lines such as {_FORM}")
    return found


def _sentence(record: Mapping[str, Any], key: str, where: str) -> str:
    text = record.get(key)
    if not isinstance(text, str) or not text.strip():
        raise CorpusError(f"{where} has no text in {key!r}; give lines such as {_FORM}")
    return whole_text(text)


def _drawn(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    """Where there are more, by turns one of each phenomenon, in the order of the files."""
    if not most or len(pairs) <= most:
        return list(pairs)
    turn: Counter[str] = Counter()
    turns = []
    for at in np.random.default_rng([seed, 6]).permutation(len(pairs)).tolist():
        turns.append((turn[pairs[at].phenomenon], at))
        turn[pairs[at].phenomenon] += 1
    return [pairs[at] for at in sorted(at for _, at in sorted(turns)[:most])]
