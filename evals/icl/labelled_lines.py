"""Items from files whose every line is a label and a text, as those of TREC and SST-2 are passed around."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analyzers.corpus import text_lines
from analyzers.errors import ExplicateError

Labelled = tuple[str, str]
"""A text and its label."""


def labelled_lines(path: Path, labels: Sequence[str], names: Mapping[str, str]) -> Iterator[Labelled]:
    """Of every line that is not blank: "5 How far is it ?" or, with a finer label behind the label, "NUM:dist How far is it ?".

    names: what a label is called among the labels where the file calls it otherwise. Raises ExplicateError that names the line for one
    without a text or with another label.
    """
    known = {label.casefold(): label for label in labels} | {name.casefold(): label for name, label in names.items()}
    for number, line in text_lines(path):
        first, _, text = line.strip().partition(" ")
        if not first:
            continue
        label = known.get(first.casefold()) or known.get(first.partition(":")[0].casefold())
        if label is None or not text.strip():
            raise ExplicateError(
                f"{str(path)!r} line {number} begins with {first[:40]!r}; begin each line with a label and a space before the text, the "
                f"label one of {', '.join(labels)}, or one that the task's gold_names translate ({', '.join(names) or 'none'})"
            )
        yield text.strip(), label
