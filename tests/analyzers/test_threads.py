"""Threads are fewer within the context, and as many as before behind it, also where it ends with an error."""

from contextlib import suppress

import numpy as np
import scipy.linalg
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from analyzers.threads import one_blas_thread, torch_threads


def blas_threads() -> set[int]:
    assert np.ones(1) @ np.ones(1) == scipy.linalg.norm(np.ones(1))  # both have a library of their own, and both are loaded
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_has_one_thread_within_the_context() -> None:
    with threadpool_limits(2, user_api="blas"):
        with suppress(KeyError), one_blas_thread():
            assert blas_threads() == {1}
            raise KeyError
        assert blas_threads() == {2}


def test_torch_has_at_most_so_many() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with suppress(KeyError), torch_threads(2):
            assert torch.get_num_threads() == 2
            with torch_threads(8):
                assert torch.get_num_threads() == 2
            raise KeyError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
