"""What becomes of an answer when the last token may not attend to some others in some layers.

Source: Geva et al. 2023, arXiv 2304.14767, section 4.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from analyzers.attention.door import attending, blocked
from analyzers.padding import BATCH_TOKENS
from analyzers.tracing.stack import Stack

Cut = tuple[Sequence[int], range]
"""Places that the last token does not see, and the layers in which it does not."""


def cut_off(stack: Stack, ids: Sequence[int], cuts: Sequence[Cut]) -> Tensor:
    """float32 [1 + cut, token of the vocabulary] logits of what comes next: with nothing cut, then with each cut.

    Only the last token is computed anew, where it can be read behind the others. Raises SubjectError for a model whose attention cannot
    be exchanged.
    """
    model = stack.model
    wanted: list[Cut] = [([], range(0)), *cuts]
    most = max(1, BATCH_TOKENS // len(ids))
    masks: list[Tensor] = []
    found = []
    with attending(model.model, masked=lambda layer: masks[layer] if masks else None):
        remembered = stack.remember(torch.tensor([ids]))[1]
        first = 0 if remembered is None else len(ids) - 1
        for start in range(0, len(wanted), most):
            batch = wanted[start : start + most]
            unseen = torch.zeros(model.layers, len(batch), 1, len(ids) - first, len(ids), dtype=torch.bool)
            for row, (places, layers) in enumerate(batch):
                for layer in layers:
                    unseen[layer, row, 0, -1, list(places)] = True
            masks[:] = [blocked(each.to(model.device), model.dtype) for each in unseen]
            behind = None if remembered is None else remembered.of([0] * len(batch), first)
            found.append(stack.next_logits(torch.tensor([ids[first:]]).expand(len(batch), -1), behind=behind))
    return torch.cat(found)
