"""A run of edits: what is to be done is checked and told, done, and taken back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analyzers.corpus import source_identity
from analyzers.errors import Failed, SubjectError
from analyzers.progress import Report, quiet
from evals.each import drawn
from evals.editing.cases import Case, read_cases
from evals.editing.config import TRACE, UNEDITED, EditConfig, is_control, random_of
from evals.editing.measures import above, figures
from evals.editing.measuring import readable
from evals.editing.results import Edited, EditTold, Outcome
from evals.editing.text import read_text
from evals.editing.work import Work, method_named
from evals.number_of import number_of
from evals.source_files import sources
from evals.statistics import not_excluded

if TYPE_CHECKING:
    from analyzers.editing.editor import Editor
    from analyzers.text_model import TextModel

DELTAS = "deltas.safetensors"
"""File of saved edits in their folder."""
FEW = 20
"""Edits below which their number is told."""


def run_edit(config: EditConfig, *, tell: Callable[[str], None], report: Report = quiet) -> Edited:
    """Edit, measure what was asked for, take all back. Raises ExplicateError for what the user can mend.

    tell: a line of what is to be done, before it begins.
    """
    # What is misspelt or missing is told before a model is fetched and loaded.
    config.check()
    every, notes = read_cases(config.edits, config.form)
    corpus = source_identity(config.covariance, report=report)
    from analyzers.editing.deltas import weights_hash
    from analyzers.editing.editor import Editor
    from analyzers.text_model import TextModel

    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    check_decoder(model)
    cases, left_out, unread = _readable(model, drawn(every, config.limit, config.seed))
    layer, layer_by = chosen_layer(model, config, cases, report=report)
    hashed = weights_hash(model)
    text, held = read_text(model, config.covariance, config.tokens, report=report)
    editor = Editor(model, layer, text, seed=config.seed, report=report)
    tell(_plan(config, editor, cases))
    work = Work(config, model, editor, cases, held, report)
    plain = work.plain()
    outcomes = work.outcomes(plain) if config.evaluate else {}
    sequence, edits, after = work.sequence(plain)
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
        editor.save(config.out / DELTAS, edits, [case.fact for case in cases], work.saved)
    methods = {name: figures(cases, each, seed=config.seed) for name, each in outcomes.items()}
    return Edited(
        model=dict(model.identity),
        source=sources([config.edits]),
        format=config.form,
        methods=methods,
        above={
            name: above(each, {of: outcomes[of] for of in (UNEDITED, random_of(name)) if of in outcomes}, seed=config.seed)
            for name, each in outcomes.items()
            if not is_control(name)
        },
        seconds={name: _seconds(each) for name, each in outcomes.items() if name in config.written},
        layer=layer,
        layer_by=layer_by,
        layers={name: editor.layers(method_named(name)) for name in config.written},
        sequence=sequence,
        edits=[
            _told(case, before, said, {name: each[at] for name, each in outcomes.items()})
            for at, (case, before, said) in enumerate(zip(cases, plain, after, strict=True))
        ],
        left_out=left_out,
        saved=work.saved if config.out is not None else None,
        restored_exactly=weights_hash(model) == hashed,
        corpus={"name": config.covariance, "identity": corpus, "tokens": str(sum(len(each.ids) for each in text))},
        seed=config.seed,
        notes=[*notes, *_notes(config, cases, plain, left_out, unread), *_unvaried(outcomes)],
    )


def check_decoder(model: "TextModel") -> None:
    """Raise SubjectError for an encoder."""
    if not model.causal:
        raise SubjectError(
            f"{model.name!r} is an encoder: it says nothing behind a prompt, so that no fact can be edited; choose a decoder"
        )


def chosen_layer(model: "TextModel", config: EditConfig, cases: Sequence[Case], *, report: Report = quiet) -> tuple[int, str]:
    """(the layer whose MLP is changed, how it was chosen). SubjectError for one that the model does not have."""
    from analyzers.editing.editor import check_layer, usual_layer
    from analyzers.editing.traced_layer import traced_layer

    if config.layer is None:
        return usual_layer(model), "a fifth of the depth: not traced"
    if config.layer != TRACE:
        return check_layer(model, int(config.layer)), "as asked for"
    facts = [replace(case.fact, target=case.true) for case in cases if case.true is not None]
    found = traced_layer(model, facts, seed=config.seed, report=report)
    if isinstance(found, Failed):
        return usual_layer(model), f"a fifth of the depth, since {found.reason}"
    return found.layer, f"where tracing {number_of('fact', found.facts)} peaks, to within the window that it restores"


def _readable(model: "TextModel", cases: Sequence[Case]) -> tuple[list[Case], list[list[str]], int]:
    """(what can be read, [id, why not] of the others, prompts that were left out of the former). SubjectError where nothing is left."""
    found, left_out, unread = [], [], 0
    for case in cases:
        try:
            each = readable(model, case)
        except SubjectError as error:
            left_out.append([case.fact.id, str(error)])
            continue
        found.append(each.case)
        unread += len(each.left_out)
    if not found:
        raise SubjectError(f"none of the edits can be made in {model.name}: {left_out[0][1]}")
    return found, left_out, unread


def _told(case: Case, before: Outcome, after: str | None, outcomes: dict[str, Outcome]) -> EditTold:
    return EditTold(
        id=case.fact.id,
        prompt=case.fact.prompt,
        subject=case.fact.subject,
        target=case.fact.target,
        true=case.true,
        said_before=before.success == 1.0,
        knew=None if before.success_true is None else before.success_true == 1.0,
        before=before.text,
        after=after,
        outcomes=outcomes,
    )


def _seconds(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([each.seconds or 0.0 for each in outcomes]))


def _plan(config: EditConfig, editor: "Editor", cases: Sequence[Case]) -> str:
    tokens = sum(len(each.ids) for each in editor.text)
    said = f"to edit: {number_of('fact', len(cases))} by {', '.join(config.methods)}, layer {editor.layer}"
    if set(config.written) - {"ft"}:
        said += f", keys read from {tokens:,} tokens"
    if not (config.evaluate or config.sequential) and len(config.methods) > 1:
        said += f" (only {config.written[0]} is made: --evaluate measures all, and only the first is saved)"
    return said + (", each by itself" if config.evaluate else "") + (", then one after the other" if config.sequential else "")


def _notes(
    config: EditConfig, cases: Sequence[Case], plain: Sequence[Outcome], left_out: Sequence[Sequence[str]], unread: int
) -> list[str]:
    notes = []
    said = [case.fact.id for case, each in zip(cases, plain, strict=True) if each.success == 1.0]
    if said:
        notes.append(f"{number_of('edit', len(said))} of what the model said before ({', '.join(said[:5])}): their success shows nothing")
    knew = [each.success_true == 1.0 for each in plain if each.success_true is not None]
    if knew and not all(knew):
        notes.append(f"of {len(knew)} true targets the model knew {sum(knew)}: where it did not, an edit teaches rather than changes")
    if left_out:
        notes.append(f"{number_of('edit', len(left_out))} left out, that the model cannot read")
    if unread:
        notes.append(f"{number_of('prompt', unread)} left out, that the model cannot read")
    if config.evaluate and len(cases) < FEW:
        notes.append(f"few edits ({len(cases)}): intervals are likely too narrow")
    if config.layer is None:
        notes.append("the layer is a fifth of the depth; --layer trace takes that where causal tracing peaks over the true facts")
    return notes


def _unvaried(outcomes: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """Where every edit succeeded, what so many exclude is told in place of an interval."""
    found = []
    for name, each in outcomes.items():
        if not is_control(name) and each and all(one.success == 1.0 for one in each):
            found.append(
                f"all {number_of('edit', len(each))} by {name} succeeded, so that the interval of its success has no width: of others like "
                f"them up to {1 - not_excluded(len(each)):.0%} may not"
            )
    return found


def folder_of(path: Path) -> Path:
    """The file of saved edits, named by itself or by its folder."""
    return path / DELTAS if path.is_dir() else path
