"""The points of `explicate probe view`: words of a treebank or of texts of one's own, or the texts of a table, with their labels."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from analyzers.errors import ExplicateError
from analyzers.progress import Report, quiet
from evals.probes.view_config import ViewConfig
from evals.source_files import sources

if TYPE_CHECKING:
    from analyzers.states.pieces import Piece

PER_SENTENCE = 5
"""Words of a sentence at most, where there are sentences enough."""
AROUND = 28
"""Characters told on each side of a word."""
MOST_NUMBERS_AS_LABELS = 12
"""Different values up to which a column of numbers is one of labels."""
FEWEST = 8
"""Points below which there is no view."""
_WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]+")


@dataclass(frozen=True)
class Spot:
    """One point: a stretch of a text."""

    text: str
    span: tuple[int, int]
    unit: str
    """What was sampled: its sentence, or its text."""
    label: str | None = None
    numbers: tuple[float, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its text."""
        return self.span == (0, len(self.text))

    @property
    def context(self) -> str:
        """What stands around it, empty where it is the whole text."""
        start, end = self.span
        if self.is_whole:
            return ""
        before, after = self.text[max(0, start - AROUND) : start], self.text[end : end + AROUND]
        left, right = "…" if start > AROUND else "", "…" if end + AROUND < len(self.text) else ""
        return f"{left}{before}[{self.text[start:end]}]{after}{right}"


@dataclass(frozen=True)
class Spots:
    """All that are shown, and others that directions are fitted to."""

    task: str
    labelled: Literal["labels", "numbers", "nothing"]
    unit: str
    shown: tuple[Spot, ...]
    fitted: tuple[Spot, ...]
    source: dict[str, str]
    left_out: int
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def pieces(self) -> "tuple[list[Piece], list[int]]":
        """(texts, each once, with the spans of their spots; the number of the spot of each span, those fitted to after those shown)."""
        from analyzers.states.pieces import Piece

        spots = (*self.shown, *self.fitted)
        by_text: dict[str, list[int]] = {}
        for number, spot in enumerate(spots):
            by_text.setdefault(spot.text, []).append(number)
        pieces = [Piece(text, tuple(spots[number].span for number in numbers)) for text, numbers in by_text.items()]
        return pieces, [number for numbers in by_text.values() for number in numbers]


def load_spots(config: ViewConfig, *, report: Report = quiet) -> Spots:
    """Read, label and draw. Raises ExplicateError for what the user can mend."""
    if config.text:
        found = _of_texts(config)
    elif config.csv is not None:
        found = _of_table(config, config.csv)
    else:
        found = _of_treebank(config, report)
    if len(found.shown) < FEWEST:
        raise ExplicateError(f"there are {len(found.shown)} points to show, and fewer than {FEWEST} are no view; give more text")
    if found.labelled == "labels" and len({spot.label for spot in found.fitted}) < 2:
        raise ExplicateError(
            f"all points are labelled {found.fitted[0].label!r} by {found.task}, so that nothing can be told apart; give two labels or more"
        )
    return found


def _of_texts(config: ViewConfig) -> Spots:
    """Every word, labelled by the number of its text, which is told but not fitted to; intervals are over words of these very texts."""
    spots = [
        Spot(text, match.span(), f"{number} {match.start()}", f"text {number}" if len(config.text) > 1 else None)
        for number, text in enumerate(config.text, 1)
        for match in _WORD.finditer(text)
    ]
    kept = _some(spots, config.limit, config.seed)
    digest = hashlib.sha256("\n".join(config.text).encode("utf-8", "surrogatepass")).hexdigest()
    return Spots("text", "nothing", "words", tuple(kept), (), {"texts": digest}, 0)


