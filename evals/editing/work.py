"""What one run measures of its edits: each by itself and all in sequence; what was made or measured is kept."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analyzers.progress import Report
from evals.editing.cases import Case
from evals.editing.config import UNEDITED, EditConfig, of_control, random_of
from evals.editing.kept import kept_outcome, kept_step
from evals.editing.measuring import SHOWN, as_it_is, measure, told_in_context
from evals.editing.results import Outcome, Step
from evals.editing.sequence import marks, step

if TYPE_CHECKING:
    from analyzers.editing.deltas import Edit
    from analyzers.editing.editor import Editor, Method
    from analyzers.influence.passages import Passage
    from analyzers.text_model import TextModel

MEASURING = "measure edits"
WRITING = "edit one after the other"


class Work:
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
        return method_named(self.config.written[0])

    def plain(self) -> list[Outcome]:
        """[case] of the model as it is."""
        self.total = len(self.cases) * (1 + (len(self.config.methods) + len(self.config.written)) * self.config.evaluate)
        return [self._outcome(UNEDITED, case, None, number) for number, case in enumerate(self.cases)]

    def outcomes(self, plain: Sequence[Outcome]) -> dict[str, list[Outcome]]:
        """By method and control [case]: each edit in the model as it is."""
        names = [*self.config.methods, *map(random_of, self.config.written)]
        found: dict[str, list[Outcome]] = {UNEDITED: list(plain), **{name: [] for name in names}}
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
            found, edits = self._written(method_named(name), plain)
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
        turned = of_control(name)
        source = turned or name
        settled = self.editor.settings(method_named(source)) if source in self.config.written else {}
        seed = self.config.seed + number

        def made() -> Outcome:
            if source not in self.config.written:
                leading = told_in_context(case) if name == "ice" else as_it_is
                return measure(self.model, case, leading, plain=plain, generate=self.generate, seed=seed)
            edit, seconds = self.editor.made(method_named(source), [case.fact])
            if turned is not None:
                edit = randomised(edit, seed)
            with applied(self.model, [edit]):
                return measure(
                    self.model,
                    case,
                    as_it_is,
                    plain=plain,
                    generate=self.generate,
                    seed=seed,
                    seconds=None if turned is not None else seconds,
                )

        found = kept_outcome([self.identity, "random" if turned else name, source, settled, case, self.generate, seed], made)
        self.done += 1
        self.report(MEASURING, self.done, self.total)
        return found


def method_named(name: str) -> "Method":
    """One of those that write."""
    from analyzers.editing.editor import METHODS

    return next(method for method in METHODS if method == name)
