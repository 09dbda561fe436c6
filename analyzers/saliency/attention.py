"""Attention: what the last layer attends to where it predicts the target."""

from collections.abc import Sequence

from analyzers.attention.reading import read_attention
from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.saliency.queries import seen_by
from analyzers.text_model import TextModel


@SALIENCIES.add("attention")
def attention(model: TextModel, ids: Sequence[int], target: Sequence[int], _text: Text = None) -> Saliency:
    """Share of the last layer's attention, mean over its heads; needs a model whose attention can be read."""
    read, places = model.reads(ids, target)
    return seen_by(read_attention(model, read)[-1].double().mean(0), places, len(ids))
