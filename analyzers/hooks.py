"""Reading and changing what runs through the modules of a model, during its forward passes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def removed(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    """Hooks come off when the context ends, also by an exception."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def noting_shape(first: nn.Module) -> tuple[list[RemovableHandle], list[int]]:
    """A hook on the first decoder block, and what holds (batch, pos) of the forward pass that runs: some families flatten it later."""
    shape: list[int] = []

    def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shape[:] = _entering(args, kwargs).shape[:2]

    return [first.register_forward_pre_hook(note, with_kwargs=True)], shape


def _entering(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    found: Tensor = args[0] if args else kwargs["hidden_states"]
    return found


def on_input(module: nn.Module, first: nn.Module, fn: Callable[[Tensor], Tensor | None]) -> list[RemovableHandle]:
    """fn sees the first input of a module as [batch, pos, ...] in every forward pass, and what it returns, if anything, replaces it.

    first: the model's first decoder block.
    """
    handles, shape = noting_shape(first)

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        given = _entering(args, kwargs)
        new = fn(given.reshape(*shape, given.shape[-1]))
        if new is None:
            return None
        new = new.to(given.dtype).reshape(given.shape)
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    return [*handles, module.register_forward_pre_hook(hook, with_kwargs=True)]


def on_output(module: nn.Module, first: nn.Module, fn: Callable[[Tensor], Tensor | None]) -> list[RemovableHandle]:
    """As `on_input`, for the output of a module, or the first one where it returns several."""
    handles, shape = noting_shape(first)

    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        given: Tensor = output[0] if isinstance(output, tuple) else output
        new = fn(given.reshape(*shape, given.shape[-1]))
        if new is None:
            return None
        new = new.to(given.dtype).reshape(given.shape)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    return [*handles, module.register_forward_hook(hook)]
