"""Value norms: how much is written to the positions that predict the target from each token, by the heads of all layers.

Unlike shares of attention, lengths of what is written are small for a token that is attended to for want of anything better.
Source: Kobayashi et al. 2020, arXiv 2004.10102. Lengths are added up over heads, so that heads that write against each other both
count, and over layers, since all write to the same residual stream; what reached those positions through others is not followed.
"""

from collections.abc import Sequence

from analyzers.attention.reading import value_norms
from analyzers.saliency import SALIENCIES, Saliency, Text
from analyzers.saliency.queries import seen_by
from analyzers.text_model import TextModel


@SALIENCIES.add("value-norm")
def value_norm(model: TextModel, ids: Sequence[int], target: Sequence[int], _text: Text = None) -> Saliency:
    """Sum over layers and heads of the length of A_ij v_j W_O, in units of the residual stream; needs a model whose attention can be
    exchanged."""
    read, places = model.reads(ids, target)
    return seen_by(value_norms(model, read).double().sum((0, 1)), places, len(ids))
