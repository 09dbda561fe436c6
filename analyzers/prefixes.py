"""Keys and values of texts that many prompts begin with, computed once and never changed."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

CHUNK = 64
"""A prompt is computed in chunks of so many tokens, and a prefix is shared only up to the end of a chunk: what is computed for a
token then depends on the prompt alone, to the last bit, not on what was asked before."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """The keys and values of the first tokens of a prompt."""

    ids: tuple[int, ...]
    layers: tuple[tuple[Tensor, Tensor], ...]
    """[layer] keys and values, each [1, head, pos, dim]."""
    on_grid: int
    """Tokens from the start that were computed in whole chunks."""

    def cut(self, length: int) -> "Prefix":
        """The first `length` tokens of it."""
        layers = tuple((keys[..., :length, :], values[..., :length, :]) for keys, values in self.layers)
        return Prefix(self.ids[:length], layers if length else (), min(length, self.on_grid))

    def growing(self) -> DynamicCache:
        """A cache that starts with these keys and values and grows apart from them."""
        return DynamicCache(list(self.layers))

    def reading(self, batch: int) -> DynamicCache:
        """A cache for one forward pass of so many prompts: they see this prefix and themselves, and nothing is kept of them."""
        return showing((keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1)) for keys, values in self.layers)


EMPTY = Prefix((), (), 0)


def showing(layers: Iterable[tuple[Tensor, Tensor]]) -> DynamicCache:
    """A cache for one forward pass: its texts see these keys and values [text, head, pos, dim] by layer and themselves; nothing is kept."""
    cache = DynamicCache()
    cache.layers.extend(_read_only(keys, values) for keys, values in layers)
    return cache


def _read_only(keys: Tensor, values: Tensor) -> Any:
    """A cache layer that shows these with the new ones behind them and keeps nothing."""
    make: Any = DynamicLayer
    layer = make()
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = keys, values
    layer.update = lambda new_keys, new_values, *_: (torch.cat([keys, new_keys], dim=-2), torch.cat([values, new_values], dim=-2))
    return layer


class Prefixes:
    """The prefixes used last, up to a number of tokens in all."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._kept: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()

    def exact(self, ids: Sequence[int]) -> Prefix | None:
        """The prefix of exactly these tokens, if it is kept."""
        found = self._kept.get(tuple(ids))
        if found is not None:
            self._kept.move_to_end(found.ids)
        return found

    def longest(self, ids: Sequence[int]) -> Prefix:
        """The longest run of whole chunks that these tokens begin with and that is kept; perhaps the empty one."""
        best, length = EMPTY, 0
        for prefix in self._kept.values():
            common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prefix.ids[: prefix.on_grid], ids, strict=False)))
            if common // CHUNK * CHUNK > length:
                best, length = prefix, common // CHUNK * CHUNK
        if length:
            self._kept.move_to_end(best.ids)
        return best.cut(length)

    def keep(self, prefix: Prefix) -> None:
        """Keep it, and give up those not used for longest where there are too many tokens; the newest one always stays."""
        self._kept[prefix.ids] = prefix
        while len(self._kept) > 1 and sum(map(len, self._kept)) > self.tokens:
            self._kept.popitem(last=False)
