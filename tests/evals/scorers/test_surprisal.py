from pathlib import Path

import numpy as np
import pytest

from agents.llm import Choice, ChoiceReply, Request
from agents.providers.local import LocalLLM
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scoring.judged import Judged
from evals.scoring.material import Material, from_excerpts
from evals.scoring.measures import measure_of

TEXTS = {
    "d0": ("a river", " is", " wide"),
    "d1": ("the", " river\nbank"),
    "d2": ("tax", " <|im_end|>", " day", " off"),
    "d3": ("two", " cats"),
}


def material() -> Material:
    excerpts = [Excerpt(name, 0, tokens, np.full(len(tokens), 9.0 if "river" in "".join(tokens) else 0.0, np.float32), "top")
                for name, tokens in TEXTS.items()]  # fmt: skip
    return from_excerpts("L0.mlp.0", excerpts, 9.0)


def likely(told: str, text: str) -> float:
    return -float(len(text)) + (5.0 if "river" in told and "river" in text else 0.0) - (1.0 if "unknown" in told else 0.0)


def llm(lost: str = "") -> ScriptedLLM:
    def answer(request: Request) -> ChoiceReply | Failed:
        assert isinstance(request, Choice)
        told, lead = request.messages
        assert lead.role == "assistant"
        (text,) = request.options
        assert "\n" not in text
        assert "<|" not in text
        return Failed("readout", "too long") if lost and lost in text else ChoiceReply(logprobs=(likely(told.content, text),))

    return ScriptedLLM(answer, capabilities=frozenset({"choice"}))


async def test_the_drop_of_surprise_a_token() -> None:
    scorer = SCORERS.create("surprisal", llm())
    assert (scorer.name, scorer.measure, scorer.chance) == ("surprisal(scripted:test)", "auroc", 0.5)
    true, null, other = await scorer.judge(["river", "", "cats"], material(), seed=0)
    for judged in (true, null, other):
        assert isinstance(judged, Judged)
    assert isinstance(true, Judged)
    assert isinstance(null, Judged)
    want = [(1 + 5 * ("river" in "".join(tokens))) / len(tokens) for tokens in TEXTS.values()]
    assert [answer.prediction for answer in true.answers] == pytest.approx(want)
    assert [answer.truth for answer in true.answers] == [1, 1, 0, 0]
    assert {answer.prediction for answer in null.answers} == {0.0}
    assert measure_of(true, "auroc") == 1
    assert measure_of(null, "auroc") == 0.5


async def test_a_text_that_cannot_be_read_is_failed() -> None:
    (judged,) = await SCORERS.create("surprisal", llm("cats")).judge(["river"], material(), seed=0)
    assert isinstance(judged, Judged)
    assert [isinstance(answer.prediction, Failed) for answer in judged.answers] == [False, False, False, True]


async def test_a_text_without_probability_fails_alone() -> None:
    def answer(request: Request) -> ChoiceReply:
        assert isinstance(request, Choice)
        (text,) = request.options
        return ChoiceReply(logprobs=(-float("inf") if "cats" in text else -1.0,))

    (judged,) = await SCORERS.create("surprisal", ScriptedLLM(answer, capabilities=frozenset({"choice"}))).judge(
        ["river"], material(), seed=0
    )
    assert isinstance(judged, Judged)
    assert [answer.prediction for answer in judged.answers[:3]] == [0.0] * 3
    assert judged.answers[3].prediction == Failed("score", "the model gives the text no probability")


async def test_against_a_model_in_this_process(tiny_llm: Path) -> None:
    """One whole forward pass a text, on the same weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_llm), AutoModelForCausalLM.from_pretrained(tiny_llm)

    def naive(explanation: str, text: str) -> float:
        turns = [
            {"role": "user", "content": f"A feature of a text model fires on: {explanation}\nQuote a text in which it fires."},
            {"role": "assistant", "content": "Text:"},
        ]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, continue_final_message=True)
        before = tokenizer(prompt)["input_ids"]
        said = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logprobs = torch.log_softmax(model(torch.tensor([before + said])).logits[0].float(), -1)
        return sum(float(logprobs[len(before) - 1 + at, token]) for at, token in enumerate(said))

    local = LocalLLM(f"local:{tiny_llm}", dtype="float32", device="cpu")
    (judged,) = await SCORERS.create("surprisal", local).judge(["the river"], material(), seed=0)
    local.close()
    assert isinstance(judged, Judged)
    for answer, tokens in zip(judged.answers, TEXTS.values(), strict=True):
        text = "".join(tokens).replace("\n", "\\n").replace("<|im_end|>", "< |im_end| >")
        want = (naive("the river", text) - naive("something unknown", text)) / len(tokens)
        assert answer.prediction == pytest.approx(want, abs=1e-4)
