"""What was measured of a model in some state, kept by all that decides it, so that a killed run goes on."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from evals.editing.results import Outcome, Step

VERSION = 1
"""Of what is measured; another one is measured anew."""

M = TypeVar("M", bound=BaseModel)


def kept_outcome(told: Sequence[Any], make: Callable[[], Outcome]) -> Outcome:
    """What is kept under what was told, or else is made now."""
    return _kept("outcome", Outcome, told, make)


def kept_step(told: Sequence[Any], make: Callable[[], Step]) -> Step:
    """As `kept_outcome`."""
    return _kept("step", Step, told, make)


def _kept(what: str, kind: type[M], told: Sequence[Any], make: Callable[[], M]) -> M:
    from analyzers.pass_folder import FORMAT, content_key, read_json, write_json
    from analyzers.settings import settings

    folder = settings().passes / "edits"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content_key([VERSION, what, *map(_plain, told)])}.json"
    if path.exists():
        return kind.model_validate(read_json(path)[what])
    made = make()
    write_json(path, {"format": FORMAT, what: made.model_dump(mode="json")})
    return made


def _plain(value: Any) -> Any:
    """As JSON takes it: dataclasses as their fields, also within lists."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
