"""What a measurement of stated confidence is asked to do."""

from pydantic import Field

from agents.confidences import PROMPTINGS
from agents.samplings import NONE, SAMPLINGS
from analyzers.errors import ExplicateError
from evals.confidence.aggregation import AGGREGATIONS
from evals.task_config import TaskConfig, check_names

STATED = "stated"
"""The aggregation of a single reply: its answer, and the confidence stated in it."""
RANKED = "pair-rank"
"""The aggregation that needs several guesses a reply."""


class ConfidenceConfig(TaskConfig):
    """Everything that decides the result of a measurement."""

    prompting: tuple[str, ...] = ("vanilla", "top-k")
    sampling: tuple[str, ...] = (NONE, "self-random")
    aggregate: tuple[str, ...] = tuple(AGGREGATIONS)
    """Of several replies; one alone is taken as it is."""
    samples: int = Field(5, ge=2, le=100)
    """Replies of every sampling strategy but none, an item."""
    deletion: bool = True

    def check(self) -> None:
        """Raise ExplicateError naming the first option that is wrong."""
        for option, named, known in (
            ("prompting", self.prompting, PROMPTINGS.all()),
            ("sampling", self.sampling, SAMPLINGS.all()),
            ("aggregate", self.aggregate, AGGREGATIONS),
        ):
            check_names(option, named, known, usual=ConfidenceConfig.model_fields[option].default)
        if not self.rows:
            others = ", ".join(name for name in AGGREGATIONS if name != RANKED)
            raise ExplicateError(f"--aggregate {RANKED} needs the guesses of --prompting top-k; add top-k, or aggregate by {others}, too")

    @property
    def ways(self) -> list[tuple[str, str]]:
        """Prompting and sampling strategy of everything that is asked."""
        return [
            (prompting, sampling) for prompting in self.prompting for sampling in self.sampling if self._aggregates(prompting, sampling)
        ]

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Prompting, sampling and aggregation of every row of results."""
        return [(prompting, sampling, name) for prompting, sampling in self.ways for name in self._aggregates(prompting, sampling)]

    def _aggregates(self, prompting: str, sampling: str) -> list[str]:
        if sampling == NONE:
            return [STATED]
        ranked = PROMPTINGS.get(prompting).ranked
        return [name for name in self.aggregate if ranked or name != RANKED]
