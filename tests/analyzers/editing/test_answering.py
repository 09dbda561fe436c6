"""What models of several families say behind prompts, beside plain forward passes one by one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from analyzers.editing.answering import said, written_on
from analyzers.errors import SubjectError
from analyzers.text_model import TextModel

ASKED = [
    ("The old bridge was", " opened"),
    ("In the summer of the year", None),
    ("The school teaches", " music and history"),
    ("A", " new"),
]


@pytest.fixture(params=["llama", "gpt2", "gpt_neox", "opt"])
def model(request: pytest.FixtureRequest, tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint(request.param)), dtype="float32", device="cpu")


def test_targets_beside_a_plain_pass(model: TextModel) -> None:
    for (prompt, target), got in zip(ASKED, said(model, ASKED), strict=True):
        before = [*model.around[0], *model.tokens.encode(prompt)]
        after = [] if target is None else list(model.continuation(prompt, target))
        with torch.inference_mode():
            logs = model.model(input_ids=torch.tensor([before + after])).logits[0].log_softmax(-1)[len(before) - 1 :]
        likeliest = logs.argmax(-1).tolist()[: max(1, len(after))]
        assert (list(got.tokens), list(got.likeliest)) == (after, likeliest)
        if after:
            assert got.logprob == pytest.approx(sum(float(logs[at, token]) for at, token in enumerate(after)) / len(after), rel=1e-4)
            assert got.match == sum(a == b for a, b in zip(after, likeliest, strict=True)) / len(after)


def test_what_is_written_is_the_likeliest_token_by_token(model: TextModel) -> None:
    ids = [*model.around[0], *model.tokens.encode("The old bridge was")]
    found: list[int] = []
    while len(found) < 6:
        with torch.inference_mode():
            token = int(model.model(input_ids=torch.tensor([ids + found])).logits[0, -1].argmax())
        if token == model.tokenizer.eos_token_id:
            break
        found.append(token)
    assert written_on(model, "The old bridge was", 6) == model.tokens.decode(found, special=False)
    drawn = {written_on(model, "The old bridge was", 6, seed=seed) for seed in range(4)}
    assert len(drawn) > 1
    assert written_on(model, "The old bridge was", 6, seed=2) == written_on(model, "The old bridge was", 6, seed=2)


def test_what_cannot_be_said(tiny_checkpoint: Callable[[str], Path]) -> None:
    model = TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")
    with pytest.raises(SubjectError, match="takes 1024"):
        said(model, [("The old bridge " * 600, " x")])
    with torch.no_grad():
        model.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(SubjectError, match="no numbers"):
        said(model, ASKED)
