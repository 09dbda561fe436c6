"""Where labels, texts and formatting stand, against the written text itself; and which prompts are refused."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.errors import ExplicateError, SubjectError
from analyzers.icl.prompts import IclPrompt, Template, class_tokens, icl_prompt
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

TEMPLATE = Template("Review: {text}\nSentiment: {label}\n", ("music", "valley", "bridge"))
SHOWN = [("the old river", 1), ("herons, otters", 0), ("it was opened in 1930", 1)]


@pytest.fixture(scope="module")
def model(tiny_model: Tiny) -> TextModel:
    return made(*tiny_model("llama"))


def made(model: Any, tokenizer: Any) -> TextModel:
    return TextModel(model.requires_grad_(False), tokenizer, name="tiny", identity={})


def text(model: TextModel, prompt: IclPrompt, positions: Any) -> str:
    return model.tokens.decode([prompt.ids[at] for at in positions])


def test_every_token_is_of_what_it_stands_in(model: TextModel) -> None:
    prompt = icl_prompt(model, TEMPLATE, SHOWN, "the stone bridge")
    assert [text(model, prompt, own) for own in prompt.label_tokens] == [" valley", " music", " valley"]
    assert [text(model, prompt, own) for own in prompt.texts] == [" the old river", " herons, otters", " it was opened in 1930"]
    assert [text(model, prompt, own) for own in prompt.formatting] == ["Review:\nSentiment:\n"] * 3
    assert text(model, prompt, prompt.query) == "Review: the stone bridge\nSentiment:"
    assert text(model, prompt, prompt.demonstrations[1]) == "Review: herons, otters\nSentiment: music\n"
    assert [prompt.ids[at] for at in prompt.labels] == [prompt.class_tokens[label] for label in prompt.classes]
    assert [own[0] for own in prompt.label_tokens] == list(prompt.labels)
    assert len(prompt.label_tokens[0]) > 1  # " valley" is of several tokens
    assert (prompt.classes, prompt.q) == ((1, 0, 1), len(prompt) - 1)


WORDS = st.lists(
    st.sampled_from(["the", "old", "1927", "music", "valley", ":", "Sentiment:", "é", "中", ".", "…", "\n"]), min_size=1, max_size=6
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shown=st.lists(st.tuples(WORDS.map(" ".join), st.integers(0, 2)), min_size=1, max_size=4), query=WORDS.map(" ".join))
def test_the_parts_are_apart_and_are_all_of_a_demonstration(model: TextModel, shown: list[tuple[str, int]], query: str) -> None:
    prompt = icl_prompt(model, TEMPLATE, shown, query)
    before = len(model.tokens.start)
    assert list(chain(range(before), *prompt.demonstrations, prompt.query)) == list(range(len(prompt)))
    for number, (content, label) in enumerate(shown):
        parts = [prompt.label_tokens[number], prompt.texts[number], prompt.formatting[number]]
        assert sorted(chain(*parts)) == list(prompt.demonstrations[number])
        assert text(model, prompt, prompt.label_tokens[number]) == f" {TEMPLATE.labels[label]}"
        assert text(model, prompt, prompt.texts[number]).strip() == content.strip()
        assert prompt.ids[prompt.labels[number]] == prompt.class_tokens[label]
    whole = "".join(f"Review: {content.strip()}\nSentiment: {TEMPLATE.labels[label]}\n" for content, label in shown)
    assert text(model, prompt, range(before, len(prompt))) == f"{whole}Review: {query.strip()}\nSentiment:"


def test_a_label_without_a_space_before_it_stands_by_itself(model: TextModel) -> None:
    template = Template("Q {text}\nA:{label}\n", ("x", "y"))
    prompt = icl_prompt(model, template, [("the", 1)], "the")
    assert text(model, prompt, prompt.label_tokens[0]) == "y"
    assert [model.tokens.text(token) for token in class_tokens(model, template)] == ["x", "y"]


def test_a_space_that_is_a_token_by_itself_is_the_labels_first(model: TextModel) -> None:
    prompt = icl_prompt(model, Template("a {text}\nb: {label}\n", ("Zebra", "music")), [("the", 0), ("old", 1)], "the")
    assert [model.tokens.text(prompt.ids[at]) for at in prompt.labels] == [" ", " music"]
    assert [text(model, prompt, own) for own in prompt.label_tokens] == [" Zebra", " music"]


def test_labels_with_the_same_first_token_are_named(model: TextModel) -> None:
    with pytest.raises(SubjectError, match="'Zebra' and 'Yak' begin with the same token"):
        icl_prompt(model, Template("a {text}\nb: {label}\n", ("music", "Zebra", "Yak")), SHOWN, "the")
    # Without the space they begin differently, which is the remedy.
    assert len(class_tokens(model, Template("a {text}\nb:{label}\n", ("Zebra", "Yak")))) == 2


def test_no_demonstrations_are_refused(model: TextModel) -> None:
    with pytest.raises(SubjectError, match=r"no demonstrations.*--shots 1"):
        icl_prompt(model, TEMPLATE, [], "the")


def test_a_prompt_that_is_too_long_names_both_lengths_and_the_remedy(tiny_model: Tiny) -> None:
    model = made(*tiny_model("llama", max_position_embeddings=64))
    fits = icl_prompt(model, TEMPLATE, SHOWN[:1], "the")
    assert len(fits) <= 64
    with pytest.raises(SubjectError, match=r"4 demonstrations and the query is \d+ tokens and tiny takes 64; .*--shots"):
        icl_prompt(model, TEMPLATE, SHOWN[:1] * 4, "the")


def test_an_encoder_is_refused(tiny_model: Tiny) -> None:
    with pytest.raises(SubjectError, match="is an encoder"):
        icl_prompt(made(*tiny_model("bert")), TEMPLATE, SHOWN, "the")


@pytest.mark.parametrize(
    ("form", "labels", "told"),
    [
        ("Review: {text}", ("a", "b"), "once"),
        ("{label} {text}\n", ("a", "b"), "once"),
        ("{text} {text}: {label}", ("a", "b"), "once"),
        ("{text} {label}", ("a", "b"), "nothing between"),
        ("{text}: {label}", ("a",), "at least two labels"),
        ("{text}: {label}", ("a", " "), "none of them empty"),
    ],
)
def test_templates_that_are_none_are_refused(form: str, labels: tuple[str, ...], told: str) -> None:
    with pytest.raises(ExplicateError, match=told):
        Template(form, labels)


def test_a_label_that_merges_with_what_is_behind_it_is_refused(model: TextModel) -> None:
    # " wat" and "er" are " wate" and "r" together.
    with pytest.raises(SubjectError, match="otherwise than behind a query"):
        icl_prompt(model, Template("a {text}\nb: {label}e\n", ("wat", "music")), [("the", 0)], "the")


@pytest.mark.slow
def test_the_papers_labels_in_a_real_model() -> None:
    model = TextModel.load("smollm2-135m", device="cpu", dtype="float32")
    template = Template(
        "Question: {text}\nAnswer Type: {label}\n", ("Abbreviation", "Entity", "Description", "Person", "Location", "Number")
    )
    prompt = icl_prompt(model, template, [("What is BPH ?", 0), ("Where is Inoco based ?", 4)], "Who was Galileo ?")
    assert [model.tokens.text(token) for token in prompt.class_tokens] == [
        " Ab",
        " Entity",
        " Description",
        " Person",
        " Location",
        " Number",
    ]
    assert [text(model, prompt, own) for own in prompt.label_tokens] == [" Abbreviation", " Location"]
