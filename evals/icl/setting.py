"""What all analyses of one run share: the model, the prompts that it is asked, and what it answers undisturbed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import Failed
from analyzers.progress import Report
from evals.icl.drawing import Drawn
from evals.icl.task import IclItem
from evals.results import Failure, Value, failure
from evals.scores import Floats
from evals.statistics import mean

if TYPE_CHECKING:
    from analyzers.icl.answers import Answers
    from analyzers.icl.prompts import IclPrompt, Template
    from analyzers.text_model import TextModel


@dataclass(frozen=True, eq=False)
class Case:
    """One item asked about behind one draw of demonstrations."""

    item: IclItem
    draw: int
    """Which of Drawn.shown stands before it."""
    prompt: "IclPrompt"


@dataclass(frozen=True, eq=False)
class Setting:
    """A model at work on a task."""

    model: "TextModel"
    template: "Template"
    drawn: Drawn
    cases: tuple[Case, ...]
    """Every asked item behind every draw."""
    answers: "Answers"
    """[case] what the model answers."""
    seed: int
    report: Report

    @property
    def prompts(self) -> list["IclPrompt"]:
        """[case]"""
        return [case.prompt for case in self.cases]

    @property
    def units(self) -> list[int]:
        """[case] number of its item: what is drawn together for an interval."""
        return [case.item.number for case in self.cases]

    @property
    def gold(self) -> Floats:
        """[case] number of the true label."""
        return np.array([case.item.label for case in self.cases], np.float64)

    def mean(self, values: Sequence[float] | Floats) -> Value | Failure:
        """Mean of values [case] with its interval over items."""
        found = mean(values, self.units, seed=self.seed)
        return failure(found) if isinstance(found, Failed) else found
