"""The page of `explicate probe MODEL`, what it prints beside what every probe does, and the forms of its file."""

from pathlib import Path

from evals.probes.labels_results import LabelsProbed
from explicate.confusion_drawing import MOST, draw_confusion
from explicate.probe_page import Drawing, page
from explicate.probe_table import show_probed
from explicate.written_file import forms

MOST_ERRORS = 5
"""Confusions that are printed."""


def render(found: LabelsProbed) -> str:
    """The whole page."""
    title = f"{found.task} in {found.model['name']}"
    return page(found, title=title, drawings=[_confusion(found)])


FORMS = forms(render)


def show_labels(found: LabelsProbed, out: Path | None) -> None:
    """What every probe prints, then the commonest confusions."""
    from rich.console import Console

    from explicate.running import plain

    show_probed(found, out)
    pairs = [
        (count, true, predicted)
        for true, row in zip(found.labels, found.confusion, strict=True)
        for predicted, count in zip(found.labels, row, strict=True)
        if count and true != predicted
    ]
    if pairs:
        worst = sorted(pairs, key=lambda pair: -pair[0])[:MOST_ERRORS]
        told = ", ".join(f"{true} for {predicted} {count}" for count, true, predicted in worst)
        Console(emoji=False).print(f"Taken for another at layer {found.best} (true for predicted): {plain(told)}")


def _confusion(found: LabelsProbed) -> Drawing:
    fewer = f" The {len(found.labels) - MOST + 1} rarest are drawn as one." if len(found.labels) > MOST else ""
    return Drawing(
        f"Which labels are taken for which, at layer {found.best}",
        "True labels downwards, the commonest first, predicted ones to the right; the darker, the larger the share of its row, and at the "
        f"right the share that is found.{fewer} What the probe mixes up the model need not: rare labels have taught the probe little.",
        draw_confusion(found.labels, found.confusion),
    )
