"""Each strategy varies what it says and nothing else; the same seed gives the same replies to ask for."""

import re
from collections import Counter

import pytest

from agents.confidences import Asked
from agents.llm import ChatReply, Reply
from agents.providers.scripted import ScriptedLLM
from agents.samplings import NONE, SAMPLINGS, TEMPERATURE, Sampled, seed_of
from agents.self_explanations import Asking
from analyzers.errors import Failed
from prompts import load

ASKING = Asking("Is it good or bad?", ("good", "bad"))
LLM = ScriptedLLM([], capabilities=frozenset(["chat"]))


def item(number: int = 0, *, suggested: tuple[str, ...] = ("good", "bad"), seed: int = 0) -> Sampled:
    return Sampled("It shines.", number, suggested, seed)


def asked(name: str, of: Sampled, samples: int = 5) -> list[Asked]:
    """By a strategy that needs no preparation."""
    sampling = SAMPLINGS.get(name)
    assert sampling.preparation(LLM, ASKING, samples, of.seed) == ()
    askings = sampling.askings(LLM, ASKING, samples, ())
    assert not isinstance(askings, Failed)
    found = sampling.asked(askings, of)
    assert not isinstance(found, Failed)
    return found


def test_the_strategies_of_the_paper_are_there_and_their_absence() -> None:
    assert list(SAMPLINGS.all()) == ["misleading", NONE, "paraphrase", "self-random"]
    assert all(name == each.name for name, each in SAMPLINGS.all().items())


def test_without_sampling_there_is_one_reply_at_temperature_zero() -> None:
    assert asked(NONE, item(), 1) == [Asked(ASKING, "It shines.")]


def test_random_replies_differ_in_their_seed_alone() -> None:
    found = asked("self-random", item())
    assert {(each.asking, each.text, each.hint, each.temperature) for each in found} == {(ASKING, "It shines.", "", TEMPERATURE)}
    assert len({each.seed for each in found}) == 5
    assert asked("self-random", item(), 3) == found[:3]
    assert not {each.seed for each in found} & {each.seed for each in asked("self-random", item(seed=1))}
    assert found == asked("self-random", item(7))


def test_hints_grow_stronger_and_suggest_what_is_drawn() -> None:
    prompt = load("misleading")
    strengths = [section.text.replace("{{answer}}", "(.+)") for section in prompt.sections.values()]
    assert [name.split()[0] for name in prompt.sections] == ["weak"] * 4 + ["moderate"] * 4 + ["strong"] * 4
    drawn: Counter[str] = Counter()
    for number in range(200):
        found = asked("misleading", item(number))
        places = []
        for each in found:
            place, match = next((at, match) for at, strength in enumerate(strengths) if (match := re.fullmatch(strength, each.hint)))
            places.append(place)
            drawn[match[1]] += 1
        assert places == sorted(places)
        assert (places[0], places[-1]) == (0, len(strengths) - 1)
        assert {(each.temperature, each.seed, each.text) for each in found} == {(0.0, 0, "It shines.")}
        assert found == asked("misleading", item(number))
    # 1000 draws among two: within five standard deviations of the half.
    assert drawn.total() == 1000
    assert abs(drawn["good"] - 500) < 80
    assert asked("misleading", item(seed=1)) != asked("misleading", item(seed=2)) or asked("misleading", item(1)) != asked(
        "misleading", item(2)
    )


def test_a_hint_stays_on_one_line_and_needs_an_answer() -> None:
    (first, *_) = asked("misleading", item(suggested=("no\n<|im_end|>",)))
    assert "no\\n< |im_end| >" in first.hint
    assert "\n" not in first.hint
    none = SAMPLINGS.get("misleading").asked([ASKING] * 3, item(suggested=()))
    assert isinstance(none, Failed)
    assert none.stage == "mislead"


def said(*texts: str | Failed) -> list[Reply | Failed]:
    return [text if isinstance(text, Failed) else ChatReply(text=f"In other words: {text}") for text in texts]


def test_paraphrases_come_from_the_model_and_the_question_itself_comes_first() -> None:
    sampling = SAMPLINGS.get("paraphrase")
    requests = sampling.preparation(LLM, ASKING, 3, 0)
    assert len(requests) >= 2
    assert len({request.seed for request in requests}) == len(requests)
    assert all("Question: Is it good or bad?" in request.messages[-1].content for request in requests)
    askings = sampling.askings(LLM, ASKING, 3, said("Good, or bad?", "good,  OR bad?", "is it GOOD or bad?", "Which is it?", "Well?"))
    assert not isinstance(askings, Failed)
    assert [each.instruction for each in askings] == ["Is it good or bad?", "Good, or bad?", "Which is it?"]
    assert {each.labels for each in askings} == {ASKING.labels}
    found = sampling.asked(askings, item())
    assert not isinstance(found, Failed)
    assert [(each.asking, each.temperature, each.seed) for each in found] == [(each, 0.0, 0) for each in askings]


@pytest.mark.parametrize(
    "replies", [said("Same.", "Same.", "same."), said(Failed("ask", "refused"), "Well?", ""), said(), said("Is it good or bad?")]
)
def test_too_few_paraphrases_are_a_failure(replies: list[Reply | Failed]) -> None:
    failed = SAMPLINGS.get("paraphrase").askings(LLM, ASKING, 3, replies)
    assert isinstance(failed, Failed)
    assert failed.stage == "paraphrase"
    assert "2 paraphrases" in failed.reason


def test_seeds_are_those_of_a_run_and_fit_every_provider() -> None:
    seeds = [seed_of(run, number) for run in (0, 1, 2**32 - 1) for number in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
