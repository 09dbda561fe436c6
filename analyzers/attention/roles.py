"""How much of its attention each head gives where a role would, measured on random tokens that are repeated once.

Random tokens leave a head nothing to go by but places and repetition. All roles are measured at the same queries, the tokens of the
second copy: what a head does there adds up to at most 1, whereas in the first copy a head that seeks a repetition finds none, rests on
the first token and would pass for one that always does. Sources: Olsson et al. 2022 (arXiv 2209.11895), induction; Wang et al. 2022
(arXiv 2211.00593), duplicate tokens; Clark et al. 2019 (arXiv 1906.04341), places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyzers.attention import Role
from analyzers.errors import SubjectError
from analyzers.progress import Report, quiet

BATCH = 4
"""Sequences whose attention, of all layers, is held at a time."""
MEASURING = "measuring what heads do"

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Attend = Callable[[Tensor], Tensor]
"""Of token ids [batch, pos] the attention [layer, batch, head, query, key]."""


@dataclass(frozen=True, eq=False)
class RoleShares:
    """What heads give to the places of each role, and what they would by chance."""

    shares: dict[Role, Floats]
    """[sequence, layer, head] of each role, mean over the queries."""
    chance: dict[Role, float]
    """The same of attention that is spread evenly over what can be seen."""


def ordinary_tokens(tokenizer: Any) -> list[int]:
    """Ids of the tokens that text is made of, ascending: neither special nor added to the vocabulary, as a chat template's marks are."""
    return sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids) - set(tokenizer.added_tokens_decoder))


def role_shares(
    attend: Attend,
    *,
    vocabulary: Sequence[int],
    causal: bool,
    first: Sequence[int] = (),
    last: Sequence[int] = (),
    sequences: int = 16,
    length: int = 24,
    limit: int | None = None,
    seed: int = 0,
    report: Report = quiet,
) -> RoleShares:
    """Shares of each role over sequences of `first`, `length` distinct tokens of the vocabulary, the same again, and `last`.

    Induction is there for decoders only, an encoder sees what follows; the next token for encoders only. The same seed draws the same
    sequences. limit: tokens that the model takes, None for any number. Raises SubjectError where the vocabulary or the limit is too small,
    ValueError where places of two roles would be one.
    """
    ordinary = np.unique(np.asarray(vocabulary, np.int64))
    if len(ordinary) < length:
        raise SubjectError(
            f"head roles are measured on {length} distinct tokens and the tokenizer has {len(ordinary)} that are not special; "
            "choose a model with more tokens for them"
        )
    if limit is not None and (needed := len(first) + 2 * length + len(last)) > limit:
        raise SubjectError(
            f"head roles are measured on texts of {needed} tokens and the model takes {limit}; choose a model that takes more for them"
        )
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(ordinary, length, replace=False).tolist() for _ in range(sequences)]
    ids = torch.tensor([[*first, *tokens, *tokens, *last] for tokens in drawn])
    places = role_places(before=len(first), length=length, causal=causal)
    shares: dict[Role, list[Floats]] = {role: [] for role in places}
    for start in range(0, sequences, BATCH):
        report(MEASURING, start, sequences)
        weights = attend(ids[start : start + BATCH])
        for role, (queries, keys) in places.items():
            shares[role].append(weights[..., queries, keys].cpu().double().mean(-1).transpose(0, 1).numpy())
    report(MEASURING, sequences, sequences)
    width = ids.shape[1]
    chance = {role: float(np.mean(1 / (queries + 1) if causal else 1 / width)) for role, (queries, _) in places.items()}
    return RoleShares({role: np.concatenate(parts) for role, parts in shares.items()}, chance)


def role_places(*, before: int, length: int, causal: bool) -> dict[Role, tuple[Indices, Indices]]:
    """Queries and, for each, the key of every role that there is, in a text of two copies with so many tokens before it.

    The queries are the tokens of the second copy but for its first, whose earlier copy may be the first token of all. Raises ValueError
    for fewer than three tokens a copy, where what followed the earlier copy is the token before.
    """
    if length < 3:
        raise ValueError(f"roles of heads need at least 3 tokens a copy to differ, not {length}")
    end = before + 2 * length
    queries = np.arange(before + length + 1, end)
    places: dict[Role, tuple[Indices, Indices]] = {
        "previous": (queries, queries - 1),
        "first": (queries, np.zeros_like(queries)),
        "self": (queries, queries),
        "duplicate": (queries, queries - length),
    }
    if causal:
        return places | {"induction": (queries, queries - length + 1)}
    return places | {"next": (queries[:-1], queries[:-1] + 1)}
