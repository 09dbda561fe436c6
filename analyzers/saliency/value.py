"""What methods explain: the log-probability of one continuation behind a prompt, in nats."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.padding import like_lengths, padded
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

EVALUATING = "evaluate texts"


@torch.inference_mode()
def values_of(
    model: TextModel, prompts: Sequence[Sequence[int]], target: Sequence[int], *, report: Report = quiet
) -> npt.NDArray[np.float64]:
    """[prompt] sum over the target's tokens of log p(token | prompt, tokens before it), in nats.

    A prompt without tokens is read as what begins a text (TextModel.around). Raises SubjectError for an encoder, a model without a head
    for language or with probabilities that are no numbers, a prompt that is with the target longer than the model takes, and one without
    tokens where nothing begins a text; ValueError for a target without tokens.
    """
    texts = [list(ids) or _nothing(model) for ids in prompts]
    for text in texts:
        check(model, text, target)
    found = np.empty(len(texts))
    done = 0
    for batch in like_lengths([len(ids) + len(target) - 1 for ids in texts]):
        ids, mask = padded([[*texts[number], *target[:-1]] for number in batch])
        lengths = [len(texts[number]) for number in batch]
        found[batch] = told(model, lengths, target, input_ids=ids, attention_mask=mask).double().cpu().numpy()
        done += len(batch)
        report(EVALUATING, done, len(texts))
    if not np.isfinite(found).all():
        raise SubjectError(
            f"{model.name!r} gives a text no finite probability in {model.identity['dtype']}; load it in float32, or choose another model"
        )
    return found


def check(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> None:
    """Raises as a method does (analyzers.saliency.SaliencyMethod)."""
    if not model.causal:
        raise SubjectError(f"{model.name!r} is an encoder, which continues no text; choose a causal language model")
    if not ids or not target:
        raise ValueError("a continuation needs a prompt and a target, each of at least one token")
    model.check_length(len(ids) + len(target))


def told(model: TextModel, lengths: Sequence[int], target: Sequence[int], **inputs: Tensor) -> Tensor:
    """[text] log-probabilities of the target, in float32 or more, within autograd where it is on.

    lengths: tokens of each prompt. inputs: the model's, each text [prompt, target but its last token, padding]. Raises SubjectError for
    a model without a head for language.
    """
    longest = max(lengths) + len(target) - 1
    # The head is the largest matrix of a small model, and only the last positions are read. They are named one by one: of a count a
    # view is taken, for whose product a CPU copies the head for every text.
    keep = max(lengths) - min(lengths) + len(target)
    last = torch.arange(longest - keep, longest, device=model.device)
    fewer = {"logits_to_keep": last} if takes(model.model, "logits_to_keep") else {}
    on_device = {name: given.to(model.device) for name, given in inputs.items()}
    logits = model.logits(model.model(**on_device, use_cache=False, **fewer))
    device = logits.device
    places = torch.tensor([[length - 1 + at for at in range(len(target))] for length in lengths], device=device) - longest + keep
    read = logits[:, -keep:][torch.arange(len(lengths), device=device)[:, None], places]
    read = read.to(torch.promote_types(read.dtype, torch.float32)).log_softmax(-1)
    tokens = torch.tensor([list(target)] * len(lengths), device=device)
    found: Tensor = read.gather(2, tokens[:, :, None]).sum((1, 2))
    return found


def _nothing(model: TextModel) -> list[int]:
    """What is read where a prompt has no tokens."""
    before = list(model.around[0]) if model.causal else []
    if model.causal and not before:
        raise SubjectError(
            f"the tokenizer of {model.name!r} has no token that begins or ends a text, so that a text of which nothing is left cannot be "
            "read: give --method occlusion without --compare, give --chat, or choose another model"
        )
    return before


def takes(model: Any, argument: str) -> bool:
    """Whether the model's forward pass has an argument of that name."""
    return argument in inspect.signature(model.forward).parameters
