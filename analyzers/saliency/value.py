"""What methods explain: the log-probability of one target, behind a decoder's prompt or at the masks of an encoder's, in nats."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.last_logits import takes
from analyzers.padding import like_lengths, padded
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

EVALUATING = "evaluate texts"


@torch.inference_mode()
def values_of(
    model: TextModel, prompts: Sequence[Sequence[int]], target: Sequence[int], *, report: Report = quiet
) -> npt.NDArray[np.float64]:
    """[prompt] sum over the target's tokens of log p(token | prompt, tokens before it), in nats; of an encoder of log p(token | prompt), in
    which all masks stay.

    A decoder's prompt without tokens is read as what begins a text (TextModel.around). Raises SubjectError for a model without a head for
    language or with probabilities that are no numbers, a prompt that is with the target longer than the model takes, an encoder's without
    a mask for each token of the target, and one without tokens where nothing begins a text; ValueError for a target without tokens.
    """
    texts = [model.reads(list(ids) or _nothing(model), target) for ids in prompts]
    found = np.empty(len(texts))
    done = 0
    for batch in like_lengths([len(read) for read, _ in texts]):
        ids, mask = padded([texts[number][0] for number in batch])
        places = [texts[number][1] for number in batch]
        found[batch] = told(model, places, target, input_ids=ids, attention_mask=mask).double().cpu().numpy()
        done += len(batch)
        report(EVALUATING, done, len(texts))
    if not np.isfinite(found).all():
        raise SubjectError(
            f"{model.name!r} gives a text no finite probability in {model.identity['dtype']}; load it in float32, or choose another model"
        )
    return found


@torch.inference_mode()
def likeliest(model: TextModel, ids: Sequence[int], count: int) -> tuple[tuple[int, ...], float]:
    """(token ids, their log-probability in nats) of what the model would write in the place of a target of so many tokens.

    A decoder: the likeliest token each time, behind those before it; an encoder: the likeliest at each of its masks. A prompt without
    tokens is read, and errors are raised, as in values_of.
    """
    if model.masks is not None:
        chances = _logprobs(model, list(ids), model.masks.predicting(ids, [0] * count))
        return tuple(chances.argmax(-1).tolist()), float(chances.amax(-1).sum())
    read, value = list(ids) or _nothing(model), 0.0
    start = len(read)
    for _ in range(count):
        chances = _logprobs(model, read, [len(read) - 1])[0]
        read.append(int(chances.argmax()))
        value += float(chances.amax())
    return tuple(read[start:]), value


def _logprobs(model: TextModel, ids: Sequence[int], places: Sequence[int]) -> Tensor:
    """[place, vocabulary] of what is predicted there, in float32 or more."""
    model.check_length(len(ids))
    text = torch.tensor([list(ids)])
    first = min(places)
    logits = _logits(model, first, max(places), input_ids=text, attention_mask=torch.ones_like(text))[0, [at - first for at in places]]
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def told(model: TextModel, places: Sequence[Sequence[int]], target: Sequence[int], **inputs: Tensor) -> Tensor:
    """[text] log-probabilities of the target, in float32 or more, within autograd where it is on.

    places: [text][token of the target] what predicts it. inputs: the model's, each text as TextModel.reads gives it, and padding. Raises
    SubjectError for a model without a head for language.
    """
    first, last = min(map(min, places)), max(map(max, places))
    kept = _logits(model, first, last, **inputs)
    device = kept.device
    read = kept[torch.arange(len(places), device=device)[:, None], torch.tensor(places, device=device) - first]
    read = read.to(torch.promote_types(read.dtype, torch.float32)).log_softmax(-1)
    tokens = torch.tensor([list(target)] * len(places), device=device)
    found: Tensor = read.gather(2, tokens[:, :, None]).sum((1, 2))
    return found


def _logits(model: TextModel, first: int, last: int, **inputs: Tensor) -> Tensor:
    """[text, place from first to last, vocabulary]; SubjectError for a model without a head for language."""
    # Only these positions are read: see last_logits.
    needed = torch.arange(first, last + 1, device=model.device)
    settings: dict[str, Any] = {"use_cache": False} if model.causal else {}
    if takes(model.model, "logits_to_keep"):
        settings["logits_to_keep"] = needed
    on_device = {name: given.to(model.device) for name, given in inputs.items()}
    logits = model.logits(model.model(**on_device, **settings))
    return logits if logits.shape[1] == len(needed) else logits[:, first : last + 1]


def _nothing(model: TextModel) -> list[int]:
    """What is read where a prompt has no tokens; of an encoder nothing, which has no mask."""
    before = list(model.around[0]) if model.causal else []
    if model.causal and not before:
        raise SubjectError(
            f"the tokenizer of {model.name!r} has no token that begins or ends a text, so that a text of which nothing is left cannot be "
            "read: give --method occlusion without --compare, give --chat, or choose another model"
        )
    return before
