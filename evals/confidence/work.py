"""One item on its way through a measurement, and what is asked of whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agents.confidences import PROMPTINGS, Asked, Outcome
from agents.llm import LLM
from agents.samplings import NONE, SAMPLINGS, Sampled
from agents.self_explanations import Asking
from analyzers.errors import Failed
from analyzers.units import Units, words
from evals.confidence.config import ConfidenceConfig
from evals.confidence.deletion import Deleting
from evals.confidence.results import ItemDeletion
from evals.confidence.scoring import spelled
from evals.tasks.items import Item
from evals.tasks.task import Task, units_of


@dataclass
class Work:
    """One item on its way through a measurement."""

    item: Item
    gold: str
    outcomes: dict[tuple[str, str], list[Outcome] | Failed] = field(default_factory=dict)
    """By prompting and sampling strategy: [reply]."""
    deleted: ItemDeletion | Failed | None = None
    failed: Failed | None = None
    """Why nothing more can be said of the item."""

    def of(self, way: tuple[str, str]) -> list[Outcome] | Failed:
        """The replies under one way of asking; why there are none where it was not asked."""
        return self.outcomes.get(way, self.failed or Failed("ask", "not asked"))


@dataclass(frozen=True)
class Measured:
    """What is asked of whom."""

    config: ConfidenceConfig
    task: Task
    llm: LLM
    golds: Sequence[str]
    """True answers of the task's items, each once."""

    @property
    def asking(self) -> Asking:
        """What is asked about every text."""
        return self.task.asking(example=self.config.example)

    @property
    def deleting(self) -> Deleting:
        """How words are deleted, and confidence is asked for without them."""
        # Demonstrations are no words of the text.
        unit = "word" if self.task.unit == "demonstration" else self.asking.unit
        return Deleting(self.llm, PROMPTINGS.get(self.config.prompting[0]), replace(self.asking, unit=unit), self.config.seed)

    def units(self, work: Work) -> Units:
        """What is deleted from an item."""
        return words(work.item.text) if self.task.unit == "demonstration" else units_of(work.item, self.task)

    def replies(self, sampling: str) -> int:
        """Replies that a sampling strategy makes, an item."""
        return 1 if sampling == NONE else self.config.samples

    def asked(self, work: Work, askings: Mapping[str, Sequence[Asking] | Failed]) -> dict[str, list[Asked] | Failed]:
        """By sampling strategy: [reply] what is asked about an item; askings: [reply] how the question is put."""
        others = self.task.labels or tuple(gold for gold in self.golds if spelled(gold, ()) != spelled(work.gold, ()))
        sampled = Sampled(work.item.text, work.item.number, others, self.config.seed)
        return {
            name: how if isinstance(how, Failed) else SAMPLINGS.get(name).asked(how, sampled)
            for name, how in askings.items()
            if name in self.config.sampling
        }
