"""What a probe of labels trains on and is tested on: tags of a treebank's words, tasks made from its sentences, or items of a file."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analyzers.duplicates import Duplicates
from analyzers.errors import ExplicateError
from analyzers.progress import Report, quiet
from analyzers.sentence_tasks import SENTENCE_TASKS, sentence_items
from analyzers.treebank import Sentence, Word, read_treebank
from evals.probes.labels_config import LIMITS, LabelsConfig
from evals.probes.labels_files import Labelled, read_items
from evals.probes.tree_material import COMPARING
from evals.source_files import sources

SAMPLE = Path(__file__).parent / "samples" / "sample.conllu"
COLUMNS: dict[str, Callable[[Word], str]] = {
    "pos": lambda word: word.upos,
    "xpos": lambda word: word.xpos,
    "deprel": lambda word: word.deprel.partition(":")[0],
}
"""Tags that every treebank can have; deprel without what a language adds to a relation (nsubj:pass)."""
DOCUMENTS = 10
"""Documents from which on a single file is split by them, and not by sentences."""
HELD_OUT = 0.1
"""Share of the texts that train by which the layer and the strength of the regularisation are chosen."""
LEAST = 4
"""Texts that train, and that test, below which nothing is measured; an interval of so few says little."""


@dataclass(frozen=True)
class Material:
    """Texts in three parts; none, nor one that is nearly the same, stands in two of them."""

    task: str
    train: tuple[Labelled, ...]
    held_out: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    source: dict[str, str]
    """SHA-256 of each file by its name."""
    repeated: int
    """Texts that were passed over since they stand among the others, or nearly so."""
    notes: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[Labelled, ...]:
        """All of them, those that train first."""
        return (*self.train, *self.held_out, *self.test)

    @property
    def unlabelled(self) -> int:
        """Words of the texts that have no label, or share their characters with another word."""
        return sum(item.unlabelled for item in self.texts)

    @property
    def of_sentences(self) -> bool:
        """Whether labels are of whole sentences."""
        return all(item.is_whole for item in self.texts)


def load_material(config: LabelsConfig, *, report: Report = quiet) -> Material:
    """Read, label, split and draw. Raises ExplicateError for what the user can mend."""
    if config.items is not None:
        found = read_items(config.items)
        train, held, test, notes = _split_items(found, config)
        return _drawn(config, config.task or config.items.stem, train, held, test, notes, sources([config.items]), report)
    files = config.conllu or (SAMPLE,)
    treebanks = [read_treebank(path, report=report) for path in files]
    notes = [] if config.conllu else ["the sample that is built in is small: its figures say little; give a treebank by --conllu"]
    if len(files) == 1:
        first, second, how = _split_treebank(treebanks[0], config)
        treebanks, notes = [first, second], [*notes, how]
    task = config.task or "pos"
    if task in SENTENCE_TASKS:
        made = sentence_items(task, treebanks[0], seed=config.seed)
        classes = sorted({item.label for item in made})
        tested = sentence_items(task, treebanks[1], seed=config.seed + 1, classes=classes)
        notes.append(
            f"made by rule from dependency trees ({SENTENCE_TASKS[task].says}), after SentEval; as many of each class: {', '.join(classes)}"
        )
        train, test = (
            [Labelled(item.text, ((0, len(item.text)),), (item.label,), (item.target,), item.document) for item in items]
            for items in (made, tested)
        )
        return _drawn(config, task, train, [], test, notes, sources(files), report)
    label = word_labels(task, treebanks[0], others=SENTENCE_TASKS)
    train, test = ([item for sentence in treebank if (item := tagged(sentence, label)).spans] for treebank in treebanks)
    return _drawn(config, task, train, [], test, notes, sources(files), report)


def word_labels(task: str, treebank: Sequence[Sentence], *, others: Collection[str] = ()) -> Callable[[Word], str]:
    """Which label of a word the task names: a column, or a feature that the treebank has; others: tasks of sentences to be told of."""
    if task in COLUMNS:
        return COLUMNS[task]
    features = Counter(key for sentence in treebank for word in sentence.words for key in word.feats)
    if task not in features:
        of_sentences = f"a task of sentences ({', '.join(others)}), " if others else ""
        raise ExplicateError(
            f"no task is called {task!r}; choose {', '.join(COLUMNS)}, {of_sentences}or a feature of the treebank's words "
            f"({', '.join(name for name, _ in features.most_common(12)) or 'it has none'})"
        )
    return lambda word: word.feats.get(task, "")


def tagged(sentence: Sentence, label: Callable[[Word], str]) -> Labelled:
    """The sentence with the labels of its words, but for those that share their characters."""
    shared = Counter(word.span for word in sentence.words)
    words = [word for word in sentence.words if shared[word.span] == 1 and label(word)]
    return Labelled(
        sentence.text,
        tuple(word.span for word in words),
        tuple(label(word) for word in words),
        tuple(word.form.casefold() for word in words),
        sentence.document,
        unlabelled=len(sentence.words) - len(words),
    )


def _split_treebank(treebank: Sequence[Sentence], config: LabelsConfig) -> tuple[list[Sentence], list[Sentence], str]:
    tested, how = _tested([sentence.document for sentence in treebank], config)
    first, second = ([each for each, test in zip(treebank, tested, strict=True) if test is part] for part in (False, True))
    return first, second, how


def _split_items(items: Sequence[Labelled], config: LabelsConfig) -> tuple[list[Labelled], list[Labelled], list[Labelled], list[str]]:
    if items[0].part:
        train, held, test = ([item for item in items if item.part == part] for part in ("train", "held_out", "test"))
        return train, held, test, ["split as the file says"]
    tested, how = _tested([item.document for item in items], config)
    train, test = ([item for item, other in zip(items, tested, strict=True) if other is part] for part in (False, True))
    return train, [], test, [how]


def _tested(documents: Sequence[str], config: LabelsConfig) -> tuple[list[bool], str]:
    """[text] whether it tests, and how that was decided."""
    rng = np.random.default_rng([config.seed, 1])
    names = sorted(set(documents))
    by_document = DOCUMENTS <= len(names) < len(documents)
    units = names if by_document else list(range(len(documents)))
    count = min(max(round(config.test_share * len(units)), 1), len(units) - 1) if len(units) > 1 else 0
    chosen = {units[at] for at in rng.permutation(len(units))[:count].tolist()}
    tested = [(name if by_document else at) in chosen for at, name in enumerate(documents)]
    return tested, f"{count} of {len(units)} {'documents' if by_document else 'texts'} test, drawn by the seed"


def _drawn(
    config: LabelsConfig,
    task: str,
    train: Sequence[Labelled],
    held_out: Sequence[Labelled],
    test: Sequence[Labelled],
    notes: Sequence[str],
    source: dict[str, str],
    report: Report,
) -> Material:
    """So many of each, in random order, without what stands elsewhere, those that test first; a tenth of what trains held out."""
    rng, known, passed = np.random.default_rng([config.seed, 2]), Duplicates(), 0
    whole = all(item.is_whole for item in (*train, *test))
    limit = LIMITS["sentences" if whole else "words"] if config.limit is None else config.limit
    total, done = sum(min(limit or len(items), len(items)) for items in (test, held_out, train)), 0

    def some(items: Sequence[Labelled]) -> list[Labelled]:
        nonlocal passed, done
        kept: list[Labelled] = []
        order: list[int] = rng.permutation(len(items)).tolist()
        for at in _in_turns(items, order) if whole else order:
            if limit and len(kept) == limit:
                break
            report(COMPARING, done, total)
            if known.seen(items[at].text) is None:
                kept.append(items[at])
                done += 1
            else:
                passed += 1
        return kept

    tests, held, trains = some(test), some(held_out), some(train)
    report(COMPARING, total, total)
    for part, items in (("train", trains), ("test", tests)):
        if len(items) < LEAST:
            raise ExplicateError(f"{len(items)} texts to {part} on are too few for a probe; give {LEAST} or more, each another text")
    if not held:
        count = max(round(HELD_OUT * len(trains)), 1)
        held, trains = trains[:count], trains[count:]
    labels = {label for item in (*trains, *held) for label in item.labels}
    if len(labels) < 2:
        raise ExplicateError(
            f"all labels to train on are {next(iter(labels))!r}, so that nothing can be told apart; give texts with two labels or more, "
            "or another --task"
        )
    sampled = [
        f"{len(kept)} of {len(there)} texts {what}, drawn by the seed (--limit)"
        for what, kept, there in (("train", [*trains, *held], [*train, *held_out]), ("test", tests, test))
        if len(kept) < len(there)
    ]
    return Material(task, tuple(trains), tuple(held), tuple(tests), source, passed, (*notes, *sampled))


def _in_turns(items: Sequence[Labelled], order: Sequence[int]) -> list[int]:
    """The order of whole texts changed so that labels come in turns: any first part of them is as balanced as all are."""
    of: dict[str, list[int]] = {}
    for at in order:
        of.setdefault(items[at].labels[0], []).append(at)
    share = {at: (place + 0.5) / len(own) for own in of.values() for place, at in enumerate(own)}
    return sorted(order, key=lambda at: share[at])
