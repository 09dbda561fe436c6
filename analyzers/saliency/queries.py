"""What a matrix over a prompt and its target says that the positions that predict the target hold of the prompt."""

from collections.abc import Sequence

from torch import Tensor

from analyzers.saliency import Saliency


def seen_by(matrix: Tensor, places: Sequence[int], length: int, *, signed: bool = False) -> Saliency:
    """Mean over the queries at `places` (TextModel.reads): [query, key] to [token of the prompt], which has `length` tokens.

    What they hold of earlier tokens of the target is left out.
    """
    return Saliency(matrix[list(places), :length].double().mean(0).numpy(), signed=signed)
