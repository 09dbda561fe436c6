"""Sentences with their words, tags and trees that several probes of a series share, so that their states are read once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.progress import Report
from analyzers.states.pieces import fingerprint
from analyzers.treebank import Sentence, read_treebank
from evals.growing.config import SENTENCES, TESTS, GrowConfig
from evals.probes.labels_data import SAMPLE
from evals.probes.tree_material import Material, Readable, draw_material, readable

if TYPE_CHECKING:
    from analyzers.states.store import States
    from analyzers.text_model import TextModel

TEST_SHARE = 0.25
"""Of the documents of a single file; of its sentences, where there are few documents."""
DOCUMENTS = 8
"""From so many on a single file is split by documents."""


@dataclass(frozen=True, eq=False)
class Treebank:
    """Some to train probes on, some to test on, none of them in both."""

    material: Material
    files: tuple[Path, ...]
    config: GrowConfig

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the states that are read, their splits, and what is right: the same text may have other tags and trees."""
        gold = repr([[(word.upos, word.xpos, word.head, word.form) for word in each.words] for each in self.material.sentences])
        return {
            "pieces": fingerprint(self.material.pieces),
            "gold": hashlib.sha256(gold.encode("utf-8", "surrogatepass")).hexdigest(),
            "train": self.material.train,
            "seed": self.config.seed,
        }

    @property
    def items(self) -> dict[str, int]:
        """How many by what was done with them."""
        train = self.material.train
        return {"train": train, "test": len(self.material.sentences) - train, "repeated": self.material.repeated}

    @property
    def tests(self) -> tuple[Sentence, ...]:
        """Those to test on."""
        return self.material.sentences[self.material.train :]

    def read(self, model: "TextModel", report: Report) -> "Read":
        """The states of all words, and which sentences have them. Raises SubjectError and ExplicateError as `readable` does."""
        from analyzers.states.reading import read_states

        states = read_states(model, self.material.pieces, layers=self.layers(model.layers), report=report)
        ready = readable(self.material, states, seed=self.config.seed)
        ids = {id(sentence): place for place, sentence in enumerate(self.tests)}
        tests = [ids[id(ready.sentences[number])] for number in ready.split.test.tolist()]
        return Read(states, ready, tests)

    def layers(self, count: int) -> list[int]:
        """Those that any of the probes reads, of a model with so many blocks."""
        return self.config.layers_of(count) if "pos" in self.config.probes else [self.config.layer_of(count)]


@dataclass(frozen=True, eq=False)
class Read:
    """What a model reads of it."""

    states: "States"
    ready: Readable
    tests: list[int]
    """[test sentence that is read] its place among all test sentences."""


def load_treebank(config: GrowConfig, *, report: Report) -> Treebank:
    """Read and draw. Raises CorpusError for files that are no CoNLL-U, and ExplicateError for too few sentences."""
    files = tuple(Path(path) for path in config.conllu) or (SAMPLE,)
    banks = [read_treebank(path, report=report) for path in files]
    if len(banks) == 1:
        banks = list(_split(banks[0], config.seed))
    train, test = banks
    material = draw_material(train, test, limit=config.most(SENTENCES), tests=config.most(TESTS), seed=config.seed, report=report)
    return Treebank(material, files, config)


def _split(sentences: Sequence[Sentence], seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """By documents or sentences, drawn by the seed."""
    documents = sorted({sentence.document for sentence in sentences})
    units = documents if DOCUMENTS <= len(documents) < len(sentences) else list(range(len(sentences)))
    order = np.random.default_rng([seed, 5]).permutation(len(units))
    chosen = {units[at] for at in order[: max(1, round(TEST_SHARE * len(units)))].tolist()}
    tested = [(sentence.document if units is documents else number) in chosen for number, sentence in enumerate(sentences)]
    train, test = ([each for each, is_test in zip(sentences, tested, strict=True) if is_test is part] for part in (False, True))
    return train, test
