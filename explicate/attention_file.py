"""Writes where a model attends to a file, in the form that its name asks for."""

from collections.abc import Callable
from pathlib import Path

from evals.attention import Attention
from explicate import written_file
from explicate.attention_drawing import draw_overview
from explicate.attention_page import render

FORMS: dict[str, Callable[[Attention], str]] = {
    ".html": render,
    ".svg": draw_overview,
    ".json": lambda found: found.model_dump_json() + "\n",
}


def check_file(path: Path) -> None:
    """Raise ExplicateError where nothing can be written, before a model is loaded."""
    written_file.check_file(path, "attention.html", FORMS)


def write_file(found: Attention, path: Path) -> None:
    """Write it whole or not at all; raises ExplicateError where that is not possible."""
    written_file.write_file(found, path, FORMS)
