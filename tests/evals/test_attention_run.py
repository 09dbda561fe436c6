"""Reading attention by a model's name, against transformers' own and the parts that it is made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from analyzers.attention.flow import flow
from analyzers.attention.reading import gradient_attention
from analyzers.attention.rollout import rollout
from analyzers.errors import ExplicateError, SubjectError
from analyzers.text_model import TextModel
from evals.attention import Attention
from evals.attention_run import run_attention

Checkpoint = Callable[[str], Path]
TEXT = "The river rises in the hills north of the town"


def eager(automatic: Any, folder: Path, ids: list[int]) -> torch.Tensor:
    """[layer, head, query, key]"""
    model = automatic.from_pretrained(folder, attn_implementation="eager")
    with torch.inference_mode():
        return torch.stack(model(torch.tensor([ids]), output_attentions=True).attentions)[:, 0]


def test_all_that_is_asked_for_is_of_the_same_text(tiny_checkpoint: Checkpoint) -> None:
    folder = tiny_checkpoint("llama")
    found = run_attention(str(folder), TEXT, rollout=True, flow=True, norms=True, target=" runs", queries=[2, 5], dtype="float32")
    weights = eager(AutoModelForCausalLM, folder, found.token_ids)
    n = len(found.tokens)
    assert "".join(found.tokens).endswith(TEXT)
    assert torch.allclose(torch.tensor(found.attention), weights, atol=1e-6)
    assert torch.allclose(torch.tensor(found.rollout), rollout(weights)[-1].float(), atol=1e-6)
    assert found.flow is not None
    assert found.flow.queries == [2, 5]
    assert torch.allclose(torch.tensor(found.flow.values), torch.tensor(flow(weights, [2, 5]).tolist()), atol=1e-6)
    assert torch.tensor(found.norms).shape == weights.shape
    assert torch.tensor(found.gradient).shape[1] >= n
    assert (found.causal, found.target, found.model_path) == (True, " runs", str(folder))
    assert found.predicting is not None
    assert found.predicting == list(range(n - 1, torch.tensor(found.gradient).shape[1]))
    assert [(head.layer, head.head) for head in found.statistics] == [(layer, head) for layer in range(3) for head in range(4)]
    assert {role for head in found.head_roles for role in head.scores} == {"previous", "first", "self", "duplicate", "induction"}
    assert Attention.model_validate_json(found.model_dump_json()) == found


def test_an_encoder_is_read_with_its_own_tokens_and_flows_from_the_first(tiny_checkpoint: Checkpoint) -> None:
    folder = tiny_checkpoint("bert")
    found = run_attention(str(folder), TEXT, rollout=True, flow=True, dtype="float32")
    weights = eager(AutoModelForMaskedLM, folder, found.token_ids)
    assert torch.allclose(torch.tensor(found.attention), weights, atol=1e-6)
    assert torch.allclose(torch.tensor(found.rollout), rollout(weights)[-1].float(), atol=1e-6)
    assert found.flow is not None
    assert found.flow.queries == [0]
    assert [token if span is None else TEXT[slice(*span)] for token, span in zip(found.tokens, found.spans, strict=True)] == found.tokens
    assert sum(span is not None for span in found.spans) > 5
    assert (found.causal, found.gradient, found.norms, found.predicting) == (False, None, None, None)
    assert {role for head in found.head_roles for role in head.scores} == {"previous", "first", "self", "duplicate", "next"}


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_an_encoder_tells_a_target_at_its_masks(family: str, masked_model: Callable[..., tuple[Any, Any]], tmp_path: Path) -> None:
    for part in masked_model(family):
        part.save_pretrained(tmp_path)
    model = TextModel.load(str(tmp_path), device="cpu", dtype="float32")
    mask = model.tokenizer.mask_token
    n = len(model.tokenizer(" river")["input_ids"]) - 2
    found = run_attention(str(tmp_path), f"The {mask * n} rises in the hills", norms=True, target="river", dtype="float32")
    places = [at for at, token in enumerate(found.token_ids) if token == model.tokenizer.mask_token_id]
    assert (found.predicting, found.target, found.causal) == (places, "river", False)
    expected = gradient_attention(model, found.token_ids, model.tokenizer(" river")["input_ids"][1:-1])
    assert torch.tensor(found.gradient).shape == (3, len(found.tokens), len(found.tokens))
    assert torch.allclose(torch.tensor(found.gradient), expected, atol=1e-6)
    with pytest.raises(SubjectError, match=f"the text has no masks; write {mask * n} where".replace("[", r"\[")):
        run_attention(str(tmp_path), "The river rises in the", target="hills" if n == 1 else "river")


def test_a_text_of_one_token_is_refused(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tiny_checkpoint("gpt2"))
    one = TextModel.load(folder, device="cpu").tokenizer.decode([50])
    assert len(TextModel.load(folder, device="cpu").prompt(one)) == 1
    monkeypatch.setattr("analyzers.text_model.TextModel.forward", lambda *_args, **_kwargs: pytest.fail("it was read"))
    with pytest.raises(ExplicateError, match=r"the text is one token, .* give a text of at least two tokens"):
        run_attention(folder, one)


def test_a_text_whose_attention_cannot_be_held_is_refused_before_it_is_read(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tiny_checkpoint("llama"))
    n = len(run_attention(folder, TEXT).tokens)
    # Three layers of four heads.
    monkeypatch.setattr("evals.attention_run.MOST_SHARES", 12 * n * n)
    assert len(run_attention(folder, TEXT).tokens) == n
    monkeypatch.setattr("evals.attention_run.MOST_SHARES", 12 * n * n - 1)
    monkeypatch.setattr("analyzers.text_model.TextModel.forward", lambda *_args, **_kwargs: pytest.fail("it was read"))
    with pytest.raises(ExplicateError, match=rf"the text is {n} tokens.* in at most {n - 1}: shorten the text"):
        run_attention(folder, TEXT)


def test_roles_that_cannot_be_measured_leave_the_rest(tiny_model: Callable[..., tuple[Any, Any]], tmp_path: Path) -> None:
    model, tokenizer = tiny_model("gpt2", max_position_embeddings=20)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    found = run_attention(str(tmp_path), "The river")
    assert (found.head_roles, len(found.statistics)) == ([], 12)
    assert found.roles_failed is not None
    assert "the model takes 20" in found.roles_failed


def test_a_vocabulary_that_is_too_small_for_roles_leaves_the_rest(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tiny_checkpoint("llama"))
    whole = run_attention(folder, "The river")
    assert whole.roles_failed is None
    monkeypatch.setattr("analyzers.attention.roles.ordinary_tokens", lambda _: [3, 4, 5])
    found = run_attention(folder, "The river")
    assert (found.head_roles, found.attention) == ([], whole.attention)
    assert "the tokenizer has 3 that are not special" in (found.roles_failed or "")


@pytest.mark.parametrize("family", ["bloom", "gpt_neo"])
def test_a_family_that_can_only_be_read_is_read_and_the_rest_is_refused(family: str, tiny_checkpoint: Checkpoint) -> None:
    folder = str(tiny_checkpoint(family))
    assert run_attention(folder, TEXT, rollout=True, flow=True).rollout is not None
    for asked in ({"norms": True}, {"target": " runs"}):
        with pytest.raises(SubjectError, match="can be read, not masked or changed"):
            run_attention(folder, TEXT, **asked)  # type: ignore[arg-type]
