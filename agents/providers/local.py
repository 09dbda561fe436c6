"""A language model in this process, `local:NAME`: exact log-probabilities along given texts, and conversations; it costs no money."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from agents.llm import Capability, Chat, ChatReply, Choice, ChoiceReply, Readout, ReadoutReply, Reply, Request, TokenLogprob, Usage
from analyzers.errors import Failed, ProviderError
from analyzers.progress import Report, quiet

if TYPE_CHECKING:
    from analyzers.answers import Answers
    from analyzers.engine import Engine
    from analyzers.generating import Generated

Floats = npt.NDArray[np.float64]
Asked = TypeVar("Asked", Chat, Readout, Choice)


class LocalLLM:
    """Answers with a causal language model of this machine, which is loaded at the first request and freed by `close`.

    The usage of a reply is what was computed for it: tokens that several prompts have in common count for the first of them, and for
    none where they were kept from an earlier call; of choices that are computed together each has an even part. Log-probabilities of a
    readout are conditional on its options.
    """

    capabilities: frozenset[Capability] = frozenset(["chat", "prefill", "top_logprobs", "readout", "choice"])

    def __init__(self, spec: str, *, dtype: str = "auto", device: str = "auto", report: Report = quiet) -> None:
        """spec: local:NAME, where NAME is a model's name or folder. dtype and device as in Engine.load."""
        self.name = spec
        self._model = spec.removeprefix("local:")
        self._dtype = dtype
        self._device = device
        self._report = report
        self._engine: Engine | None = None
        self._answers: Answers | None = None
        # One thread: the model answers one call at a time, and the event loop goes on meanwhile.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=spec)

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Provider, model, where its weights are from and their revision or hash, and the number format; fetches the model if need be."""
        from analyzers.assets import model_source
        from analyzers.loading import choose_device, engine_dtype

        source = model_source(self._model, report=self._report)
        dtype = engine_dtype(self._dtype, choose_device(self._device), source.path)
        return {"provider": "local", "model": source.name, "source": source.source, "revision": source.revision, "dtype": dtype}

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        """One outcome a request, in order; readouts with the same prefix and head, samples of one conversation, and choices among the same
        options are run together.

        Raises ProviderError for an option that is not one token and for what this model cannot do.
        """
        if not requests:
            return []
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, tuple(requests))

    async def planned(self, calls: Sequence[Sequence[Choice]]) -> int:
        """Tokens that choices will take, all among the same options, so many a call; loads the model."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._planned, calls)

    def close(self) -> None:
        """Free the model's memory; a later request loads it again."""
        self._engine = self._answers = None

    def _answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        engine = self._loaded()
        outcomes: dict[int, Reply | Failed] = {}
        readouts = [(number, request) for number, request in enumerate(requests) if request.kind == "readout"]
        for numbers, group in _grouped(readouts, lambda request: (request.prefix, request.head, request.options)):
            outcomes |= zip(numbers, _read(engine, group), strict=True)
        chats = [(number, request) for number, request in enumerate(requests) if request.kind == "chat"]
        for numbers, talks in _grouped(chats, lambda request: request.model_copy(update={"seed": 0}).model_dump_json()):
            outcomes |= zip(numbers, _write(engine, talks), strict=True)
        choices = [(number, request) for number, request in enumerate(requests) if request.kind == "choice"]
        for numbers, asked in _grouped(choices, lambda request: request.options):
            outcomes |= zip(numbers, self._choose(engine, asked), strict=True)
        return [outcomes[number] for number in range(len(requests))]

    def _planned(self, calls: Sequence[Sequence[Choice]]) -> int:
        engine = self._loaded()
        texts = [[_conversation(engine, request) for request in requests] for requests in calls]
        return self._reading(engine).planned(texts, calls[0][0].options) if calls else 0

    def _reading(self, engine: "Engine") -> "Answers":
        from analyzers.answers import Answers

        if self._answers is None:
            self._answers = Answers(engine)
        return self._answers

    def _choose(self, engine: "Engine", requests: Sequence[Choice]) -> list[Reply | Failed]:
        """Choices among the same options; one that fails, such as one that is too long, is told from the others by halves."""
        found = self._reading(engine).after([_conversation(engine, request) for request in requests], requests[0].options)
        if isinstance(found, Failed):
            half = len(requests) // 2
            return [*self._choose(engine, requests[:half]), *self._choose(engine, requests[half:])] if half else [found]
        tokens = -(-found.prompt_tokens // len(requests))
        rows = _apart(found.logprobs, [engine.piece(option) for option in requests[0].options])
        return [ChoiceReply(logprobs=tuple(row), usage=Usage(prompt_tokens=tokens)) for row in rows.tolist()]

    def _loaded(self) -> "Engine":
        if self._engine is None:
            from analyzers.engine import Engine

            self._engine = Engine.load(self._model, dtype=self._dtype, device=self._device, report=self._report)
        return self._engine


def _grouped(requests: Sequence[tuple[int, Asked]], key: Callable[[Asked], object]) -> list[tuple[list[int], list[Asked]]]:
    """Requests with equal keys together, with their places, in order of first appearance."""
    groups: dict[object, tuple[list[int], list[Asked]]] = {}
    for number, request in requests:
        numbers, group = groups.setdefault(key(request), ([], []))
        numbers.append(number)
        group.append(request)
    return list(groups.values())


def _conversation(engine: "Engine", request: Choice) -> str:
    """As the chat template writes it; the turns one below the other for a model without one, which need not follow instructions here."""
    turns = [message.model_dump() for message in request.messages]
    return engine.written(turns) if engine.tokenizer.chat_template else "\n".join(turn["content"] for turn in turns)


def _apart(logprobs: Floats, options: Sequence[Sequence[int]]) -> Floats:
    """[text, option] without what an option has of another one that begins with it: `good` without `good enough`."""
    apart = logprobs.copy()
    for number in sorted(range(len(options)), key=lambda number: -len(options[number])):
        tokens = options[number]
        longer = [other for other, ids in enumerate(options) if len(ids) > len(tokens) and ids[: len(tokens)] == tokens]
        if longer:
            taken = np.logaddexp.reduce(apart[:, longer], axis=1) - logprobs[:, number]
            # Rounding can leave nothing, or less, of an option that is all but always followed by the rest of a longer one.
            with np.errstate(divide="ignore"):
                apart[:, number] += np.log1p(-np.exp(np.minimum(taken, 0.0)))
    return apart


def _read(engine: "Engine", requests: Sequence[Readout]) -> list[Reply | Failed]:
    """Readouts of one prefix, head and options."""
    first = requests[0]
    readings = engine.readouts(first.prefix, first.head, [(request.pieces, request.after) for request in requests], first.options)
    return [
        reading
        if isinstance(reading, Failed)
        else ReadoutReply(logprobs=tuple(map(tuple, reading.logprobs.tolist())), usage=Usage(prompt_tokens=reading.prompt_tokens))
        for reading in readings
    ]


def _write(engine: "Engine", requests: Sequence[Chat]) -> list[Reply | Failed]:
    """Samples of one conversation."""
    first = requests[0]
    if first.json_schema is not None:
        raise ProviderError(f"'local:{engine.name}' cannot hold to a JSON schema; choose a model that can, or ask for plain text")
    outcome = engine.generate(
        [message.model_dump() for message in first.messages],
        max_tokens=first.max_tokens,
        temperature=first.temperature,
        seeds=[request.seed for request in requests],
        stop=first.stop,
        top_logprobs=first.top_logprobs,
    )
    return [outcome] * len(requests) if isinstance(outcome, Failed) else [_chat_reply(first, sample) for sample in outcome]


def _chat_reply(request: Chat, sample: "Generated") -> ChatReply:
    logprobs = tuple(TokenLogprob(token=token.text, logprob=token.logprob, top=token.top) for token in sample.tokens)
    return ChatReply(
        text=sample.text,
        logprobs=logprobs if request.top_logprobs else None,
        finish=sample.finish,
        usage=Usage(prompt_tokens=sample.prompt_tokens, completion_tokens=sample.completion_tokens),
    )
