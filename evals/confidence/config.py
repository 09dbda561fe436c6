"""What a measurement of stated confidence is asked to do."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.confidences import PROMPTINGS
from agents.samplings import NONE, SAMPLINGS
from analyzers.errors import ExplicateError
from evals.confidence.aggregation import AGGREGATIONS
from evals.label_config import LARGEST_SEED

STATED = "stated"
"""The aggregation of a single reply: its answer, and the confidence stated in it."""
RANKED = "pair-rank"
"""The aggregation that needs several guesses a reply."""


class ConfidenceConfig(BaseModel):
    """Everything that decides the result; two measurements with equal configurations give equal results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    task: str
    items: str | None = None
    task_digest: str = ""
    """Of what is asked and of the items, so that a task file that has changed is another measurement."""
    n: int = Field(0, ge=0)
    """Items drawn by the seed; 0 for all."""
    prompting: tuple[str, ...] = ("vanilla", "top-k")
    sampling: tuple[str, ...] = (NONE, "self-random")
    aggregate: tuple[str, ...] = tuple(AGGREGATIONS)
    """Of several replies; one alone is taken as it is."""
    samples: int = Field(5, ge=2, le=100)
    """Replies of every sampling strategy but none, an item."""
    deletion: bool = True
    example: bool = False
    """Whether the form of a reply is shown by an example about something else."""
    base_url: str | None = None
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    dtype: str = "auto"
    device: str = "auto"

    @classmethod
    def checked(cls, **values: Any) -> "ConfidenceConfig":
        """Build from what a user wrote; raises ExplicateError naming the first option that is wrong."""
        try:
            config = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ExplicateError(f"--{str(first['loc'][0]).replace('_', '-')} {first['input']!r}: {first['msg']}") from None
        for option, named, known in (
            ("prompting", config.prompting, list(PROMPTINGS.all())),
            ("sampling", config.sampling, list(SAMPLINGS.all())),
            ("aggregate", config.aggregate, list(AGGREGATIONS)),
        ):
            _known(option, named, known)
            if not named:
                raise ExplicateError(f"--{option} names nothing; leave it out for {','.join(cls.model_fields[option].default)}")
            if len(set(named)) < len(named):
                raise ExplicateError(f"--{option} {','.join(named)!r} names something twice; name each once")
        if not config.rows:
            raise ExplicateError(
                f"--aggregate {RANKED} needs the guesses of --prompting top-k; add top-k, or aggregate by {', '.join(_others())}, too"
            )
        return config

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


def _others() -> list[str]:
    return [name for name in AGGREGATIONS if name != RANKED]


def _known(option: str, named: Sequence[str], known: Sequence[str]) -> None:
    for name in named:
        if name not in known:
            raise ExplicateError(f"--{option} {name!r}: choose among {', '.join(known)}")
