"""Demonstrations compressed to their anchors, kept in a file, and what a model answers from them."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from analyzers.errors import AssetError, ExplicateError, SubjectError
from analyzers.progress import Report, quiet
from evals.icl.config import IclConfig, check_loading
from evals.icl.drawing import demonstrations
from evals.icl.task import IclItem, load_icl_task
from evals.results import Failure, Value, stored
from evals.statistics import mean

if TYPE_CHECKING:
    from analyzers.icl.saved_context import SavedContext
    from analyzers.text_model import TextModel

SUFFIX = ".safetensors"
ASKED = 8
"""Items that are not shown, chosen by the seed, that are answered from the whole demonstrations and from what is kept of them."""


class Saved(BaseModel):
    """What `explicate icl --save` prints."""

    path: str
    model: dict[str, str]
    labels: list[str]
    shown: list[str]
    """Texts of the demonstrations."""
    tokens: int
    """Of the demonstrations."""
    kept: int
    """Tokens whose keys and values are kept."""
    bytes: int
    """Of the keys and values."""
    label_loyalty: Value | Failure
    """Share of items, none of them shown, that are answered as behind the whole demonstrations, rightly or not."""
    seconds_whole: Value | Failure
    """Of one of these answers with the whole demonstrations read anew, on this machine."""
    seconds_kept: Value | Failure
    """Of one from what is kept."""


class SavedAnswer(BaseModel):
    """What the model answers to one text."""

    text: str
    label: str
    probabilities: dict[str, float]
    """Of the labels; they sum to 1."""


class SavedAnswers(BaseModel):
    """What `explicate icl --load` prints."""

    path: str
    model: dict[str, str]
    answers: list[SavedAnswer]


def save_context(config: IclConfig, path: Path, *, report: Report = quiet) -> Saved:
    """Compress demonstrations, drawn among all items, to their anchors, write them, and answer ASKED other items both ways.

    Raises ExplicateError for what the user can mend.
    """
    config.check()
    if path.suffix != SUFFIX:
        raise ExplicateError(f"--save {str(path)!r} does not end with {SUFFIX}; name a file such as 'context{SUFFIX}'")
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise ExplicateError(f"--save {str(path)!r} is a folder, or its folder is not there; name a file, such as 'context{SUFFIX}'")
    task = load_icl_task(config.task, items=config.items, report=report)
    shown = demonstrations(task.items, task.labels, shots=config.shots, seed=config.seed)
    check_loading(config.dtype, config.device)
    from analyzers.icl.prompts import Template
    from analyzers.icl.saved_context import SavedContext, is_saved_context
    from analyzers.text_model import TextModel

    if path.exists() and not is_saved_context(path):
        raise ExplicateError(f"--save {str(path)!r} is there and is no saved context; nothing else is written over: name another file")
    template = Template(task.template, task.labels)
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    saved = SavedContext.of(model, template, [(item.text, item.label) for item in shown])
    saved.save(path)
    left = [item for item in task.items if item not in shown]
    asked = np.random.default_rng([config.seed, 3]).permutation(len(left))[:ASKED]
    told = _compared(model, saved, shown, [left[number].text for number in asked.tolist()], seed=config.seed)
    return Saved(
        path=str(path),
        model=model.identity,
        labels=list(task.labels),
        shown=[item.text for item in shown],
        tokens=saved.context.length,
        kept=len(saved.context.positions),
        bytes=saved.context.bytes,
        label_loyalty=told["label_loyalty"],
        seconds_whole=told["seconds_whole"],
        seconds_kept=told["seconds_kept"],
    )


def _compared(
    model: "TextModel", saved: "SavedContext", shown: Sequence[IclItem], texts: Sequence[str], *, seed: int
) -> dict[str, Value | Failure]:
    """The figures of Saved that are measured on these texts, one by one; a Failure where there are none, or one cannot be read."""
    from analyzers.icl.answers import Answers, answers, label_loyalty
    from analyzers.icl.prompts import icl_prompt

    names = ("label_loyalty", "seconds_whole", "seconds_kept")
    if not texts:
        return dict.fromkeys(names, Failure(stage="save", reason="no items are left to ask about beside those shown"))
    demonstrations = [(item.text, item.label) for item in shown]
    rows: list[tuple[float, float, float]] = []
    try:
        for text in (texts[0], *texts):  # the first one warms up
            prompt = icl_prompt(model, saved.template, demonstrations, text)
            started = perf_counter()
            whole = answers(model, [prompt])
            read = perf_counter()
            kept = Answers.read(saved.logits(model, [text]), prompt.class_tokens)
            ended = perf_counter()
            rows.append((float(label_loyalty(kept, whole)[0]), read - started, ended - read))
    except SubjectError as error:
        return dict.fromkeys(names, Failure(stage="save", reason=str(error)))
    return dict(stored({name: mean(values, seed=seed) for name, values in zip(names, zip(*rows[1:], strict=True), strict=True)}))


def answer_from(
    model: str, path: Path, texts: Sequence[str], *, dtype: str = "auto", device: str = "auto", report: Report = quiet
) -> SavedAnswers:
    """What a model answers to texts behind saved demonstrations; ExplicateError for what the user can mend."""
    if not texts:
        raise ExplicateError('--load answers texts; give some, each with --ask "TEXT"')
    if not all(text.strip() for text in texts):
        raise ExplicateError('--ask has no text: give one, such as --ask "TEXT"')
    if not path.is_file():
        raise AssetError(f"there is no file {str(path)!r} to answer from; give one that --save wrote")
    check_loading(dtype, device)
    from analyzers.icl.saved_context import SavedContext, check_saved
    from analyzers.text_model import TextModel

    check_saved(path)
    read = TextModel.load(model, dtype=dtype, device=device, report=report)
    saved = SavedContext.load(path, read)
    labels = saved.template.labels
    rows: list[list[float]] = saved.answer(read, texts).tolist()
    answers = [
        SavedAnswer(text=text, label=labels[max(range(len(row)), key=row.__getitem__)], probabilities=dict(zip(labels, row, strict=True)))
        for text, row in zip(texts, rows, strict=True)
    ]
    return SavedAnswers(path=str(path), model=read.identity, answers=answers)
