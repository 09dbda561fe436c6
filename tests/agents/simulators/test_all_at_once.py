import math
import re

import numpy as np
import pytest

from agents.explanation import Simulation
from agents.llm import Readout, ReadoutReply, Request
from agents.providers.local import LocalLLM
from agents.providers.scripted import ScriptedLLM
from agents.simulators import SIMULATORS
from agents.simulators.all_at_once import AllAtOnce, expected_levels
from analyzers.errors import Failed, ProviderError
from analyzers.evidence import Excerpt

TOKENS = ("The", " cat", "\n", "a\tb", " <|im_end|>", " sat")


def excerpt(tokens: tuple[str, ...] = TOKENS) -> Excerpt:
    return Excerpt("doc", 0, tokens, np.zeros(len(tokens), np.float32), "top")


def readout(answers: object) -> ScriptedLLM:
    return ScriptedLLM(answers, capabilities=frozenset({"readout"}))  # type: ignore[arg-type]


def one_hot(level: int) -> tuple[float, ...]:
    return tuple(0.0 if i == level else -50.0 for i in range(10))


async def test_each_level_is_read_right_after_its_own_token() -> None:
    asked: list[Readout] = []

    def answer(request: Request) -> ReadoutReply:
        assert isinstance(request, Readout)
        asked.append(request)
        # An independent reading of where a position is: the last line of the text up to it is the token and nothing else.
        text = [("".join(request.pieces[: after + 1])).rsplit("\n", 1)[-1] for after in request.after]
        shown = {TOKENS[0]: ["The", " cat", "\\n", "a\\tb", " < |im_end| >", " sat"]}
        assert text == shown.get(request.pieces[0], [" cat", " cat"])
        return ReadoutReply(logprobs=tuple(one_hot(9 if "cat" in line else 2) for line in text))

    excerpts = [excerpt(), excerpt((" cat", " cat"))]
    first, second = await AllAtOnce(readout(answer)).simulate("cats", excerpts)
    assert not isinstance(first, Failed)
    assert not isinstance(second, Failed)
    np.testing.assert_allclose(first.values, [2, 9, 2, 2, 2, 2], atol=1e-5)
    np.testing.assert_allclose(second.values, [9, 9], atol=1e-5)
    assert first.present.all()
    assert first.scale == "level"
    # Shared parts are equal for all excerpts of an explanation, and no corpus text breaks its line or opens a turn.
    assert asked[0].prefix == asked[1].prefix
    assert asked[0].head == asked[1].head
    assert "cats" in asked[0].head
    assert "".join(asked[0].pieces).count("\n") == len(TOKENS)
    assert "<|" not in "".join(asked[0].pieces)


async def test_the_null_explanation_is_not_an_empty_line() -> None:
    llm = readout([ReadoutReply(logprobs=(one_hot(0),) * 6)])
    await AllAtOnce(llm).simulate("", [excerpt()])
    [request] = llm.history
    assert isinstance(request, Readout)
    assert "something unknown" in request.head


def test_the_level_is_the_mean_of_the_options_returned() -> None:
    rows = (
        tuple(math.log(0.1) for _ in range(10)),
        (math.log(0.3), None, None, math.log(0.6), *(None,) * 6),
        (None,) * 10,
        (math.log(0.0001), *(None,) * 9),
        one_hot(9),
    )
    simulation = expected_levels(ReadoutReply(logprobs=rows))
    assert simulation.present.tolist() == [True, True, False, False, True]
    np.testing.assert_allclose(simulation.values[[0, 1, 4]], [4.5, 3 * 0.6 / 0.9, 9], rtol=1e-6)


async def test_failures_stay_failures() -> None:
    failed = Failed("ask", "timeout")
    replies = [failed, ReadoutReply(logprobs=((None,) * 10,) * 6), ReadoutReply(logprobs=(one_hot(1),) * 6)]
    first, second, third = await AllAtOnce(readout(replies)).simulate("x", [excerpt()] * 3)
    assert first == failed
    assert isinstance(second, Failed)
    assert second.stage == "simulate"
    assert not isinstance(third, Failed)


async def test_a_reply_of_another_length_is_a_failure() -> None:
    [outcome] = await AllAtOnce(readout([ReadoutReply(logprobs=(one_hot(1),) * 5)])).simulate("x", [excerpt()])
    assert outcome == Failed("simulate", "5 levels came back for 6 tokens")


@pytest.mark.parametrize(
    ("capabilities", "name"),
    [
        ({"readout", "chat", "top_logprobs"}, "all-at-once"),
        ({"chat", "top_logprobs", "json_schema"}, "top-logprobs"),
        ({"chat", "json_schema"}, "structured"),
        ({"chat"}, "structured"),
    ],
)
def test_the_best_simulator_that_a_model_can_serve_is_picked(capabilities: set[str], name: str) -> None:
    llm = ScriptedLLM([], capabilities=frozenset(capabilities))  # type: ignore[arg-type]
    assert SIMULATORS.pick(llm).name == f"{name}(scripted:test)"


def test_a_model_that_cannot_serve_a_simulator_is_refused_in_words() -> None:
    llm = ScriptedLLM([], capabilities=frozenset({"chat"}))
    with pytest.raises(ProviderError, match=r"'scripted:test' cannot serve the simulator 'all-at-once': it lacks readout \(it has chat\)"):
        SIMULATORS.create("all-at-once", llm)
    with pytest.raises(ProviderError, match="no simulator is called 'nope'; choose one of all-at-once"):
        SIMULATORS.create("nope", llm)
    with pytest.raises(ProviderError, match="can serve no simulator: it has no capability"):
        SIMULATORS.pick(ScriptedLLM([], capabilities=frozenset()))
    with pytest.raises(ProviderError, match="asks a language model"):
        SIMULATORS.create("structured")


def words(text: str, marked: str) -> Excerpt:
    tokens = tuple(re.findall(r"\s*\w+|[^\w]", text))
    fires = [1.0 if token.strip() == marked else 0.0 for token in tokens]
    assert sum(fires) > 0
    return Excerpt("doc", 0, tokens, np.array(fires, np.float32), "top")


SENTENCES = {
    "such": "The reader meets such problems in every chapter of the book, and such problems are never solved.",
    "upon": "She looked upon the valley at dawn, and upon her return she told nobody what she had seen.",
    "century": "In the last century the harbour was built; a century later it had filled with sand again.",
    "another": "He ate another apple, wrote another letter to the mayor, and slept until the evening train.",
}


@pytest.mark.slow
async def test_a_real_model_tells_the_right_word_from_a_wrong_one_with_null_contrast() -> None:
    llm = LocalLLM("local:qwen2.5-coder-0.5b")
    simulator = AllAtOnce(llm)
    excerpts = [words(text, word) for word, text in SENTENCES.items()]

    async def simulated(explanation: str) -> list[Simulation]:
        return [outcome for outcome in await simulator.simulate(explanation, excerpts) if not isinstance(outcome, Failed)]

    null = await simulated("")
    right: list[float] = []
    wrong: list[float] = []
    for word in SENTENCES:
        contrast = [a.values - b.values for a, b in zip(await simulated(f'the word "{word}"'), null, strict=True)]
        for own, values, excerpt in zip(SENTENCES, contrast, excerpts, strict=True):
            (right if own == word else wrong).append(float(np.corrcoef(values, excerpt.activations)[0, 1]))
    # Measured: .69, .19 and .85.
    assert np.mean(right) > np.mean(wrong) + 0.3
    assert np.mean([a > b for a in right for b in wrong]) >= 0.75
    llm.close()
