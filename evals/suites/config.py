"""What a suite is asked to do, read from its TOML file."""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzers.corpus import text_lines
from analyzers.errors import ExplicateError
from evals.alerts.config import AlertConfig
from evals.audit.config import AuditConfig
from evals.comparison import Threshold
from evals.confidence.config import ConfidenceConfig
from evals.label_config import LabelConfig, Limits
from evals.suites.results import Kind
from evals.task_config import TaskConfig
from evals.tasks.items import Items
from evals.tasks.task import Task, load_task
from evals.toml_places import at_line, dotted

EXAMPLE = Path(__file__).parent / "example.toml"
"""The suite that `suite init` writes."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_CONFIGS: Mapping[Kind, type[LabelConfig | AuditConfig | ConfidenceConfig]] = MappingProxyType(
    {"label": LabelConfig, "audit": AuditConfig, "confidence": ConfidenceConfig}
)
_OPTIONS: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {"label": {}, "audit": {"persona": "personas", "beside": "methods"}, "confidence": {}}
)
"""By kind: options of the command that the configuration has under another name."""
_PATHS = ("task", "items", "corpus", "directions")
"""Options that may be paths; they are then relative to the suite's file."""
_NESTED: Mapping[str, Sequence[str]] = MappingProxyType(
    {"limits": tuple(Limits.model_fields), "thresholds": tuple(Threshold.model_fields), "alerts": tuple(AlertConfig.model_fields)}
)
"""By key of a suite: the keys within it."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class SuiteTask:
    """One run of a suite, under a name of its own."""

    name: str
    kind: Kind
    config: LabelConfig | AuditConfig | ConfidenceConfig
    asked: Task | None = None
    """What is asked of every item; None for labels."""
    items: Items | None = None

    def summary(self) -> str:
        """What it is, in a line."""
        if isinstance(self.config, LabelConfig):
            what = ", ".join(self.config.sites) or f"{self.config.sample or 'some'} drawn neurons"
            return f"{self.name} (label {self.config.subject}: {what})"
        drawn = self.config.n or len(self.items or ())
        return f"{self.name} ({self.kind} of {self.config.model} on {drawn} items of {self.config.task})"


class SuiteConfig(_Strict):
    """A suite. Limits, thresholds and alerts do not change what its tasks find."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str = Field(pattern=f"^{_NAME.pattern}$")
    limits: Limits = Limits()
    alpha: float = Field(0.05, gt=0, lt=1)
    """Largest share of runs of an unchanged model in which anything may be called a regression."""
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    """By name of a metric, or a pattern of names such as `df_*`."""
    alerts: AlertConfig = AlertConfig()
    tasks: tuple[SuiteTask, ...] = Field(min_length=1)

    def decides(self) -> dict[str, Any]:
        """What decides the results, as the manifest holds it."""
        tasks = [{"name": task.name, "kind": task.kind, "config": task.config.model_dump(mode="json")} for task in self.tasks]
        return {"name": self.name, "tasks": tasks}


def load_suite(path: Path) -> SuiteConfig:
    """The suite in a TOML file; raises ExplicateError that names the file, the line and the key of what is wrong."""
    if not path.is_file():
        raise ExplicateError(f"there is no suite {str(path)!r}; write one with `explicate suite init {path}`")
    return _Reader(path).suite()


