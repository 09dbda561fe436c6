"""Attention rollout: how much of each token the positions that predict the target hold, if attention only averaged.

Source: Abnar & Zuidema 2020, arXiv 2005.00928. Over many layers nearly all goes to the first token (analyzers.attention.rollout).
"""

from collections.abc import Sequence

from analyzers.attention.reading import read_attention
from analyzers.attention.rollout import rollout
from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.saliency.queries import seen_by
from analyzers.text_model import TextModel


@SALIENCIES.add("attention-rollout")
def attention_rollout(model: TextModel, ids: Sequence[int], target: Sequence[int], _text: Text = None) -> Saliency:
    """Share of the rollout of all layers; needs a model whose attention can be read."""
    read, places = model.reads(ids, target)
    return seen_by(rollout(read_attention(model, read))[-1], places, len(ids))
