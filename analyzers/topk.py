"""The k largest values of many rows, while the items that have them stream by."""

import torch
from torch import Tensor

_LOW = 2**32 - 1
_NEVER = -(2**62)


class RunningTop:
    """For every row the k largest positive values among the items seen so far; among equal values the earliest items.

    A value and the item that has it are one sortable integer, a key: no two are equal, so what is kept depends neither on how the items
    were cut into batches nor on the order of anything. A row with fewer than k positive values has empty slots. Slots are in no order:
    a new entry takes the place of the one it displaces, so that whatever goes with it is written once and never moved.
    """

    def __init__(self, keys: Tensor, dtype: torch.dtype) -> None:
        """Go on from keys [row, slot] int64 (at first `empty_keys`), which are updated in place; values come in `dtype`."""
        self.keys = keys
        self._floor = _value_bits(keys.amin(1)).to(dtype)
        """[row] the least value kept, 0 while a slot is empty: only what is larger can enter."""

    def enter(self, values: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Take in items first, first + 1, ...: values [item, row], no NaN. Items must come in ascending order.

        Returns which of them are among the k largest now, and where they were put: (item, row, slot), each [entry] int64, item counted
        from `first`.
        """
        beats = values > self._floor
        rows = beats.any(0).nonzero()[:, 0]
        new = _keys(values.index_select(1, rows).t(), first)
        new = torch.where(beats.index_select(1, rows).t(), new, _NEVER)
        old = self.keys.index_select(0, rows)
        least = torch.cat((old, new), 1).topk(old.shape[1], dim=1, sorted=False).values.amin(1, keepdim=True)
        # Exactly k keys of a row are at or above `least`, so as many enter as leave, and both lists run through the rows in order.
        entry, item = (new >= least).nonzero(as_tuple=True)
        slot = (old < least).nonzero(as_tuple=True)[1]
        row = rows[entry]
        self.keys[row, slot] = new[entry, item]
        self._floor[rows] = _value_bits(least[:, 0]).to(self._floor.dtype)
        return item, row, slot


def empty_keys(rows: int, slots: int, device: torch.device | str = "cpu") -> Tensor:
    """[row, slot] int64 keys of a RunningTop that has seen nothing."""
    # Distinct and below every key of a value, so that an empty slot is displaced like any other.
    return (-1 - torch.arange(slots, device=device)).repeat(rows, 1)


def read_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """(values float32, items int32) of keys of any shape; an empty slot reads (0, -1)."""
    return _value_bits(keys), torch.where(keys > 0, _LOW - (keys & _LOW), -1).to(torch.int32)


def _keys(values: Tensor, first: int) -> Tensor:
    """[row, item] int64 from positive values [row, item]: larger for larger values, then for earlier items."""
    # Positive floats sort as their bits do.
    bits = values.to(torch.float32, memory_format=torch.contiguous_format).view(torch.int32).to(torch.int64)
    items = torch.arange(first, first + values.shape[1], device=values.device)
    return (bits << 32) | (_LOW - items)


def _value_bits(keys: Tensor) -> Tensor:
    return (keys.clamp(min=0) >> 32).to(torch.int32).view(torch.float32)
