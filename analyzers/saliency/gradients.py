"""The gradient of a continuation's log-probability by what the model reads for each token of the prompt: its input embedding.

What the model adds to the embeddings, such as embeddings of positions, stays as it is, as do those of the target's tokens.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.last_logits import takes
from analyzers.saliency.value import told
from analyzers.text_model import TextModel

BATCH_TOKENS = 512
"""Tokens in one pass: what the way back needs is kept of all layers, 1 GB for a model of 135 million parameters."""


def embedded(model: TextModel, ids: Sequence[int]) -> Tensor:
    """[token, width] input embeddings, in the model's number format."""
    with torch.no_grad():
        found: Tensor = model.model.get_input_embeddings()(torch.tensor([list(ids)], device=model.device))[0]
    return found


def gradient(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> tuple[Tensor, Tensor]:
    """([token, width] embeddings, the gradient by them), float64 on the CPU. Raises as `gradients` and a method do."""
    model.reads(ids, target)  # raises
    given = embedded(model, ids)
    ((_, slopes),) = gradients(model, given[None], target)
    return given.double().cpu(), slopes[0]


def gradients(model: TextModel, given: Tensor, target: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Of a few prompts at a time the log-probability [prompt] of the target, in nats, and its gradient [prompt, token, width] by what is
    given for them; float64 on the CPU.

    given [prompt, token, width]; an encoder's masks are where the embedding of its mask is given. Raises SubjectError for a model that
    takes no embeddings, or has no head for language, and for an encoder without a mask for each token of the target.
    """
    if not takes(model.model, "inputs_embeds"):
        raise SubjectError(f"{model.name!r} takes no embeddings in place of tokens, and gradients need it; choose another method or model")
    behind = embedded(model, target)[: len(target) - 1 if model.causal else 0]
    length = given.shape[1] + len(behind)
    for part in torch.split(given, max(BATCH_TOKENS // length, 1)):
        with torch.enable_grad():
            leaf = part.to(model.device, behind.dtype).detach().requires_grad_()
            inputs: dict[str, Any] = {
                "inputs_embeds": torch.cat([leaf, behind.expand(len(part), -1, -1)], 1),
                "attention_mask": torch.ones(len(part), length, dtype=torch.long),
            }
            values = told(model, _places(model, leaf.detach(), target), target, **inputs)
            (slopes,) = torch.autograd.grad(values.sum(), leaf)
        yield values.detach().double().cpu(), slopes.double().cpu()


def _places(model: TextModel, given: Tensor, target: Sequence[int]) -> list[list[int]]:
    """[prompt][token of the target] what predicts it."""
    if model.masks is None:
        return [model.reads([0] * given.shape[1], target)[1]] * len(given)
    mask = model.tokenizer.convert_tokens_to_ids(model.masks.text)
    masked = (given == embedded(model, [mask])).all(-1)
    # Whatever another token is, it is no mask.
    return [model.masks.predicting([mask if here else -1 for here in row], target) for row in masked.tolist()]