def _of_treebank(config: ViewConfig, report: Report) -> Spots:
    """Words of sentences: half of the sentences are shown, as many words of the others are fitted to."""
    from analyzers.duplicates import Duplicates
    from analyzers.treebank import read_treebank
    from evals.probes.labels_data import SAMPLE, tagged, word_labels

    files = config.conllu or (SAMPLE,)
    sentences = [sentence for path in files for sentence in read_treebank(path, report=report)]
    label = word_labels(config.task, sentences)
    known, rng = Duplicates(), np.random.default_rng([config.seed, 3])
    fresh = [sentences[at] for at in rng.permutation(len(sentences)).tolist() if known.seen(sentences[at].text) is None]
    if len(fresh) < 2:
        raise ExplicateError(f"{len(fresh)} sentence of {', '.join(map(str, files))} is too few for a view; give a larger treebank")
    each = max(PER_SENTENCE, ceil(2 * config.limit / len(fresh)))
    left_out, parts = len(sentences) - len(fresh), list[list[Spot]]()
    for half in (fresh[::2], fresh[1::2]):
        spots: list[Spot] = []
        for sentence in half:
            if len(spots) >= config.limit:
                break
            words = tagged(sentence, label)
            left_out += words.unlabelled
            chosen = sorted(rng.permutation(len(words.spans))[:each].tolist())
            spots += [Spot(sentence.text, words.spans[at], sentence.text, words.labels[at]) for at in chosen]
        parts.append(spots[: config.limit])
    notes = () if config.conllu else ("The sample that is built in is small; give a treebank by --conllu.",)
    return Spots(config.task, "labels", "sentences", tuple(parts[0]), tuple(parts[1]), sources(files), left_out, notes=notes)


def _of_table(config: ViewConfig, path: Path) -> Spots:
    """Rows of a table with their label, number, or place."""
    from evals.probes.place_table import read_entities
    from evals.tasks.items import Reading, read_items

    if len(config.label) == 2:
        found = read_entities(path, target=config.label, name=config.name or "name", drawn=True)
        spots = [Spot(each.name, (0, len(each.name)), each.name, numbers=each.target) for each in found.entities]
        shown, fitted = _halves(spots, config)
        return Spots(
            ", ".join(found.target), "numbers", "texts", shown, fitted, found.source, sum(found.left_out.values()), columns=found.target
        )
    column = config.label[0] if config.label else None
    items = read_items(str(path), Reading(text=config.name, gold=column))
    source = sources([path])
    golds = [item.gold for item in items if item.gold is not None]
    if not golds:
        if column is not None:
            raise ExplicateError(f"{str(path)!r} has no value in the column {column!r} that is the only one of its text; name another one")
        kept = _some([Spot(item.text, (0, len(item.text)), item.text) for item in items], config.limit, config.seed)
        return Spots("text", "nothing", "texts", tuple(kept), (), source, items.duplicates)
    numbers = [_number(gold) for gold in golds]
    as_numbers = None not in numbers and len(set(numbers)) > MOST_NUMBERS_AS_LABELS
    spots = [
        Spot(
            item.text,
            (0, len(item.text)),
            item.text,
            None if as_numbers else item.gold,
            (float(item.gold),) if as_numbers else (),
        )
        for item in items
        if item.gold is not None
    ]
    shown, fitted = _halves(spots, config)
    left_out = items.duplicates + len(items) - len(spots)
    name = column or "label"
    return Spots(
        name, "numbers" if as_numbers else "labels", "texts", shown, fitted, source, left_out, columns=(name,) if as_numbers else ()
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _halves(spots: Sequence[Spot], config: ViewConfig) -> tuple[tuple[Spot, ...], tuple[Spot, ...]]:
    drawn = _some(spots, 2 * config.limit, config.seed)
    return tuple(drawn[::2]), tuple(drawn[1::2])


def _some(spots: Sequence[Spot], limit: int, seed: int) -> list[Spot]:
    """At most so many, drawn."""
    return [spots[at] for at in np.random.default_rng([seed, 3]).permutation(len(spots))[:limit].tolist()]
