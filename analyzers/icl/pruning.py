"""How much the answer to in-context prompts hangs on each head and on each token of the demonstrations, and answers without some heads.

Importance is the gradient of the loss by a gate of ones, A dL/dA: to first order what the loss loses when the gate closes.
Source: Michel et al. 2019, arXiv 1905.10650, section 4.1, of heads.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyzers.attention.door import attending
from analyzers.icl.answers import Answers, answers
from analyzers.icl.prompts import IclPrompt
from analyzers.icl.saliency_flow import attention_saliency
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Importance:
    """In nats of cross-entropy among the labels, mean over prompts."""

    heads: Floats
    """[layer, head] |sum of A dL/dA over all edges|."""
    tokens: Floats
    """[position] |sum of A dL/dA over all edges from the token to later ones, in all heads and layers|, of the context that all prompts
    share."""


def importance(model: TextModel, prompts: Sequence[IclPrompt], gold: Sequence[int], report: Report = quiet) -> Importance:
    """Of heads and of the tokens of the demonstrations, which are the same in all prompts; gold [prompt] is the true class.

    Raises SubjectError for a model whose attention cannot be exchanged; ValueError where there is no prompt, and where the prompts do
    not begin with the same demonstrations.
    """
    if not prompts:
        raise ValueError("no prompts to measure importance on")
    length = prompts[0].query.start
    if any(prompt.ids[:length] != prompts[0].ids[:length] or prompt.query.start != length for prompt in prompts):
        raise ValueError("the prompts do not begin with the same demonstrations")
    heads, tokens = np.zeros((model.layers, model.heads)), np.zeros(length)
    for number, (prompt, label) in enumerate(zip(prompts, gold, strict=True)):
        report("measure importance", number, len(prompts))
        saliency = [layer.double() for layer in attention_saliency(model, prompt, label)]
        heads += [layer.sum((1, 2)).abs().numpy() for layer in saliency]
        edges = torch.stack([layer.sum(0) for layer in saliency]).sum(0).tril(-1)
        tokens += edges.sum(0).abs()[:length].numpy()
    report("measure importance", len(prompts), len(prompts))
    return Importance(heads / len(prompts), tokens / len(prompts))


def without_heads(
    model: TextModel, prompts: Sequence[IclPrompt], kept: npt.NDArray[np.bool_], *, what: str = "prune heads", report: Report = quiet
) -> Answers:
    """What the model answers where the heads that are not kept [layer, head] find nothing; errors as in `answers` and `attending`."""
    gates = torch.from_numpy(kept).to(model.device)

    def changed(layer: int, probabilities: Tensor) -> Tensor | None:
        return None if gates[layer].all() else probabilities * gates[layer, :, None, None]

    with attending(model.model, changed=changed):
        return answers(model, prompts, within=lambda _batch: nullcontext(), what=what, report=report)


def most_important(values: Floats, share: float) -> npt.NDArray[np.bool_]:
    """Which ones to keep: the largest values, so many of all, ties by their order; of the shape of the values."""
    count = round(share * values.size)
    kept = np.zeros(values.size, np.bool_)
    kept[np.argsort(-values.ravel(), kind="stable")[:count]] = True
    return kept.reshape(values.shape)
