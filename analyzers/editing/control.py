"""What an edit is held against: one at the same place and of the same size that says nothing in particular."""

import torch

from analyzers.editing.deltas import Delta, Edit


def randomised(edit: Edit, seed: int) -> Edit:
    """The same edit with what it adds for its keys turned into random directions, each as long as it was."""
    draws = torch.Generator().manual_seed(seed)
    found = {}
    for name in sorted(edit):
        left = edit[name].left
        drawn = torch.randn(left.shape, generator=draws).to(left.device)
        found[name] = Delta(drawn * (left.norm(dim=0) / drawn.norm(dim=0)), edit[name].right)
    return found
