"""How many threads compute. Products of small matrices are no faster on several, and where the machine has other work, too, threads that
wait for one another at every product take ten times as long; besides, their number has a part in how sums are rounded."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within the context products of numpy, scipy and scikit-learn are computed on one thread."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


@contextmanager
def torch_threads(most: int) -> Iterator[None]:
    """Within the context torch computes on at most so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(most, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
