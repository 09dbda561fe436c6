"""What becomes of an answer when the last token may not attend to some others in some layers.

Source: Geva et al. 2023, arXiv 2304.14767, section 4.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from analyzers.attention.door import attending, blocked
from analyzers.tracing.stack import Stack

Cut = tuple[Sequence[int], range]
"""Places that the last token does not see, and the layers in which it does not."""


def cut_off(stack: Stack, ids: Sequence[int], cuts: Sequence[Cut]) -> Tensor:
    """float32 [1 + cut, token of the vocabulary] logits of what comes next: with nothing cut, then with each cut.

    Raises SubjectError for a model whose attention cannot be exchanged.
    """
    model = stack.model
    read = torch.tensor([list(ids)]).expand(1 + len(cuts), -1)
    unseen = torch.zeros(model.layers, 1 + len(cuts), 1, len(ids), len(ids), dtype=torch.bool)
    for row, (places, layers) in enumerate(cuts, 1):
        for layer in layers:
            unseen[layer, row, 0, -1, list(places)] = True
    masks = [blocked(each.to(model.device), model.dtype) for each in unseen]
    with attending(model.model, masked=lambda layer: masks[layer]):
        return stack.next_logits(read)
