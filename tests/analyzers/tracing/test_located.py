"""Facts in tokens: where subjects are, what each token is, and facts that cannot be traced."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analyzers.errors import Failed
from analyzers.facts import Fact
from analyzers.text_model import TextModel
from analyzers.tracing.kinds import CLASSES
from analyzers.tracing.located import Located, locate, subject_tokens

FACT = Fact("Visitors say the old school was in the", "old school", " summer", "1")


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")


def located(model: TextModel, fact: Fact) -> Located:
    found = locate(model, fact)
    assert isinstance(found, Located)
    return found


def test_tokens_of_the_subject_are_those_that_spell_it(model: TextModel) -> None:
    found = located(model, FACT)
    assert found.ids[0] == model.tokenizer.bos_token_id
    assert "".join(found.tokens[1:]) == FACT.prompt
    assert "".join(found.tokens[at] for at in found.subject).strip() == FACT.subject
    assert subject_tokens([found, found]) == 2 * [found.ids[at] for at in found.subject]
    assert model.tokens.decode(found.target) == FACT.target
    assert found.texts == tuple(range(1, len(found.ids)))
    assert sorted([*found.elsewhere, *found.subject, 0, len(found.ids) - 1]) == list(range(len(found.ids)))


def test_every_token_from_the_subject_on_has_one_class(model: TextModel) -> None:
    found = located(model, FACT)
    assert found.classes[: found.first] == [None] * found.first
    own = found.classes[found.first :]
    middle = len(found.subject) - 2
    assert middle > 0
    assert own[: middle + 2] == ["first_subject", *["middle_subject"] * middle, "last_subject"]
    assert own[middle + 2 :] == ["next", *["further"] * (len(own) - middle - 4), "last"]
    assert {each for each in own if each} == set(CLASSES)


def test_a_subject_of_one_token_and_a_prompt_that_soon_ends(model: TextModel) -> None:
    found = located(model, replace(FACT, prompt="Visitors say the old was", subject="old"))
    assert len(found.subject) == 1
    assert found.classes[found.first :] == ["last_subject", "last"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": "Visitors say the old school"}, "the prompt ends with its subject"),
        ({"prompt": "old school " + "river " * 600 + "the"}, "takes 1024"),
        ({"target": ""}, "not one continuation"),
        ({"prompt": "Visitors say the old school was in the s", "target": "ummer"}, "not one continuation"),
    ],
)
def test_what_cannot_be_traced_says_why(changes: dict[str, str], said: str, model: TextModel) -> None:
    found = locate(model, replace(FACT, **changes))
    assert isinstance(found, Failed)
    assert said in found.reason
