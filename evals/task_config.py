"""What every run is asked to do that puts the question of a task to a model about each of its items."""

from collections.abc import Collection, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzers.errors import ExplicateError
from evals.label_config import LARGEST_SEED
from evals.tasks.items import Items
from evals.tasks.task import Task


class TaskConfig(BaseModel):
    """Everything that decides the result of a run; two runs with equal configurations give equal results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    task: str
    items: str | None = None
    task_digest: str = ""
    """Of what is asked and of the items, so that a task file that has changed is another run."""
    n: int = Field(0, ge=0)
    """Items drawn by the seed; 0 for all."""
    example: bool = False
    """Whether the form of a reply is shown by an example about something else."""
    base_url: str | None = None
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    dtype: str = "auto"
    device: str = "auto"

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Build from what a user wrote; raises ExplicateError naming the first option that is wrong."""
        try:
            config = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ExplicateError(f"--{str(first['loc'][0]).replace('_', '-')} {first['input']!r}: {first['msg']}") from None
        config.check()
        return config

    @classmethod
    def asking(cls, asked: Task, texts: Items, *, model: str, example: bool | None, **values: Any) -> Self:
        """The same once the task is read; a model's name alone is a local one, and local ones are shown an example by default."""
        spec = spec_of(model)
        return cls.checked(
            model=spec,
            task_digest=f"{asked.digest[:16]} {texts.digest[:16]}",
            example=spec.startswith("local:") if example is None else example,
            **values,
        )

    @property
    def model_name(self) -> str:
        """Without its provider."""
        return self.model.partition(":")[2] or self.model

    def check(self) -> None:
        """Raise ExplicateError naming the first option that is wrong."""


def spec_of(model: str) -> str:
    """The model as `connect` takes it: a name alone is a local model."""
    return model if ":" in model else f"local:{model}"


def check_names(option: str, named: Sequence[str], known: Collection[str], *, usual: Sequence[str] = ()) -> None:
    """Raise ExplicateError where a comma-separated option names something unknown, or twice; or nothing, where leaving it out names
    `usual`."""
    for name in named:
        if name not in known:
            raise ExplicateError(f"--{option} {name!r}: choose among {', '.join(known)}")
    if usual and not named:
        raise ExplicateError(f"--{option} names nothing; leave it out for {','.join(usual)}")
    if len(set(named)) < len(named):
        raise ExplicateError(f"--{option} {','.join(named)!r} names something twice; name each once")
