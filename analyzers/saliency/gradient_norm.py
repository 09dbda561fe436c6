"""Gradient norm: how steep the value is by a token's embedding, in any direction. Source: Simonyan et al. 2013, arXiv 1312.6034."""

from collections.abc import Sequence

from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.saliency.gradients import gradient
from analyzers.text_model import TextModel


@SALIENCIES.add("gradient-norm")
def gradient_norm(model: TextModel, ids: Sequence[int], target: Sequence[int], _text: Text = None) -> Saliency:
    """L2 norm of the gradient by each embedding, in nats a unit of the embedding; needs a model that takes embeddings."""
    _, slopes = gradient(model, ids, target)
    return Saliency(slopes.norm(dim=-1).numpy(), signed=False)
