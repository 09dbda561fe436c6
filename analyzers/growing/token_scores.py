"""What a decoder says of the tokens of texts: how likely it holds each of them, and whether it would have said it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from analyzers.errors import SubjectError
from analyzers.padding import BATCH_TOKENS, like_lengths, padded
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

CELLS = 1 << 24
"""Largest number of tokens x vocabulary in a batch: 64 MiB a tensor."""


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Of one text's tokens; the first one is given, and nothing is said of it."""

    logprobs: npt.NDArray[np.float64]
    """[token - 1] natural logarithm of the probability of each, given those before it."""
    right: npt.NDArray[np.bool_]
    """[token - 1] whether it was the likeliest; of equally likely ones the first in the vocabulary counts."""


def fits(model: TextModel, ids: Sequence[int]) -> bool:
    """Whether there is a token to predict, and the model takes them all."""
    return len(ids) > 1 and (model.limit is None or len(ids) <= model.limit)


@torch.inference_mode()
def score_tokens(
    model: TextModel, sequences: Sequence[Sequence[int]], *, what: str = "read tokens", report: Report = quiet
) -> list[TokenScores]:
    """Of each sequence of token ids, which must have two or more.

    Raises SubjectError for more tokens than the model takes, for a model without a head for language, and for probabilities that are no
    numbers.
    """
    found: dict[int, TokenScores] = {}
    vocabulary = model.model.get_input_embeddings().num_embeddings
    for sequence in sequences:
        model.check_length(len(sequence))
    for batch in like_lengths([len(ids) for ids in sequences], max(1, min(BATCH_TOKENS, CELLS // vocabulary))):
        ids, mask = padded([sequences[number] for number in batch])
        logprobs = model.logits(model.forward(ids, mask))[:, :-1].float().log_softmax(-1)
        targets = ids[:, 1:].to(logprobs.device)
        said = logprobs.gather(-1, targets[..., None])[..., 0].double().cpu().numpy()
        right = (logprobs.argmax(-1) == targets).cpu().numpy()
        for row, number in enumerate(batch):
            last = len(sequences[number]) - 1
            own = said[row, :last]
            if not np.isfinite(own).all():
                raise SubjectError(
                    f"{model.name!r} gives probabilities that are no numbers in {model.identity['dtype']}; load it with dtype float32, or "
                    "leave this checkpoint out"
                )
            found[number] = TokenScores(own, right[row, :last])
        report(what, len(found), len(sequences))
    return [found[number] for number in range(len(sequences))]
