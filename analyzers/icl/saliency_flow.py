"""Which way information flows between the tokens of an in-context prompt, layer by layer, by attention times its gradient.

Source: Wang et al. 2023, arXiv 2305.14160, section 2.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from analyzers.attention.door import attending
from analyzers.errors import Failed
from analyzers.icl.answers import next_logits
from analyzers.icl.prompts import IclPrompt
from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SaliencyFlow:
    """Mean saliency of the edges from a token to a later one, [layer] each."""

    wp: Floats
    """From every earlier token to the first token of a label: what is gathered there."""
    pq: Floats
    """From the first tokens of labels to the last position: what the answer takes from there."""
    ww: Floats
    """Between all other pairs of tokens."""

    def shares(self, of: "SaliencyFlow | None" = None) -> Floats | Failed:
        """[wp pq ww, layer] as shares of the sum of the three, or of that of another flow of the same prompt: differences of the shares
        of two flows then have the signs of differences of their saliency. Failed for a layer without any saliency."""
        whole = self if of is None else of
        total = whole.wp + whole.pq + whole.ww
        if not (total > 0).all():
            return Failed("flow", f"no attention in layer {int((total <= 0).argmax())} has a gradient")
        return np.asarray(np.stack([self.wp, self.pq, self.ww]) / total)


def attention_saliency(model: TextModel, prompt: IclPrompt, gold: int) -> list[Tensor]:
    """[layer] float32 [head, query, key] on the CPU: A dL/dA, with L the cross-entropy of class `gold` among the labels' first tokens.

    Raises SubjectError for a model whose attention cannot be exchanged.
    """
    gates: list[Tensor] = []

    def gated(_layer: int, probabilities: Tensor) -> Tensor:
        # The gradient of a gate of ones is A dL/dA.
        gates.append(torch.ones_like(probabilities, dtype=torch.float32, requires_grad=True))
        return probabilities * gates[-1]

    with torch.enable_grad(), attending(model.model, changed=gated):
        logits = next_logits(model, [prompt])[:, list(prompt.class_tokens)].float()
        loss = cross_entropy(logits, torch.tensor([gold], device=logits.device))
        found = torch.autograd.grad(loss, gates)
    return [gradient[0].cpu() for gradient in found]


def saliency_flow(saliency: Sequence[Tensor], prompt: IclPrompt, *, by_head: bool = False, at: Sequence[int] | None = None) -> SaliencyFlow:
    """The flow from the saliency of a prompt's attention, [layer] of [head, query, key].

    Of an edge it is |sum over heads| (equation 1), or with by_head the sum over heads of |.|, as the paper's footnote has it. at: other
    positions in place of the labels, as a control; ValueError where there are none.
    """
    if at is not None and not at:
        raise ValueError("no positions to stand for the labels")
    masks = edges(prompt, at)
    summed = [(layer.abs().sum(0) if by_head else layer.sum(0).abs()).double().numpy() for layer in saliency]
    wp, pq, ww = (np.array([layer[mask].mean() for layer in summed]) for mask in masks)
    return SaliencyFlow(wp, pq, ww)


def edges(prompt: IclPrompt, at: Sequence[int] | None = None) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which pairs [query, key] are of wp, of pq and of ww: disjoint, together all with an earlier key; at: as in `saliency_flow`."""
    labels = list(prompt.labels if at is None else at)
    earlier = np.tri(len(prompt), k=-1, dtype=np.bool_)
    wp, pq = np.zeros_like(earlier), np.zeros_like(earlier)
    wp[labels] = earlier[labels]
    pq[prompt.q, labels] = True
    return wp, pq, earlier & ~wp & ~pq


def random_others(prompt: IclPrompt, rng: np.random.Generator) -> list[int]:
    """In place of each label a random one of its demonstration's `others`, ascending: the control. A demonstration without has none."""
    return [int(rng.choice(others)) for others in prompt.others if others]
