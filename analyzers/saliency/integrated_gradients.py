"""Integrated gradients: what each token's embedding adds to the value along a straight path to it from a baseline that says nothing.

Source: Sundararajan et al. 2017, arXiv 1703.01365, eq. 1. The baseline has the embedding of the end of a text in place of each token's:
zeros are nothing that a model has read, and layer normalisation would show a token itself however near they are. Two kinds of token stay
as they are along the path. Special ones and all others that are not of the text, such as a chat template's, are no part of what is asked
and have the value 0. And the first one, because a model rests on it the attention that it has no use for, and finds no rest midway between
two embeddings: the value would leap along the path, and no number of steps be enough. If it is of the text, its value is what the model
loses with the baseline in its place alone. With some prompts the value leaps all the same, and the gap stays.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.saliency.gradients import embedded, gradients
from analyzers.saliency.value import check
from analyzers.text_model import TextModel

LEAST, MOST = 32, 256
"""Steps of the path: doubled from one to the other until the values add up."""
SLACK = 0.01
"""How far the values' sum may be from what it must be, relative to that."""
WRONG = 0.1
"""From where on, likewise, they are none: what misses a tenth of the whole has no order that can be told."""
LEAST_CHANGE = 1e-3
"""Nats to which the gap is relative where the whole is less than that: the numbers of a model are no finer."""


@SALIENCIES.add("integrated-gradients")
def integrated_gradients(model: TextModel, ids: Sequence[int], target: Sequence[int], text: Text = None) -> Saliency:
    """Integral of the gradient along the path times the path, in nats; needs a model that takes embeddings and a tokenizer with an end.

    Facts: `baseline`, the value where the path begins; `gap`, by how much the values of the tokens along it exceed together the value of
    the prompt less that; `relative_gap`, its size beside that of the latter; `steps`, points of the path that were computed for it, by the
    Gauss-Legendre rule. Raises SubjectError where the relative gap is above WRONG, and as a method does.
    """
    check(model, ids, target)
    special, nothing = set(model.tokenizer.all_special_ids), _nothing(model)
    led = [number not in special and (text is None or text[at]) for at, number in enumerate(ids)]
    begun = [ids[0], *(nothing if leads else number for number, leads in zip(ids[1:], led[1:], strict=True))]
    start, end, unbegun = (embedded(model, each) for each in (begun, ids, [nothing, *ids[1:]]))
    least, value, without = _at(model, torch.stack([start, end, unbegun]), target)
    change, steps = value - least, LEAST
    while True:
        values = _integral(model, start, end, target, steps)
        gap = float(values.sum()) - change
        relative = abs(gap) / max(abs(change), LEAST_CHANGE)
        if relative <= SLACK or steps >= MOST:
            break
        steps *= 2
    if relative > WRONG:
        raise SubjectError(
            f"integrated gradients did not converge: after {steps} steps they add up to {gap + change:.3g} nats and must to {change:.3g}, "
            f"a gap of {gap:+.3g}; choose another method, or load the model in float32"
        )
    values[0] = value - without if led[0] else 0
    return Saliency(values.numpy(), {"baseline": least, "gap": gap, "relative_gap": relative, "steps": steps})


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
