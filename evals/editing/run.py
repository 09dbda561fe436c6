"""Edits of a model, each measured by itself and all of them one after the other; what was made or measured is kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analyzers.corpus import source_identity
from analyzers.errors import Failed, SubjectError
from analyzers.progress import Report, quiet
from evals.each import drawn
from evals.editing.cases import Case, read_cases
from evals.editing.config import TRACE, EditConfig
from evals.editing.kept import kept_outcome, kept_step
from evals.editing.measures import above, figures
from evals.editing.measuring import SHOWN, as_it_is, measure, readable, told_in_context
from evals.editing.results import Edited, EditTold, Outcome, Step
from evals.editing.sequence import marks, step
from evals.editing.text import read_text
from evals.number_of import number_of
from evals.source_files import sources

if TYPE_CHECKING:
    from analyzers.editing.deltas import Edit
    from analyzers.editing.editor import Editor, Method
    from analyzers.influence.passages import Passage
    from analyzers.text_model import TextModel

DELTAS = "deltas.safetensors"
"""File of saved edits in their folder."""
MEASURING = "measure edits"
WRITING = "edit one after the other"
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
    work = _Work(config, model, editor, cases, held, report)
    plain = work.plain()
    outcomes = work.outcomes(plain) if config.evaluate else {}
    sequence, edits, after = work.sequence(plain)
    if config.out is not None:
        config.out.mkdir(parents=True, exist_ok=True)
        editor.save(config.out / DELTAS, edits, [case.fact for case in cases], work.saved)
    methods = {name: figures(cases, each, seed=config.seed) for name, each in outcomes.items()}
    controls: dict[str, list[Outcome]] = {name: outcomes[name] for name in ("unedited", "random") if name in outcomes}
    return Edited(
        model=dict(model.identity),
        source=sources([config.edits]),
        format=config.form,
        methods=methods,
        above={name: above(each, controls, seed=config.seed) for name, each in outcomes.items() if name not in controls},
        seconds={name: _seconds(each) for name, each in outcomes.items() if name in config.written},
        layer=layer,
        layer_by=layer_by,
        layers={name: editor.layers(_method(name)) for name in config.written},
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
        notes=[*notes, *_notes(config, cases, plain, left_out, unread)],
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


class _Work:
    """The edits of one run, in the model that they are made in."""

    def __init__(
        self, config: EditConfig, model: "TextModel", editor: "Editor", cases: Sequence[Case], held: "Sequence[Passage]", report: Report
    ) -> None:
        self.config, self.model, self.editor, self.cases, self.held, self.report = config, model, editor, cases, held, report
        self.identity = dict(model.identity)
        self.done, self.total = 0, 0
        self.generate = config.generate if config.evaluate else 0

    @property
    def saved(self) -> "Method":
        return _method(self.config.written[0])

    def plain(self) -> list[Outcome]:
        """[case] of the model as it is."""
        self.total = len(self.cases) * (1 + (len(self.config.methods) + bool(self.config.written)) * self.config.evaluate)
        return [self._outcome("unedited", case, None, number) for number, case in enumerate(self.cases)]

    def outcomes(self, plain: Sequence[Outcome]) -> dict[str, list[Outcome]]:
        """By method and control [case]: each edit in the model as it is."""
        names = [*self.config.methods, *(["random"] if self.config.written else [])]
        found: dict[str, list[Outcome]] = {"unedited": list(plain), **{name: [] for name in names}}
        for number, (case, before) in enumerate(zip(self.cases, plain, strict=True)):
            for name in names:
                found[name].append(self._outcome(name, case, before, number))
        return found

    def sequence(self, plain: Sequence[Outcome]) -> "tuple[dict[str, list[Step]], list[Edit], list[str | None]]":
        """(by method the model after some edits, the edits that are saved, [case] what the model says with all of them)."""
        from analyzers.editing.answering import written_on
        from analyzers.editing.deltas import applied

        steps: dict[str, list[Step]] = {}
        saved: list[Edit] = []
        after: list[str | None] = [None] * len(self.cases)
        for name in self.config.written:
            first = name == self.saved
            if not (self.config.sequential or (first and (self.config.out is not None or not self.config.evaluate))):
                continue
            found, edits = self._written(_method(name), plain)
            if self.config.sequential:
                steps[name] = found
            if first:
                saved = edits
                with applied(self.model, edits):
                    after = [written_on(self.model, case.fact.prompt, SHOWN) for case in self.cases]
        return steps, saved, after

    def _written(self, method: "Method", plain: Sequence[Outcome]) -> "tuple[list[Step], list[Edit]]":
        """(the model after some edits, if that was asked for, all edits)."""
        facts = [case.fact for case in self.cases]
        looked = marks(len(facts))
        steps = [self._step(method, [], plain, 0)] if self.config.sequential else []
        edits: list[Edit] = []
        for number in range(1, len(facts) + 1):
            self.report(f"{WRITING}: {method}", number - 1, len(facts))
            if method == "memit":
                # All so far at once, which is what it is made for.
                if number == len(facts) or (number in looked and self.config.sequential):
                    edits = [self.editor.made(method, facts[:number])[0]]
            else:
                edits.append(self.editor.made(method, facts[number - 1 : number], earlier=facts[: number - 1], edits=edits)[0])
            if self.config.sequential and number in looked:
                steps.append(self._step(method, edits, plain, number))
        self.report(f"{WRITING}: {method}", len(facts), len(facts))
        return steps, edits

    def _step(self, method: "Method", edits: "Sequence[Edit]", plain: Sequence[Outcome], number: int) -> Step:
        from analyzers.editing.deltas import applied

        def made() -> Step:
            with applied(self.model, edits):
                return step(self.model, self.cases, plain, self.held, number, seed=self.config.seed)

        told = [self.identity, method, self.editor.settings(method), self.cases, [each.ids for each in self.held], number, self.config.seed]
        return kept_step(told, made)

    def _outcome(self, name: str, case: Case, plain: Outcome | None, number: int) -> Outcome:
        from analyzers.editing.control import randomised
        from analyzers.editing.deltas import applied

        self.report(MEASURING, self.done, self.total)
        settled = self.editor.settings(self._source(name)) if name in ("random", *self.config.written) else {}
        seed = self.config.seed + number

        def made() -> Outcome:
            if name in ("unedited", "ice"):
                leading = told_in_context(case) if name == "ice" else as_it_is
                return measure(self.model, case, leading, plain=plain, generate=self.generate, seed=seed)
            edit, seconds = self.editor.made(self._source(name), [case.fact])
            if name == "random":
                edit = randomised(edit, seed)
            with applied(self.model, [edit]):
                return measure(
                    self.model,
                    case,
                    as_it_is,
                    plain=plain,
                    generate=self.generate,
                    seed=seed,
                    seconds=None if name == "random" else seconds,
                )

        source = self._source(name) if name == "random" else name
        found = kept_outcome([self.identity, name, source, settled, case, self.generate, seed], made)
        self.done += 1
        self.report(MEASURING, self.done, self.total)
        return found

    def _source(self, name: str) -> "Method":
        """The method that an edit is made by; the control's is that of the first one."""
        return self.saved if name == "random" else _method(name)


def _method(name: str) -> "Method":
    from analyzers.editing.editor import METHODS

    return next(method for method in METHODS if method == name)


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


def folder_of(path: Path) -> Path:
    """The file of saved edits, named by itself or by its folder."""
    return path / DELTAS if path.is_dir() else path
