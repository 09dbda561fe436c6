import numpy as np
import pytest

from agents.explainers import EXPLAINERS
from agents.explainers.template import loud_words, template_text
from agents.explanation import Explanation
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed
from analyzers.evidence import Excerpt


def excerpt(tokens: list[str], activations: list[float]) -> Excerpt:
    return Excerpt("doc", 0, tuple(tokens), np.array(activations, np.float32), "top")


def test_words_share_the_loud_activation() -> None:
    excerpts = [excerpt([" upon", " x", "on"], [8.0, 3.9, 4.0]), excerpt([" Upon", " it"], [6.0, 0.0]), excerpt([" on"], [2.0])]
    assert loud_words(excerpts) == [("upon", 14 / 18), ("on", 4 / 18)]
    assert loud_words([excerpt(["a"], [0.0])]) == []
    assert loud_words([]) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["such"], 'the word "such"'),
        (["upon", "on"], 'the word "upon" or "on"'),
        (["a", "b", "c"], 'the word "a", "b" or "c"'),
        (["\n", "."], 'the token "\\n" or "."'),
    ],
)
def test_the_text_quotes_the_words(words: list[str], text: str) -> None:
    assert template_text(words) == text


async def test_only_words_with_a_share_are_named_and_the_first_always() -> None:
    template = EXPLAINERS.create("template")
    [one] = await template.explain([excerpt([" such", " as"], [9.0, 1.0])], candidates=3, seed=0)
    assert one == Explanation('the word "such"', "template")
    many = excerpt([f" w{i}" for i in range(9)], [1.0] * 9)
    [first] = await template.explain([many], candidates=1, seed=0)
    assert first == Explanation('the token "w0"', "template")
    [failed] = await template.explain([excerpt(["a"], [0.0])], candidates=1, seed=0)
    assert isinstance(failed, Failed)


def test_the_explainers_of_the_folder_are_found_by_name() -> None:
    assert set(EXPLAINERS.entries()) == {"marked-text", "template", "token-activation"}
    assert EXPLAINERS.pick(ScriptedLLM([])).name == "marked-text(scripted:test)"
