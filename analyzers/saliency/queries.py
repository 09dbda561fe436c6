"""The positions that predict a target, and what a matrix over a prompt and its target says that they hold of the prompt."""

from collections.abc import Sequence

from torch import Tensor

from analyzers.saliency import Saliency
from analyzers.saliency.value import check
from analyzers.text_model import TextModel


def predicting(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> list[int]:
    """Tokens that are read to predict the target: the prompt and all of the target but its last token. Raises as a method does."""
    check(model, ids, target)
    return [*ids, *target[:-1]]


def seen_by(matrix: Tensor, ids: Sequence[int], target: Sequence[int], *, signed: bool = False) -> Saliency:
    """Mean over the queries that predict a token of the target: [query, key] to [token of the prompt].

    What they hold of earlier tokens of the target is left out.
    """
    return Saliency(matrix[len(ids) - 1 : len(ids) + len(target) - 1, : len(ids)].double().mean(0).numpy(), signed=signed)
