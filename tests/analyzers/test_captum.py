"""Occlusion against captum's feature ablation, on the same words of the same texts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from captum.attr import FeatureAblation, LLMAttribution, TextTemplateInput

from analyzers.answers import Answers, Continuations
from analyzers.attributions import METHODS
from analyzers.engine import Engine
from analyzers.units import spaced

BEFORE, AFTER = "say whether the guest comes back , in one word . review : ", " answer :"
REVIEW = spaced("the food was cold but the staff were lovely and the wine was good")


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("answer", ["g", " the", " very bad"])
@pytest.mark.parametrize("baseline", ["", "something"])
def test_occlusion_is_feature_ablation(tiny_model: Callable[..., tuple[Any, Any]], family: str, answer: str, baseline: str) -> None:
    model, tokenizer = tiny_model(family)
    engine = Engine(model, tokenizer, name=family, identity={})

    def written(*words: str) -> str:
        return BEFORE + REVIEW.written({unit: word or None for unit, word in enumerate(words)}) + AFTER

    plan = METHODS.get("occlusion")(len(REVIEW), 0, np.random.default_rng(0))
    texts = [written(*(word if unit in kept else baseline for unit, word in enumerate(REVIEW.texts))) for kept in plan.sets]
    found = Answers(engine).after(texts, [answer])
    assert isinstance(found, Continuations)
    ours = plan.values(dict(zip(plan.sets, found.logprobs[:, 0].tolist(), strict=True)))

    method: Any = LLMAttribution(FeatureAblation(model), tokenizer)
    template = TextTemplateInput(template=written, values=list(REVIEW.texts), baselines=[baseline] * len(REVIEW))
    # Its cached outputs are off for answers of several tokens.
    theirs = method.attribute(template, target=answer, use_cached_outputs=False).seq_attr.numpy()
    assert np.abs(theirs).max() > 1e-2
    assert ours == pytest.approx(theirs, abs=1e-4)
