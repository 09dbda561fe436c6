"""Integrated gradients: what each token's embedding adds to the value along a straight path to it from a baseline that says nothing.

Source: Sundararajan et al. 2017, arXiv 1703.01365, eq. 1. The baseline has the embedding of the end of a text in place of each token's:
zeros are nothing that a model has read, and layer normalisation would show a token itself however near they are. Two kinds of token stay
as they are along the path. Special ones, which are no part of what is asked, have the value 0. And the first one, because a model rests
on it the attention that it has no use for, and finds no rest midway between two embeddings: the value would leap along the path, and no
number of steps be enough. If it is no special one, its value is what the model loses with the baseline in its place alone. With some
prompts the value leaps all the same, and the gap stays.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.saliency import SALIENCIES, Saliency
from analyzers.saliency.gradients import embedded, gradients
from analyzers.saliency.value import check
from analyzers.text_model import TextModel

LEAST, MOST = 32, 256
"""Steps of the path: doubled from one to the other until the values add up."""
SLACK = 0.01
"""How far the values' sum may be from what it must be, relative to that."""


@SALIENCIES.add("integrated-gradients")
def integrated_gradients(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> Saliency:
    """Integral of the gradient along the path times the path, in nats; needs a model that takes embeddings and a tokenizer with an end.

    Facts: `baseline`, the value where the path begins; `gap`, by how much the values of the tokens along it exceed together the value of
    the prompt less that; `steps`, points of the path that were computed for it, by the Gauss-Legendre rule.
    """
    check(model, ids, target)
    special, nothing = set(model.tokenizer.all_special_ids), _nothing(model)
    begun = [ids[0], *(number if number in special else nothing for number in ids[1:])]
    start, end, unbegun = (embedded(model, each) for each in (begun, ids, [nothing, *ids[1:]]))
    least, value, without = _at(model, torch.stack([start, end, unbegun]), target)
    steps = LEAST
    while True:
        values = _integral(model, start, end, target, steps)
        gap = float(values.sum()) - (value - least)
        if abs(gap) <= SLACK * abs(value - least) or steps >= MOST:
            break
        steps *= 2
    values[0] = 0 if ids[0] in special else value - without
    return Saliency(values.numpy(), {"baseline": least, "gap": gap, "steps": steps})


def _nothing(model: TextModel) -> int:
    """The token that stands for none: the end of a text, or else its beginning."""
    for number in (model.tokenizer.eos_token_id, model.tokenizer.bos_token_id, model.tokenizer.pad_token_id):
        if number is not None:
            return int(number)
    raise SubjectError(
        f"the tokenizer of {model.name!r} has no token for the end of a text, which integrated gradients begin at; choose another method"
    )


def _at(model: TextModel, given: Tensor, target: Sequence[int]) -> list[float]:
    """Value of each prompt that is given by its embeddings [prompt, token, width]."""
    return torch.cat([values for values, _ in gradients(model, given, target)]).tolist()


def _integral(model: TextModel, start: Tensor, end: Tensor, target: Sequence[int], steps: int) -> Tensor:
    """[token] float64 on the CPU."""
    places, shares = (torch.from_numpy(each) / 2 for each in np.polynomial.legendre.leggauss(steps))
    start, end = start.double().cpu(), end.double().cpu()
    path = start + (places + 0.5)[:, None, None] * (end - start)
    slopes = torch.cat([slopes for _, slopes in gradients(model, path, target)])
    return ((shares[:, None, None] * slopes).sum(0) * (end - start)).sum(-1)
