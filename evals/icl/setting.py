"""What all analyses of one run share: the model, the prompts that it is asked, and what it answers undisturbed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analyzers.progress import Report
from evals.icl.drawing import Drawn
from evals.icl.task import IclItem
from evals.results import Failure, Value, stored
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
    def gold(self) -> npt.NDArray[np.int64]:
        """[case] number of the true label."""
        return np.array([case.item.label for case in self.cases], np.int64)

    def mean(self, values: Sequence[float] | Floats, cases: Sequence[int] | None = None) -> Value | Failure:
        """Mean of values [case], of all cases or of some, with its interval over items."""
        units = self.units
        found = mean(values, units if cases is None else [units[number] for number in cases], seed=self.seed)
        return stored({"mean": found})["mean"]
