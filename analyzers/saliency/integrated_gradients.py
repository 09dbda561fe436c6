"""Integrated gradients: what each token's embedding adds to the value along a straight path to it from a baseline that says nothing.

Source: Sundararajan et al. 2017, arXiv 1703.01365, eq. 1. The baseline has the embedding of the end of a text in place of each token's:
zeros are nothing that a model has read, and layer normalisation would show a token itself however near they are. Two kinds of token stay
as they are along the path. Special ones and all others that are not of the text, such as a chat template's, are no part of what is asked
and have the value 0. And the first one, because a model rests on it the attention that it has no use for, and finds no rest midway between
two embeddings: the value would leap along the path, and no number of steps be enough. If it is of the text, its value is what the model
loses with the baseline in its place alone. With some prompts the value leaps all the same, and the gap stays.

The value rises and falls in a few short parts of the path, of each prompt others. As it is known wherever a gradient is, so is what the
gradients within each step must add up to: the steps that miss most are halved, and what was computed is kept. What several tokens miss
in one step and cancels between them is not seen.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.interpolate import Akima1DInterpolator
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.saliency.gradients import embedded, gradients
from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]

LEAST, MOST = 16, 256
"""Steps of the path: equal ones that it begins with, and how many are enough to stop."""
FINEST = 2**-16
"""Share of the path below which a step is not halved: what leaps within it is no finer in the model's numbers."""
HALVED = 0.5
"""Steps are halved whose gap is at least this share of the largest one's."""
SLACK = 0.01
"""How far the values' sum may be from what it must be, relative to that; and likewise the root of the sum of the steps' squared gaps, since
gaps can cancel by chance while the values are far off."""
WRONG = 0.1
"""From where on, likewise, they are none: what misses a tenth of the whole has no order that can be told."""
LEAST_CHANGE = 1e-3
"""Nats to which the gap is relative where the whole is less than that: the numbers of a model are no finer."""


@SALIENCIES.add("integrated-gradients")
def integrated_gradients(model: TextModel, ids: Sequence[int], target: Sequence[int], text: Text = None) -> Saliency:
    """Integral of the gradient along the path times the path, in nats; needs a model that takes embeddings and a tokenizer with an end.

    Facts: `baseline`, the value where the path begins; `gap`, by how much the values of the tokens along it exceed together the value of
    the prompt less that; `relative_gap`, its size beside that of the latter; `steps` of the path, at both ends of each of which there is
    one gradient. Raises SubjectError where the relative gap is above WRONG, and as a method does.
    """
    model.reads(ids, target)  # raises
    special, nothing = set(model.tokenizer.all_special_ids), _nothing(model)
    led = [number not in special and (text is None or text[at]) for at, number in enumerate(ids)]
    begun = [ids[0], *(nothing if leads else number for number, leads in zip(ids[1:], led[1:], strict=True))]
    start, end, unbegun = (embedded(model, each).double().cpu() for each in (begun, ids, [nothing, *ids[1:]]))
    places = np.linspace(0, 1, LEAST + 1)
    values, slopes = _along(model, start, end, target, places)
    while True:
        parts = _between(places, slopes)
        gaps = parts.sum(1) - np.diff(values)
        change, gap = float(values[-1] - values[0]), float(gaps.sum())
        whole, largest = max(abs(change), LEAST_CHANGE), float(np.abs(gaps).max())
        halved = np.flatnonzero((np.diff(places) > FINEST) & (np.abs(gaps) >= HALVED * largest))
        if max(abs(gap), float(np.linalg.norm(gaps))) <= SLACK * whole or len(gaps) >= MOST or not len(halved):
            break
        new = (places[halved] + places[halved + 1]) / 2
        more_values, more_slopes = _along(model, start, end, target, new)
        places, values = np.insert(places, halved + 1, new), np.insert(values, halved + 1, more_values)
        slopes = np.insert(slopes, halved + 1, more_slopes, axis=0)
    if abs(gap) > WRONG * whole:
        raise SubjectError(
            f"integrated gradients did not converge: after {len(gaps)} steps they add up to {gap + change:.3g} nats and must to "
            f"{change:.3g}, a gap of {gap:+.3g}; choose another method, or load the model in float32"
        )
    found = parts.sum(0)
    if led[0]:
        (without,), _ = _along(model, unbegun, end, target, np.zeros(1))
        found[0] = values[-1] - without
    return Saliency(found, {"baseline": float(values[0]), "gap": gap, "relative_gap": abs(gap) / whole, "steps": len(gaps)})


def _nothing(model: TextModel) -> int:
    """The token that stands for none: the end of a text, or else its beginning."""
    known = model.tokenizer
    for number in (known.eos_token_id, known.bos_token_id, known.sep_token_id, known.pad_token_id):
        if number is not None:
            return int(number)
    raise SubjectError(
        f"the tokenizer of {model.name!r} has no token for the end of a text, which integrated gradients begin at; choose another method"
    )


def _along(model: TextModel, start: Tensor, end: Tensor, target: Sequence[int], places: Floats) -> tuple[Floats, Floats]:
    """(value [place], what each token adds to it per length of the path [place, token]) at places of the path from 0 to 1."""
    path = start + torch.from_numpy(places)[:, None, None] * (end - start)
    found = [(values, (slopes * (end - start)).sum(-1)) for values, slopes in gradients(model, path, target)]
    return torch.cat([values for values, _ in found]).numpy(), torch.cat([slopes for _, slopes in found]).numpy()


def _between(places: Floats, slopes: Floats) -> Floats:
    """[step, token] integral over each step of the curve through the slopes [place, token], piecewise cubic.

    Akima's, in scipy's modified form: unlike a spline it does not swing beside a leap.
    """
    curve = Akima1DInterpolator(places, slopes, method="makima").antiderivative()
    steps: Floats = np.diff(curve(places), axis=0)
    return steps
