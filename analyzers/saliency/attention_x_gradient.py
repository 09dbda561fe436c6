"""Attention weighed by its gradient, followed through all layers.

Source: Chefer et al. 2021, arXiv 2103.15679, eq. 5 and 6.
"""

from collections.abc import Sequence

import torch

from analyzers.attention.reading import gradient_attention
from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.saliency.queries import seen_by
from analyzers.text_model import TextModel


@SALIENCIES.add("attention-x-gradient")
def attention_x_gradient(model: TextModel, ids: Sequence[int], target: Sequence[int], _text: Text = None) -> Saliency:
    """Relevance R = I, then R += mean_heads(A dL/dA)+ R layer by layer; needs a model whose attention can be exchanged.

    The I with which R begins is left out of what is told: it says only that a position is itself. Of attention that lowers the target
    nothing is told, so that a larger value says that more speaks for it.
    """
    _, places = model.reads(ids, target)
    layers = gradient_attention(model, ids, target).double()
    start = torch.eye(layers.shape[-1], dtype=layers.dtype)
    relevance = start
    for layer in layers:
        relevance = relevance + layer @ relevance
    return seen_by(relevance - start, places, len(ids), signed=True)
