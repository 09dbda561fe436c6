"""What a model answers when a vector is added to one token's state on its way through the blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.hooks import on_input, on_output, removed
from analyzers.last_logits import last_only
from analyzers.mlps import decoder_blocks
from analyzers.padding import like_lengths, padded
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

ADDING = "add to states"


@dataclass(frozen=True)
class Asked:
    """A prompt, and the token in it whose state is changed."""

    ids: tuple[int, ...]
    at: int


def asked(model: TextModel, prompt: str, end: int) -> Asked:
    """A prompt whose changed token is the last one that covers a character before `end`; SubjectError as TextModel.prompt."""
    read = model.prompt(prompt)
    places = [at for at, span in enumerate(read.spans) if span is not None and span[0] < end]
    if not places:
        raise SubjectError(f"no token of the text covers its first {end} characters; give a longer text")
    return Asked(read.ids, places[-1])


@torch.inference_mode()
def answers_after(
    model: TextModel,
    prompts: Sequence[Asked],
    answers: Sequence[int],
    *,
    layer: int = 0,
    added: npt.NDArray[np.floating] | None = None,
    what: str = ADDING,
    report: Report = quiet,
) -> npt.NDArray[np.float64]:
    """float64 [prompt, answer] natural logarithms of the probabilities of the answers' tokens as the next one.

    added [prompt, width] is put onto the state of each prompt's token at the layer: 0 is what enters the first block, l what the l-th
    block gives. Raises SubjectError for an encoder, a model without a head for language, one whose blocks cannot be told apart, and
    probabilities that are no numbers.
    """
    if not model.causal:
        raise SubjectError(f"{model.name!r} is an encoder, which continues no text; choose a causal language model")
    found, done = np.empty((len(prompts), len(answers))), 0
    for batch in like_lengths([len(prompt.ids) for prompt in prompts]):
        ids, mask = padded([prompts[number].ids for number in batch])
        rows, places = torch.arange(len(batch)), torch.tensor([prompts[number].at for number in batch])
        ends = torch.tensor([len(prompts[number].ids) - 1 for number in batch])
        keep = ids.shape[1] - int(ends.min())
        fewer = last_only(model.model, ids.shape[1], keep)
        if added is None:
            output = model.forward(ids, mask, **fewer)
        else:
            change = torch.tensor(np.asarray(added)[batch], dtype=torch.float32, device=model.device)
            output = _changed(model, ids, mask, layer, (rows, places, change), fewer)
        logits = model.logits(output)[:, -keep:]
        chosen = logits[rows.to(logits.device), (ends - ids.shape[1] + keep).to(logits.device)].float().log_softmax(-1)
        found[batch] = chosen[:, list(answers)].double().cpu().numpy()
        done += len(batch)
        report(what, done, len(prompts))
    if not np.isfinite(found).all():
        raise SubjectError(f"{model.name!r} gives probabilities that are no numbers in {model.identity['dtype']}; load it in float32")
    return found


def _changed(
    model: TextModel, ids: Tensor, mask: Tensor, layer: int, change: tuple[Tensor, Tensor, Tensor], fewer: dict[str, Tensor]
) -> object:
    """The output of a pass with [row], [row] and [row, width] added at one layer."""
    rows, places, amount = change
    blocks = decoder_blocks(model.model.base_model)
    if len(set(map(id, blocks))) != model.layers or not 0 <= layer <= model.layers:
        raise SubjectError(f"{model.name!r} is no stack of {model.layers} blocks, each of its own; choose a model that is one")

    def put(hidden: Tensor) -> Tensor:
        new = hidden.float().clone()
        new[rows.to(new.device), places.to(new.device)] += amount
        return new

    handles = on_input(blocks[0], blocks[0], put) if layer == 0 else on_output(blocks[layer - 1], blocks[0], put)
    with removed(handles):
        return model.forward(ids, mask, **fewer)
