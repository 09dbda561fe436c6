"""One item on its way through an audit, and what is asked of whom."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import cast

import numpy as np

from agents.beliefs import Belief, Question, Reader
from agents.llm import LLM
from agents.self_explanations import ELICITATIONS, Asking, Elicited, Order, ask, whole
from analyzers.attributions import METHODS, Plan
from analyzers.errors import Failed
from analyzers.units import Units
from evals.audit.config import ORACLE, AuditConfig
from evals.audit.faithfulness import Deletions
from evals.audit.rows import ItemFigures
from evals.audit.truth import Truth
from evals.tasks.items import Item
from evals.tasks.task import Task, units_of

PLANNED = 3
"""Stream of the draws of the methods that explanations are held against."""
MOST_UNITS = 500
"""A longer text would take hours, and most of its units would not matter."""


@dataclass(frozen=True)
class Group:
    """One way of asking for an explanation."""

    elicitation: str
    order: Order
    persona: str

    def form(self, *, same_prompt: bool) -> str:
        """The prompt that perturbed texts are asked in: that of the explanation, or (empty) the one for the answer alone."""
        if self.order == "predict-first":
            return self.elicitation
        return f"{self.elicitation}, whole" if same_prompt else ""


@dataclass
class Work:
    """One item on its way through an audit."""

    item: Item
    units: Units
    said: dict[Group, Elicited | Failed] = field(default_factory=dict)
    replies: dict[Group, str] = field(default_factory=dict)
    answers: dict[Group, str | Failed] = field(default_factory=dict)
    """Whatever the explanations are."""
    truths: dict[tuple[str, str, str, str], Truth] = field(default_factory=dict)
    """By persona, form, operator and, where answers are free, the answer."""
    figures: dict[tuple[Group, str], ItemFigures] = field(default_factory=dict)
    """By group and operator."""
    singles: dict[tuple[Group, str], Deletions | Failed] = field(default_factory=dict)
    wholes: dict[tuple[Group, str], Belief | Failed] = field(default_factory=dict)
    """What the model holds of the whole text."""
    failed: Failed | None = None
    """Why nothing can be said of the item."""

    @classmethod
    def of(cls, item: Item, task: Task) -> "Work":
        """An item to be explained; failed where it has too few units to compare, or too many."""
        work = cls(item, units_of(item, task))
        if len(work.units) < 2:
            work.failed = Failed("item", f"{len(work.units)} units, and an explanation needs 2 to compare")
        elif len(work.units) > MOST_UNITS:
            work.failed = Failed("item", f"{len(work.units)} units are more than the {MOST_UNITS} that can be perturbed")
        return work


@dataclass(frozen=True)
class Audited:
    """What is asked of whom."""

    config: AuditConfig
    task: Task
    llm: LLM
    reader: Reader
    others: Sequence[str]
    """Units of all items, which the operator `replace` draws from."""

    @property
    def groups(self) -> list[Group]:
        """All ways of asking."""
        orders = cast(tuple[Order, ...], self.config.order)
        return [Group(*each) for each in product(self.config.elicit, orders, self.config.personas)]

    def asking(self, persona: str) -> Asking:
        """What is asked about every text, in this name."""
        return self.task.asking(persona, example=self.config.example)

    def question(self, group: Group, units: Units, text: str, answer: str = "") -> Question:
        """How a perturbed text is asked about; answer: whose probability is read, where answers are free."""
        form = group.form(same_prompt=self.config.same_prompt)
        asking = self.asking(group.persona)
        sure = self.reader.name == "stated"
        if form.endswith(", whole"):
            asked = whole(asking, text, ELICITATIONS.get(group.elicitation), units)
        else:
            asked = ask(asking, text, ELICITATIONS.get(form) if form else None, units, sure=sure)
        return asked.about(answer) if answer else asked

    def rng(self, work: Work, stream: int = 0) -> np.random.Generator:
        """Draws of an item, the same each time; streams are apart from each other."""
        return np.random.default_rng([self.config.seed, work.item.number, *([stream] if stream else [])])

    def plans(self, work: Work) -> dict[str, Plan]:
        """What the methods want that explanations are held against, by name."""
        rng = self.rng(work, PLANNED)
        return {name: METHODS.get(name)(len(work.units), self.config.budget, rng) for name in dict.fromkeys((ORACLE, *self.config.methods))}
