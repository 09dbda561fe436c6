import itertools

import hypothesis.strategies as st
import torch
from hypothesis import given, settings

from analyzers.topk import RunningTop, empty_keys, read_keys

# Few different values, so that ties are frequent.
VALUES = st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 3e38, float("inf")]), min_size=3, max_size=3), max_size=40)


def stream(values: list[list[float]], k: int, cuts: list[int], dtype: torch.dtype) -> torch.Tensor:
    keys = empty_keys(3, k)
    top = RunningTop(keys, dtype)
    bounds = [0, *sorted({cut for cut in cuts if cut < len(values)}), len(values)]
    for first, stop in itertools.pairwise(bounds):
        if stop > first:
            top.enter(torch.tensor(values[first:stop], dtype=dtype), first)
    return keys


@given(VALUES, st.integers(1, 6), st.lists(st.integers(1, 39), max_size=6))
@settings(deadline=None)
def test_keeps_what_sorting_everything_keeps(values: list[list[float]], k: int, cuts: list[int]) -> None:
    kept, items = read_keys(stream(values, k, cuts, torch.float32))
    for row in range(3):
        positive = [(-value[row], item) for item, value in enumerate(values) if value[row] > 0]
        expected = [(torch.tensor(-negated).item(), item) for negated, item in sorted(positive)[:k]]
        got = sorted(((v, i) for v, i in zip(kept[row].tolist(), items[row].tolist(), strict=True) if i >= 0), key=lambda x: (-x[0], x[1]))
        assert got == expected


@given(VALUES, st.integers(1, 6), st.lists(st.integers(1, 39), max_size=6), st.lists(st.integers(1, 39), max_size=6))
@settings(deadline=None)
def test_is_the_same_however_the_items_were_cut(values: list[list[float]], k: int, some: list[int], others: list[int]) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        a, b = stream(values, k, some, dtype), stream(values, k, others, dtype)
        assert torch.equal(a.sort(1).values, b.sort(1).values)


@given(VALUES, st.integers(1, 6))
@settings(deadline=None)
def test_goes_on_from_stored_keys(values: list[list[float]], k: int) -> None:
    keys = empty_keys(3, k)
    for item, value in enumerate(values):
        RunningTop(keys, torch.float32).enter(torch.tensor([value]), item)
    assert torch.equal(keys.sort(1).values, stream(values, k, [], torch.float32).sort(1).values)


def test_tells_what_entered_where() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(60, 50, generator=generator)
    keys = empty_keys(50, 4)
    top = RunningTop(keys, torch.float32)
    payload = torch.full((50, 4), -1)
    entered = 0
    for first in range(0, 60, 7):
        item, row, slot = top.enter(values[first : first + 7], first)
        assert len(torch.unique(torch.stack((row, slot)), dim=1).T) == len(row)
        payload[row, slot] = first + item
        entered += len(row)
    assert torch.equal(payload, read_keys(keys)[1].long())
    assert 50 * 4 < entered < 50 * 4 * (1 + torch.tensor(60 / 4).log()) * 1.5


def test_nothing_enters_without_a_positive_value() -> None:
    keys = empty_keys(2, 3)
    item, row, slot = RunningTop(keys, torch.float32).enter(torch.tensor([[0.0, -1.0], [-2.0, 0.0]]), 0)
    assert len(item) == len(row) == len(slot) == 0
    assert read_keys(keys)[1].tolist() == [[-1, -1, -1]] * 2


def test_values_of_every_dtype_come_back_unchanged() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        values = (torch.rand(5, 8) + 0.01).to(dtype)
        keys = empty_keys(8, 5)
        RunningTop(keys, dtype).enter(values, 0)
        assert torch.equal(read_keys(keys)[0].sort(1).values, values.t().float().sort(1).values)
