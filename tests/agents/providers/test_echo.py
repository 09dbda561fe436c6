"""Readouts from an endpoint that echoes prompt log-probabilities, against a toy model whose probabilities are computed here."""

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import openai
import pytest

from agents.llm import Readout, ReadoutReply, Reply
from agents.providers.echo import EchoLLM, alignment_check, check_alignment
from agents.providers.faults import Endpoint
from analyzers.errors import Failed, ProviderError

ENDPOINT = Endpoint("echo:toy", "http://127.0.0.1:1/v1", "OPENAI_API_KEY")


def llm_at(answer: Any) -> EchoLLM:
    """An EchoLLM whose endpoint is a function of the request's body."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/v1/completions"
        return httpx2.Response(200, json=answer(json.loads(request.content)))

    http = openai.DefaultAsyncHttpxClient(transport=httpx2.MockTransport(handle))
    return EchoLLM("toy", key="none", endpoint=ENDPOINT, timeout=5, http=http)


def read(outcome: Reply | Failed) -> tuple[tuple[float | None, ...], ...]:
    assert isinstance(outcome, ReadoutReply)
    return outcome.logprobs


def expected(server: Any, readout: Readout, pieces: Sequence[int]) -> list[dict[str, float]]:
    """Log-probabilities of what follows each of these pieces, from the toy model itself."""
    prompt = readout.prefix + readout.head + "".join(readout.pieces)
    vocabulary = sorted(set(server.tokens(prompt)) | set("0123456789"))
    found = []
    for at in pieces:
        before = readout.prefix + readout.head + "".join(readout.pieces[: at + 1])
        found.append(server.following(server.tokens(before), vocabulary))
    return found


PIECES = (" the", "\t", "?", "\n", " bridge", "\t", "?", "\n", " the", "\t", "?", "\n")
READOUT = Readout(prefix="Levels 0123456789 of a\t3\n", head="word\t7\n\n", pieces=PIECES, after=(1, 5, 9, 11), options=tuple("0123456789"))


@pytest.mark.parametrize("bos", ["", "<|begin_of_text|>"])
async def test_reads_what_follows_each_piece(server: Any, bos: str) -> None:
    llm = llm_at(lambda body: server.echo(body, bos=bos))
    rows = read((await llm.answer([READOUT]))[0])
    truth = expected(server, READOUT, READOUT.after)
    for row, following in zip(rows, truth, strict=True):
        # Only the likeliest 20 are returned: what is given is right, what is not given is None.
        assert [value for value in row if value is not None] == pytest.approx(
            [following[option] for option, value in zip(READOUT.options, row, strict=True) if value is not None]
        )
        assert any(value is not None for value in row)
    assert (await llm.answer([READOUT]))[0].usage.completion_tokens == 1  # type: ignore[union-attr]
    await llm.close()


async def test_an_option_beyond_the_likeliest_is_none(server: Any) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        assert (body["echo"], body["logprobs"], body["temperature"]) == (True, 20, 0.0)
        return dict(server.echo({**body, "logprobs": 3}))

    rows = read((await llm_at(answer).answer([READOUT]))[0])
    assert all(sum(value is not None for value in row) <= 3 for row in rows)


async def test_a_boundary_inside_a_token_is_none(server: Any) -> None:
    # The toy model reads " bridge" as one token, so that nothing can be read out after " brid".
    readout = Readout(prefix="", head="a\t1\n", pieces=(" brid", "ge", "\t", "7"), after=(0, 1, 2), options=("1", "\t", "7"))
    rows = read((await llm_at(server.echo).answer([readout]))[0])
    assert rows[0] == (None, None, None)
    assert [value is not None for value in rows[1]] == [True, True, True]
    truth = expected(server, readout, (1, 2))
    assert list(rows[1]) == pytest.approx([truth[0][option] for option in readout.options])
    assert list(rows[2]) == pytest.approx([truth[1][option] for option in readout.options])


@pytest.mark.parametrize("shown", [["\ufffd", "\ufffd"], ["", "é"], ["é", ""]])
async def test_a_character_of_two_tokens_never_leads_to_a_wrong_value(server: Any, shown: list[str]) -> None:
    """After it come equal tokens, on which a count that is off by one would not be noticed."""

    def mangled(body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = server.echo(body)
        logprobs = answer["choices"][0]["logprobs"]
        at = logprobs["tokens"].index("é")
        logprobs["tokens"][at : at + 1] = shown
        logprobs["top_logprobs"].insert(at + 1, {"1": -9.0, "2": -9.0, "3": -9.0})
        logprobs["text_offset"] = [sum(map(len, logprobs["tokens"][:i])) for i in range(len(logprobs["tokens"]))]
        return answer

    pieces = ("a", "\t", "1", "é", "1", "1", "1", "1", "\t", "3", "\n")
    readout = Readout(prefix="", head="", pieces=pieces, after=tuple(range(10)), options=("1", "2", "3"))
    rows = read((await llm_at(mangled).answer([readout]))[0])
    truth = expected(server, readout, readout.after)
    right = [
        list(row) == pytest.approx([following[option] for option in readout.options]) for row, following in zip(rows, truth, strict=True)
    ]
    assert all(fits or row == (None, None, None) for fits, row in zip(right, rows, strict=True))
    assert right[:2] == [True, True]
    # Where the texts spell the prompt nothing else is lost.
    assert sum(right) == (2 if "\ufffd" in shown else 9)


@pytest.mark.parametrize("field", ["all", "top_logprobs", "tokens"])
async def test_dropped_fields_are_missing(server: Any, field: str) -> None:
    def dropped(body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = server.echo(body)
        if field == "all":
            answer["choices"][0]["logprobs"] = None
        else:
            answer["choices"][0]["logprobs"][field] = None
        return answer

    llm = llm_at(dropped)
    assert all(value is None for row in read((await llm.answer([READOUT]))[0]) for value in row)
    with pytest.raises(ProviderError, match=r"'echo:toy' at http://127.0.0.1:1/v1 .* use --simulator local:MODEL"):
        await check_alignment(llm, ENDPOINT)


async def test_the_check_passes_where_the_alignment_is_right(server: Any) -> None:
    await check_alignment(llm_at(server.echo), ENDPOINT)
    await check_alignment(llm_at(lambda body: server.echo(body, bos="<s>")), ENDPOINT)


@pytest.mark.parametrize("shift", [1, -1, 2, -2])
async def test_the_check_notices_a_shift(server: Any, shift: int) -> None:
    with pytest.raises(ProviderError, match=r"at the wrong tokens \(shifted\)"):
        await check_alignment(llm_at(lambda body: server.echo(body, shift=shift)), ENDPOINT)


async def test_the_check_notices_an_ignored_echo(server: Any) -> None:
    def generated_only(body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = server.echo(body)
        logprobs = answer["choices"][0]["logprobs"]
        answer["choices"][0]["logprobs"] = {name: values[-1:] for name, values in logprobs.items()} | {"text_offset": [0]}
        return answer

    with pytest.raises(ProviderError, match="use --simulator local:MODEL"):
        await check_alignment(llm_at(generated_only), ENDPOINT)


async def test_the_check_does_not_trust_a_model_that_cannot_follow_a_pattern(server: Any) -> None:
    def flat(body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = server.echo(body)
        tops = answer["choices"][0]["logprobs"]["top_logprobs"]
        answer["choices"][0]["logprobs"]["top_logprobs"] = [
            None if top is None else {letter: -1.0 - 0.1 * ((at * 7 + n * 5) % 11) for n, letter in enumerate((" A", " B", " C", " D"))}
            for at, top in enumerate(tops)
        ]
        return answer

    with pytest.raises(ProviderError, match="did not continue a repeated pattern"):
        await check_alignment(llm_at(flat), ENDPOINT)


def test_the_check_reads_far_into_the_pattern() -> None:
    check = alignment_check()
    assert len(check.after) > 20
    assert min(check.after) >= 4 * 4


async def test_a_rejected_readout_fails_alone(server: Any) -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(400, json={"error": {"message": "this model's maximum context\n length is 10"}})

    http = openai.DefaultAsyncHttpxClient(transport=httpx2.MockTransport(handle))
    llm = EchoLLM("toy", key="none", endpoint=ENDPOINT, timeout=5, http=http)
    (outcome,) = await llm.answer([READOUT])
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith("rejected (400): ")
    assert "\n" not in outcome.reason
