"""Gradient x input: how far the value would fall if a token's embedding went to zero and the value were linear in it.

Source: Shrikumar et al. 2016, arXiv 1605.01713, sec. 2.
"""

from collections.abc import Sequence

from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.saliency.gradients import gradient
from analyzers.text_model import TextModel


@SALIENCIES.add("gradient-x-input")
def gradient_x_input(model: TextModel, ids: Sequence[int], target: Sequence[int], _text: Text = None) -> Saliency:
    """Dot product of each embedding and the gradient by it, in nats; needs a model that takes embeddings."""
    given, slopes = gradient(model, ids, target)
    return Saliency((given * slopes).sum(-1).numpy())
