"""Attention flow: the most that can flow to each token from the positions that predict the target, with attention as capacities.

Source: Abnar & Zuidema 2020, arXiv 2005.00928; see analyzers.attention.flow. Its time grows with the square of the tokens and more.
"""

from collections.abc import Sequence

from analyzers.attention.flow import flow
from analyzers.attention.reading import read_attention
from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.text_model import TextModel


@SALIENCIES.add("attention-flow")
def attention_flow(model: TextModel, ids: Sequence[int], target: Sequence[int], _text: Text = None) -> Saliency:
    """Largest flow, 0 to 1, mean over the positions; needs a model whose attention can be read."""
    read, places = model.reads(ids, target)
    found = flow(read_attention(model, read), places)
    return Saliency(found[:, : len(ids)].mean(0), signed=False)
