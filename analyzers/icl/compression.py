"""A context of which only some tokens are kept, each with the keys and values that it had among all of them.

What a model found in demonstrations it gathers at their labels and the formatting around them: the anchors. Kept alone, with their
original positions, they answer further queries for less than the whole context. Source: Wang et al. 2023, arXiv 2305.14160, section 4.2.

The first token is kept whatever else is: heads with nothing to find rest on it (Xiao et al. 2023, arXiv 2309.17453), and a context
without it fails for that reason alone. The paper's own anchors always hold it, its random tokens mostly do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from analyzers.answers import TOLERANCE
from analyzers.attention.door import attending, blocked
from analyzers.errors import SubjectError
from analyzers.icl.prompts import IclPrompt
from analyzers.last_logits import last_only
from analyzers.padding import like_lengths, padded
from analyzers.prefixes import Prefix
from analyzers.text_model import TextModel

_CHECKED = 8
"""Tokens of the query with which a family is checked."""


@dataclass(frozen=True, eq=False)
class CompressedContext:
    """What is kept of a context, perhaps all."""

    kept: Prefix
    """The kept tokens, their keys and values."""
    positions: tuple[int, ...]
    """[kept token] where it stands in the context, ascending."""
    length: int
    """Tokens of the whole context: what a query's positions begin with."""

    def keeping(self, positions: Sequence[int]) -> "CompressedContext":
        """Of these positions of the context and its first token; ValueError for one that is not kept here."""
        wanted = sorted({0, *positions})
        place = {position: number for number, position in enumerate(self.positions)}
        missing = [position for position in wanted if position not in place]
        if missing:
            raise ValueError(f"positions {missing} of the context are not kept")
        at = torch.tensor([place[position] for position in wanted])
        layers = tuple((keys[:, :, at.to(keys.device)], values[:, :, at.to(values.device)]) for keys, values in self.kept.layers)
        ids = tuple(self.kept.ids[number] for number in at.tolist())
        return CompressedContext(Prefix(ids, layers, 0), tuple(wanted), self.length)

    @property
    def bytes(self) -> int:
        """Of all keys and values."""
        return sum(each.numel() * each.element_size() for layer in self.kept.layers for each in layer)

    @torch.inference_mode()
    def logits(self, model: TextModel, queries: Sequence[Sequence[int]]) -> Tensor:
        """What comes behind each query, read behind this context: float32 [query, vocabulary] on the CPU.

        queries: token ids, at least one each. Raises SubjectError where the context and a query are longer than the model takes.
        """
        lengths = list(map(len, queries))
        check_length(model, self.length + max(lengths))
        found: list[Tensor] = [torch.empty(0)] * len(queries)
        for batch in like_lengths([len(self.positions) + length for length in lengths]):
            ids, mask = padded([queries[number] for number in batch])
            ends, index = np.unique([lengths[number] - 1 for number in batch], return_inverse=True)
            output = model.forward(
                ids,
                torch.cat([torch.ones(len(batch), len(self.positions), dtype=mask.dtype), mask], dim=1),
                **self.read_with(model, len(batch), ids.shape[1]),
                logits_to_keep=torch.from_numpy(ends).to(model.device),
            )
            for row, (number, end) in enumerate(zip(batch, index.tolist(), strict=True)):
                found[number] = output.logits[row, end].float().cpu()
        return torch.stack(found)

    def read_with(self, model: TextModel, rows: int, width: int) -> dict[str, Any]:
        """What a forward pass of `rows` queries of `width` tokens, padding included, needs to read them behind this context."""
        positions = torch.arange(self.length, self.length + width, device=model.device).expand(rows, -1)
        return {"past_key_values": self.kept.reading(rows), "use_cache": True, "position_ids": positions}