class _Reader:
    """Reads one file, and knows where in it what stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = [line for _, line in text_lines(path)]

    def suite(self) -> SuiteConfig:
        try:
            found = tomllib.loads("".join(self._lines))
        except tomllib.TOMLDecodeError as error:
            raise ExplicateError(f"{str(self._path)!r} is not TOML: {error}; `explicate suite init` writes an example") from None
        keys = ["task", *(key for key in SuiteConfig.model_fields if key != "tasks")]
        self._known(found, keys, ())
        tasks = found.pop("task", None)
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
            raise ExplicateError(f"{str(self._path)!r} has no tasks; add at least one: [[task]] with a name, a kind and its options")
        read = [self._task(task, number) for number, task in enumerate(tasks)]
        for number, task in enumerate(read):
            if task.name.casefold() in {before.name.casefold() for before in read[:number]}:
                raise self._wrong(["task", number, "name"], f"{task.name!r} is another task's name, too; give each a name of its own")
        try:
            config = SuiteConfig(**found, tasks=tuple(read))
        except ValidationError as error:
            raise self._invalid(error, ()) from None
        config.limits.check()
        # Relative to the suite's file, not to where the program happens to run.
        paths = {
            key: self._path.parent / path for key in ("markdown", "junit", "file") if (path := getattr(config.alerts, key)) is not None
        }
        return config.model_copy(update={"alerts": config.alerts.model_copy(update=paths)})

    def _task(self, written: dict[str, Any], number: int) -> SuiteTask:
        place: list[str | int] = ["task", number]
        name, kind = written.get("name"), written.get("kind")
        for key, given in (("name", name), ("kind", kind)):
            near = difflib.get_close_matches(key, [other for other in written if other not in ("name", "kind")], n=1)
            if given is None and near:
                raise self._wrong([*place, near[0]], f"unknown key; did you mean {key!r}?")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._wrong([*place, "name"], f"{name!r} is no name; give one of letters, digits, _, . and -, 64 at most")
        if kind not in KINDS:
            near = difflib.get_close_matches(str(kind), KINDS, n=1)
            raise self._wrong(
                [*place, "kind"], f"{kind!r} is no kind{f'; did you mean {near[0]!r}?' if near else ''}; give one of {', '.join(KINDS)}"
            )
        fields = _CONFIGS[kind].model_fields
        names = {field: field for field in fields if field not in _OPTIONS[kind].values() and field != "task_digest"} | dict(_OPTIONS[kind])
        self._known(written, ["name", "kind", *names], place)
        options = {names[key]: self._value(key, value) for key, value in written.items() if key not in ("name", "kind")}
        try:
            return self._checked(name, kind, options)
        except ValidationError as error:
            raise self._invalid(error, place, {field: key for key, field in names.items()}) from None
        except ExplicateError as error:
            raise ExplicateError(f"{str(self._path)!r}{at_line(self._lines, place)}: task {name!r}: {error}") from None

    def _checked(self, name: str, kind: Kind, options: dict[str, Any]) -> SuiteTask:
        _CONFIGS[kind](**({"model": "", "task": ""} | options if kind != "label" else options))
        if kind == "label":
            return SuiteTask(name, kind, LabelConfig.checked(**options))
        of: type[TaskConfig] = AuditConfig if kind == "audit" else ConfidenceConfig
        if not options.get("model"):
            raise ExplicateError("it needs the option 'model', such as model = \"qwen2.5-coder-0.5b\"")
        options.setdefault("task", "sentiment")
        asked, items = load_task(options["task"], items=options.get("items"))
        config = of.asking(asked, items, model=options.pop("model"), example=options.pop("example", None), **options)
        assert isinstance(config, AuditConfig | ConfidenceConfig)
        return SuiteTask(name, kind, config, asked, items)

    def _value(self, key: str, value: Any) -> Any:
        beside = self._path.parent / value if key in _PATHS and isinstance(value, str) else None
        return str(beside.resolve()) if beside is not None and beside.exists() else value

    def _known(self, found: Mapping[str, Any], keys: Sequence[str], place: Sequence[str | int]) -> None:
        for key in found:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                raise ExplicateError(
                    f"{str(self._path)!r}{at_line(self._lines, [*place, key])}: unknown key {key!r}"
                    f"{f'; did you mean {near[0]!r}?' if near else ''}; the keys are {', '.join(keys)}"
                )

    def _invalid(self, error: ValidationError, place: Sequence[str | int], names: Mapping[str, str] | None = None) -> ExplicateError:
        # A misspelt key is why another one is missing.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        inner = [(names or {}).get(str(step), step) for step in first["loc"]]
        said = (
            "the key is missing" if first["type"] == "missing" else f"{str(first['input'])[:60]!r}: {first['msg']}".replace("tuple", "list")
        )
        if inner[0] == "alerts" and first["type"] != "extra_forbidden":  # an address can hold a secret
            said = first["msg"]
        if first["type"] == "extra_forbidden":
            known = _NESTED.get(str(inner[0]), ())
            near = difflib.get_close_matches(str(inner[-1]), known, n=1)
            said = (
                "there is no such key"
                + (f"; did you mean {near[0]!r}?" if near else "")
                + (f"; the keys are {', '.join(known)}" if known else "")
            )
        return self._wrong([*place, *inner], said)

    def _wrong(self, place: Sequence[str | int], said: str) -> ExplicateError:
        return ExplicateError(f"{str(self._path)!r}{at_line(self._lines, place)}: {dotted(place)}: {said}")
