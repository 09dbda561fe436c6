"""Prompt log-probabilities from an endpoint that echoes: OpenAI's legacy completions with echo and logprobs, as vLLM serves them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from agents.llm import LLM, Capability, Readout, ReadoutReply, Reply, Request, Usage
from agents.providers.faults import Endpoint, Refused, translated
from analyzers.errors import Failed, ProviderError

if TYPE_CHECKING:
    from httpx2 import AsyncClient

TOP = 20
"""Alternatives asked for at each token; the most that vLLM gives unless told otherwise."""

_LETTERS = (" A", " B", " C", " D")
_ROUNDS = 16


class EchoLLM:
    """One model behind a completions endpoint; it answers readouts alone, each with one call, not repeated here."""

    capabilities: frozenset[Capability] = frozenset(["readout"])

    def __init__(self, model: str, *, key: str, endpoint: Endpoint, timeout: float, http: "AsyncClient | None" = None) -> None:
        """http: takes the place of the HTTP client."""
        from openai import AsyncOpenAI

        self.name = endpoint.name
        self.endpoint = endpoint
        self._model = model
        self._client = AsyncOpenAI(api_key=key, base_url=endpoint.url, timeout=timeout, max_retries=0, http_client=http)

    @property
    def identity(self) -> Mapping[str, str]:
        return {"provider": "echo", "model": self._model, "base_url": self.endpoint.url, "top": str(TOP)}

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        """One call a request, one after the other; raises Transient for what may succeed later, ProviderError for what never will."""
        return [await self._one(request) for request in requests]

    async def _one(self, request: Request) -> Reply | Failed:
        if request.kind != "readout":
            raise ProviderError(
                f"{self.name!r} only reads out log-probabilities; name a chat model, such as openai:MODEL, for a conversation"
            )
        prompt = request.prefix + request.head + "".join(request.pieces)
        try:
            with translated(self.endpoint):
                # One token is generated, and not used, because many servers refuse to generate none.
                answer = await self._client.completions.create(
                    model=self._model, prompt=prompt, echo=True, logprobs=TOP, max_tokens=1, temperature=0.0
                )
                usage = Usage() if answer.usage is None else _usage(answer.usage)
                found = answer.choices[0].logprobs
                rows = _rows(request, prompt, {} if found is None else found.model_dump())
                return ReadoutReply(logprobs=rows, usage=usage)
        except Refused as refusal:
            return Failed("ask", refusal.reason)

    async def close(self) -> None:
        await self._client.close()


def _usage(raw: Any) -> Usage:
    return Usage(prompt_tokens=raw.prompt_tokens, completion_tokens=raw.completion_tokens)


def _rows(request: Readout, prompt: str, found: Mapping[str, Any]) -> tuple[tuple[float | None, ...], ...]:
    """[position, option]; a row of None where no token begins exactly at the end of the piece, or none was echoed."""
    tops = _tops_by_offset(prompt, found)
    ends = list(accumulate((len(piece) for piece in request.pieces), initial=len(request.prefix) + len(request.head)))[1:]
    missing: Mapping[str, float] = {}
    return tuple(tuple(tops.get(ends[at], missing).get(option) for option in request.options) for at in request.after)


def _tops_by_offset(prompt: str, found: Mapping[str, Any]) -> dict[int, Mapping[str, float]]:
    """The alternatives to every token, under the place in the prompt where the token begins.

    The places are counted along the tokens' own texts, as far as these spell the prompt. A character that several tokens share is shown
    mangled: from there on the places are unknown, and so are those where a token without text stands, which may belong to either side.
    The offsets that the endpoint gives are not used: they are wrong in just these cases.
    """
    tokens: Sequence[str] = found.get("tokens") or ()
    tops: Iterable[Mapping[str, float] | None] = found.get("top_logprobs") or ()
    entries = list(zip(tokens, tops, strict=False))
    # A beginning-of-text token that the server put in front is echoed by some.
    if entries and not prompt.startswith(entries[0][0]):
        entries = entries[1:]
    by_offset: dict[int, Mapping[str, float] | None] = {}
    start = 0
    for token, top in entries:
        if start < len(prompt) and not prompt.startswith(token, start):
            break
        if token:
            by_offset.setdefault(start, top)
        else:
            by_offset[start] = None
        start += len(token)
    return {place: top for place, top in by_offset.items() if top is not None}


def alignment_check() -> Readout:
    """A text whose continuation is beyond doubt: four letters in turn, over and over, read out after each letter of its second half."""
    pieces = _LETTERS * _ROUNDS
    return Readout(prefix="", head="", pieces=pieces, after=tuple(range(len(pieces) // 2, len(pieces) - 1)), options=_LETTERS)


async def check_alignment(llm: LLM, endpoint: Endpoint) -> None:
    """Raise ProviderError unless the endpoint returns the log-probabilities of the prompt, each at the token it belongs to.

    A shift by one, which llama-cpp-python has, would show the letter before or after the right one.
    """
    check = alignment_check()
    outcome = (await llm.answer([check]))[0]
    remedy = "use --simulator local:MODEL, or a server whose completions echo log-probabilities (vLLM)"
    if isinstance(outcome, Failed):
        raise ProviderError(f"{endpoint} does not return the log-probabilities of a prompt ({outcome.reason}): {remedy}")
    assert outcome.kind == "readout"
    shifts = [0] * len(_LETTERS)
    for at, row in zip(check.after, outcome.logprobs, strict=True):
        known = [(value, option) for option, value in enumerate(row) if value is not None]
        if known:
            shifts[(max(known)[1] - (at + 1)) % len(_LETTERS)] += 1
    if shifts[0] >= 0.9 * len(check.after):
        return
    if max(shifts) >= 0.9 * len(check.after):
        raise ProviderError(f"{endpoint} returns the log-probabilities of a prompt at the wrong tokens (shifted): {remedy}")
    raise ProviderError(
        f"{endpoint} did not continue a repeated pattern ({shifts[0]} of {len(check.after)} places right), "
        f"so that its log-probabilities cannot be trusted: {remedy}"
    )