@torch.no_grad()
def read_context(model: TextModel, ids: Sequence[int]) -> CompressedContext:
    """A whole context, of which parts can be kept.

    Raises SubjectError for an encoder, a model whose state is more than keys and values, and a context longer than the model takes or
    than its attention sees.
    """
    if not model.causal:
        raise SubjectError(f"{model.name!r} is an encoder, which continues no text; choose a causal language model")
    if any(DynamicCache(config=model.model.config).is_linear):
        raise SubjectError(f"{model.name!r} keeps a recurrent state, of which no token can be dropped; choose a model with plain attention")
    check_length(model, len(ids) + 1)
    # Without the configuration all tokens are kept, also by layers that see a window of them.
    cache: Any = DynamicCache()
    model.forward(torch.tensor([list(ids)]), past_key_values=cache, use_cache=True, **last_only(model.model, len(ids)))
    layers = tuple((layer.keys, layer.values) for layer in cache.layers)
    return CompressedContext(Prefix(tuple(ids), layers, 0), tuple(range(len(ids))), len(ids))


def check_length(model: TextModel, length: int) -> None:
    """SubjectError for a context and a query of so many tokens that the model does not take, or does not see at once."""
    window = getattr(model.model.config.get_text_config(), "sliding_window", None) or None  # 0 where a family has none
    limit = min((most for most in (model.limit, window) if most is not None), default=length)
    if length > limit:
        seen = "takes" if limit == model.limit else "sees at once in some layers"
        raise SubjectError(
            f"the context and a query are {length} tokens and {model.name} {seen} {limit}; show fewer demonstrations (--shots), or leave "
            "out long texts"
        )


@torch.no_grad()
def check_compressible(model: TextModel, context: CompressedContext) -> None:
    """Compute a query behind a third of a whole context both ways, from what is kept and with the rest masked.

    Raises SubjectError for a model that attends in another way, such as with positions that come from the number of tokens seen, or whose
    attention cannot be masked.
    """
    ids = context.kept.ids
    query = ids[:_CHECKED]
    some = context.keeping(range(0, len(ids), 3))
    told = some.logits(model, [query])[0]
    dropped = torch.ones(len(ids) + len(query), dtype=torch.bool, device=model.device)
    dropped[list(some.positions)] = False
    dropped[len(ids) :] = False
    at = torch.zeros(len(dropped), len(dropped), dtype=torch.bool, device=model.device)
    at[len(ids) :] = dropped
    mask = blocked(at, model.dtype)
    with attending(model.model, masked=lambda _layer: mask):
        whole = torch.tensor([[*ids, *query]])
        expected = model.forward(whole, **last_only(model.model, whole.shape[1])).logits[0, -1].float().cpu()
    likely = expected.topk(min(100, len(expected))).indices
    worst = float((told.log_softmax(-1) - expected.log_softmax(-1))[likely].abs().max())
    if not worst <= TOLERANCE[model.dtype]:
        raise SubjectError(
            f"{model.name!r} answers otherwise behind what is kept of a context than with the rest of it masked (log-probabilities differ "
            f"by up to {worst:.2g}), so that its contexts cannot be compressed; choose a llama, qwen, gpt2, gpt_neox, phi or opt model"
        )


def anchors(prompt: IclPrompt) -> tuple[int, ...]:
    """Positions of the anchors: all tokens of labels and formatting of the demonstrations, and the first token."""
    return tuple(sorted({0, *_flat(prompt.label_tokens), *_flat(prompt.formatting)}))


def random_tokens(prompt: IclPrompt, rng: np.random.Generator) -> tuple[int, ...]:
    """As many positions as `anchors` has, or all there are, drawn anew: of each demonstration among its tokens without its label's.

    Source: arXiv 2305.14160, section 4.2, Hidden_random.
    """
    drawn: list[int] = []
    for place, label, formatting in zip(prompt.demonstrations, prompt.label_tokens, prompt.formatting, strict=True):
        others = [position for position in place if position not in label and position > 0]
        wanted = sum(position > 0 for position in (*label, *formatting))
        drawn += rng.choice(others, min(wanted, len(others)), replace=False).tolist()
    return tuple(sorted({0, *drawn}))


def _flat(positions: Sequence[Sequence[int]]) -> list[int]:
    return [position for some in positions for position in some]
