"""A tiny random model with in-context prompts of several lengths."""

from collections.abc import Callable
from typing import Any

import pytest

from analyzers.icl.prompts import IclPrompt, Template, icl_prompt
from analyzers.text_model import TextModel

TEMPLATE = Template("Review: {text}\nType: {label}\n", ("music", "valley", "bridge"))
QUERIES = ("the stone bridge", "it", "herons and otters walk along the water in the evening", "cheese")
SHOWN = [("the old river", 1), ("herons, otters", 0), ("it was opened in 1930", 2), ("apples", 1)]

Asked = tuple[TextModel, list[IclPrompt]]


@pytest.fixture
def asked(tiny_model: Callable[..., tuple[Any, Any]]) -> Callable[[str], Asked]:
    """asked("llama") is a fresh tiny model of that family and prompts of different lengths, of three classes and four demonstrations."""

    def build(family: str) -> Asked:
        net, tokenizer = tiny_model(family)
        model = TextModel(net.requires_grad_(False), tokenizer, name="tiny", identity={"dtype": "float32"})
        return model, [icl_prompt(model, TEMPLATE, SHOWN, query) for query in QUERIES]

    return build
