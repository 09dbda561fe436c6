"""What an edit is held against: one at the same place and of the same size that says nothing in particular."""

import torch

from analyzers.editing.deltas import Delta, Edit


def randomised(edit: Edit, seed: int) -> Edit:
    """The same edit with what it adds turned into random directions: for every key it adds as much as it did.

    All that is added is turned together, so that what its columns have in common stays: two that nearly cancel out still do.
    """
    draws = torch.Generator().manual_seed(seed)
    found = {}
    for name in sorted(edit):
        _, within = torch.linalg.qr(edit[name].left)
        directions, _ = torch.linalg.qr(torch.randn(edit[name].left.shape, generator=draws))
        found[name] = Delta(directions.to(within.device) @ within, edit[name].right)
    return found
