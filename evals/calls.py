"""The language models of one run: connected once, under one budget, with one transcript that says what each call was for."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal, Self

from agents.budget import Budget, Forecast
from agents.cache import ReplyCache
from agents.connect import FORMS, connect
from agents.llm import LLM
from agents.metered import Metered
from agents.prices import Price
from agents.transcript import CallRecord
from analyzers.errors import ExplicateError, ProviderError
from analyzers.progress import Report, quiet
from analyzers.settings import settings
from analyzers.sites import Site
from evals.label_config import Limits
from evals.run_folder import Transcript

Role = Literal["explainer", "simulator", "model"]
WITHOUT: Mapping[Role, str] = {"explainer": "template", "simulator": "lexical"}
"""What takes a language model's part and needs none."""

BATCHED = "openai:"
"""What the Batch API is for."""
AGENT = "agent:"
"""Before a language model that explains: it is to experiment, not only to read."""

_doing: ContextVar[Mapping[str, Any] | None] = ContextVar("doing", default=None)
_shared: ContextVar[Budget | None] = ContextVar("shared", default=None)


def budget_of(limits: Limits) -> Budget:
    """An empty budget with these limits, within the one that is shared, if there is one."""
    return Budget(max_calls=limits.calls, max_tokens=limits.tokens, max_usd=limits.usd, within=_shared.get())


class Foretold(Exception):
    """A run has told its forecast, and no more was wanted of it."""

    def __init__(self, total: Forecast) -> None:
        super().__init__("forecast only")
        self.total = total
        """What it will take at most."""


@contextmanager
def sharing(budget: Budget) -> Iterator[None]:
    """Charge the runs within to this budget, too, and hold its limits."""
    token = _shared.set(budget)
    try:
        yield
    finally:
        _shared.reset(token)


@contextmanager
def doing(role: str, site: Site | str = "", *, shown: Sequence[str] = ()) -> Iterator[None]:
    """Say what the calls within are for. `explain` calls are kept with their prompt and the keys of the excerpts shown: the leak
    audit reads them."""
    token = _doing.set({"role": role, "site": str(site), "shown": list(shown)})
    try:
        yield
    finally:
        _doing.reset(token)


class Calls:
    """Connects the models of a run; an async context manager that closes them and the reply cache."""

    def __init__(self, limits: Limits, *, base_url: str | None, transcript: Transcript | None = None, report: Report = quiet) -> None:
        self.budget = budget_of(limits)
        self._cache = ReplyCache(settings().replies)
        self._transcript = transcript
        self._limits = limits
        self._base_url = base_url
        self._report = report
        self._open: dict[Role, Metered] = {}

    def at_once(self, spec: str) -> int:
        """How many sites to work on at a time with this model: a local one does one thing after the other anyway."""
        if self._limits.batch and spec.startswith(BATCHED):
            from agents.providers.batch import LANES

            # All that can be asked goes into one batch.
            return LANES
        return self._limits.concurrency if _is_remote(spec) else 1

    async def connect(self, spec: str, role: Role, *, tools: bool = False, dtype: str = "auto", device: str = "auto") -> LLM | None:
        """The language model of that spec, to be closed under its role; None where the spec is the part that needs none.

        tools: find out whether it can call tools, of which nothing is known otherwise. dtype, device: of a local model, as in Engine.load.
        Nothing heavy is loaded: a local model comes into memory at its first call.
        Raises what `agents.connect.connect` does.
        """
        if spec == WITHOUT.get(role):
            return None
        if ":" not in spec:
            raise ProviderError(f"--{role} {spec!r} is neither {WITHOUT[role]!r} nor a language model; write {WITHOUT[role]}, {FORMS}")
        llm = await connect(
            spec,
            base_url=self._base_url if _is_remote(spec) else None,
            budget=self.budget,
            cache=self._cache,
            concurrency=self._limits.concurrency,
            timeout=self._limits.timeout,
            on_call=None if self._transcript is None else self._called,
            price=None if self._limits.price is None else Price.parse(self._limits.price),
            report=self._report,
            tools=tools,
            batch=self._limits.batch and spec.startswith(BATCHED) and not tools,
            dtype=dtype,
            device=device,
        )
        self._open[role] = llm
        return llm

    async def close(self, role: Role) -> None:
        """Let go of a model: a local one gives its memory back."""
        llm = self._open.pop(role, None)
        if llm is not None:
            await llm.close()

    def _called(self, record: CallRecord) -> None:
        assert self._transcript is not None
        now = _doing.get() or {"role": "probe", "site": ""}
        line = record.line()
        line["prompt_hash"] = line.pop("prompt")
        # A call that failed and is answered when the run goes on is a line more.
        failed = "" if line["failed"] is None else " failed"
        row = {
            "key": f"{now['role']} {now['site']} {record.llm} {line['prompt_hash']}{failed}",
            "role": now["role"],
            "site": now["site"],
            **line,
        }
        if now["role"] == "explain":
            row |= {"shown": now["shown"], "prompt": _text(record)}
        self._transcript.append(row)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for role in list(self._open):
            await self.close(role)
        self._cache.close()


def check_base_url(base_url: str | None, *specs: str) -> None:
    """Raise ExplicateError for a base URL that none of the models would be asked at."""
    if base_url is not None and not any(_is_remote(spec) for spec in specs):
        named = " and ".join(repr(spec) for spec in specs)
        raise ExplicateError(f"--base-url {base_url!r} is for openai:MODEL and echo:MODEL, and {named} ask no server: leave it out")


def check_batch(batch: bool, *specs: str) -> None:
    """Raise ExplicateError for batches that no model could be asked by; an agent cannot wait for each reply."""
    if batch and not any(spec.startswith(BATCHED) for spec in specs):
        named = " and ".join(repr(spec) for spec in specs)
        raise ExplicateError(f"--batch is for {BATCHED}MODEL, and {named} cannot be asked by batches: leave it out, or name another model")


def _is_remote(spec: str) -> bool:
    return spec.removeprefix(AGENT).partition(":")[0] not in ("local", "scripted", *WITHOUT.values())


def _text(record: CallRecord) -> str:
    if record.request.kind == "readout":
        return record.request.prefix + record.request.head + "".join(record.request.pieces)
    return "\n".join(message.content for message in record.request.messages)
