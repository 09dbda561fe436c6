"""Texts from the explanation: what is asked for, which texts count, and what the measure is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from agents.llm import Chat, ChatReply, Request
from agents.providers.scripted import Answer as Scripted
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scorers.generation import LEAST, TEXTS, Generation
from evals.scoring.judged import Judged
from evals.scoring.material import Material
from evals.scoring.measures import measure_of
from prompts import load

ON = [f"{number}. The {thing} is played in hall {number}." for number, thing in enumerate(["cello", "Cello", "cello"] * 4, start=1)]
OFF = [f"{number}) Somebody ate {number} plums." for number in range(1, 13)]


class WordLab:
    """Activation 4 on every word `cello`; text of more than 20 words is too long."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def activations(self, texts: Sequence[str]) -> list[Excerpt | Failed]:
        self.texts += texts
        return [self._one(text, number) for number, text in enumerate(texts)]

    def _one(self, text: str, number: int) -> Excerpt | Failed:
        tokens = tuple(text.split(" "))
        if len(tokens) > 20:
            return Failed("measure", "too long")
        loud = [4.0 if token.casefold() == "cello" else 0.0 for token in tokens]
        return Excerpt(f"text/{number}", 0, tokens, np.array(loud, np.float32), "random")


def material(lab: object = None, peak: float = 8.0) -> Material:
    return Material("L0.mlp.1", peak, (), lab=cast(Any, lab))


def kind(request: Request) -> str:
    assert isinstance(request, Chat)
    asked = request.messages[-1].content
    return "neutral" if "not fire" in asked else "activating"


def writer(activating: Scripted, neutral: Scripted) -> ScriptedLLM:
    return ScriptedLLM(lambda request: activating if kind(request) == "activating" else neutral)


async def judged(llm: ScriptedLLM, lab: object = None, explanations: Sequence[str] = ("the word cello",), **changes: float) -> Any:
    return await Generation(llm).judge(list(explanations), material(lab or WordLab(), **changes), seed=3)


async def test_texts_are_measured_against_the_peak() -> None:
    lab = WordLab()
    (found,) = await judged(writer("\n".join(ON), "Here they are:\n" + "\n".join(OFF)), lab)
    assert isinstance(found, Judged)
    assert [(answer.truth, answer.prediction, answer.group) for answer in found.answers] == [(1.0, 0.5, "activating")] * TEXTS + [
        (0.0, 0.0, "neutral")
    ] * TEXTS
    assert [answer.document for answer in found.answers] == lab.texts
    assert lab.texts[0] == "The cello is played in hall 1."
    assert measure_of(found, "auroc") == 1.0
    (reversed_,) = await judged(writer("\n".join(OFF), "\n".join(ON)))
    assert measure_of(reversed_, "auroc") == 0.0


async def test_louder_than_the_peak_is_the_peak() -> None:
    (found,) = await judged(writer("\n".join(ON), "\n".join(OFF)), peak=1.0)
    assert {answer.prediction for answer in found.answers} == {0.0, 1.0}


async def test_copies_of_the_examples_and_of_one_another_do_not_count() -> None:
    examples = [text for example in load("write_texts").examples for text in example["texts"]]
    assert len(examples) > LEAST
    copied = "\n".join(f"{number}. {text.upper()}" for number, text in enumerate(examples, start=1))
    lab = WordLab()
    (found,) = await judged(writer(copied + "\n" + "\n".join(ON[:LEAST]) + "\n" + ON[0].replace("cello", "CELLO!"), "\n".join(OFF)), lab)
    assert isinstance(found, Judged)
    assert [answer.document for answer in found.answers if answer.group == "activating"] == [text[3:] for text in ON[:LEAST]]
    (failed,) = await judged(writer(copied, "\n".join(OFF)))
    assert isinstance(failed, Failed)


@pytest.mark.parametrize(
    ("activating", "neutral"),
    [
        ("\n".join(ON[: LEAST - 1]), "\n".join(OFF)),
        ("\n".join(ON), "I am sorry, I cannot do that."),
        ("\n".join(ON), ""),
        (Failed("ask", "no"), "\n".join(OFF)),
        ("\n".join(ON), ChatReply(text="\n".join(OFF[:LEAST]), finish="length")),
        ("\n".join(ON), "\n".join(ON)),
    ],
    ids=["too few", "refusal", "empty", "failed", "cut off", "all in both"],
)
async def test_an_explanation_without_enough_texts_is_failed(activating: Scripted, neutral: Scripted) -> None:
    (found,) = await judged(writer(activating, neutral))
    assert isinstance(found, Failed)


async def test_a_text_in_quotes_stands_for_itself() -> None:
    lab = WordLab()
    quoted = [f'{number}. "A cello stands in room {number}."' for number in range(1, 6)]
    await judged(writer("\n".join(quoted), "\n".join(f"{n}: **Plums, {n} of them.**" for n in range(5))), lab)
    assert lab.texts[0] == "A cello stands in room 1."
    assert lab.texts[-1] == "Plums, 4 of them."


async def test_a_text_that_cannot_be_measured_is_a_failed_answer() -> None:
    long = f"9. {'very ' * 30}long."
    (found,) = await judged(writer("\n".join([*ON[: TEXTS - 1], long]), "\n".join(OFF)))
    assert [isinstance(answer.prediction, Failed) for answer in found.answers] == [False] * (TEXTS - 1) + [True] + [False] * TEXTS


async def test_what_is_asked_hangs_on_the_explanation_and_the_seed() -> None:
    llm = writer("\n".join(ON), "\n".join(OFF))
    scorer = SCORERS.create("generation", llm)
    await scorer.judge(["the word\ncello", ""], material(WordLab()), seed=3)
    await scorer.judge(["the word\ncello", ""], material(WordLab()), seed=3)
    chats = [request for request in llm.history if isinstance(request, Chat)]
    assert [kind(chat) for chat in chats[:4]] == ["activating", "neutral"] * 2
    assert chats[:4] == chats[4:]
    assert all(chat.seed == 3 and chat.temperature > 0 for chat in chats)
    assert "fires on: the word\\ncello\n" in chats[0].messages[-1].content
    assert f"fires on: {load('write_texts').render('null')}\n" in chats[2].messages[-1].content
    assert f"Write {TEXTS} texts" in chats[0].messages[-1].content
    answers = [message.content for message in chats[0].messages if message.role == "assistant"]
    assert answers
    assert all(answer.startswith("1. ") for answer in answers)


@pytest.mark.parametrize("make", [lambda: material(None), lambda: replace(material(WordLab()), peak=0.0)])
async def test_without_a_subject_or_a_peak_nothing_is_asked(make: Callable[[], Material]) -> None:
    llm = writer("", "")
    found = await Generation(llm).judge(["a", "b"], make(), seed=0)
    assert [type(each) for each in found] == [Failed, Failed]
    assert llm.history == []
