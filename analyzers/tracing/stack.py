"""A decoder as a stack of blocks: its states can be read, changed at chosen tokens of chosen texts, and passed on from any block.

A pass that begins at a block takes what enters it as given, and does not compute what stands before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from analyzers.attentions import attentions
from analyzers.errors import SubjectError
from analyzers.hooks import on_input, on_output, removed
from analyzers.mlps import decoder_blocks, down_projections
from analyzers.saliency.value import takes
from analyzers.states.reading import bare_pass
from analyzers.text_model import TextModel
from analyzers.tracing.kinds import KINDS, Kind

SLACK = 1e-3
"""Relative difference of logits up to which two ways to compute them are one."""


class Stack:
    """See above."""

    def __init__(self, model: TextModel, kinds: Sequence[Kind] = KINDS) -> None:
        """Find the modules of these kinds, the residual stream always.

        Raises SubjectError for an encoder and for a model in which they cannot be told apart.
        """
        if not model.causal:
            raise SubjectError(
                f"{model.name!r} is an encoder, which continues no text, so that no fact can be traced in it; choose a decoder"
            )
        self.model = model
        self.blocks = decoder_blocks(model.model.base_model)
        if len(set(map(id, self.blocks))) != model.layers:
            raise SubjectError(f"{model.name!r} is no stack of {model.layers} blocks, each of its own; choose a model that is one")
        self.embeddings: nn.Module = model.model.get_input_embeddings()
        self.embedded = int(self.embeddings(torch.tensor([0], device=model.device)).shape[-1])
        """Width of the embeddings, which in some families is not that of the stream."""
        self.passes = self.texts = self.tokens = 0
        """Forward passes that were made, the texts in them, and their tokens."""
        self._returns: list[int | None] = []
        """[block] how many things it returns; None where it is one tensor, not a tuple."""
        probe = torch.tensor([[1, 2, 3]])
        self.width = self._note_returns(probe)
        self.modules: dict[Kind, list[nn.Module]] = {}
        wanted: tuple[Kind, ...] = ("residual", *kinds)
        for kind in dict.fromkeys(wanted):
            self.modules[kind] = self._modules(kind, probe)
        self.skips = True
        """Whether a pass may leave out blocks: not in a family that hands something else than the stream from block to block."""
        self.skips = self._skipping_is_right(probe)

    def _note_returns(self, probe: Tensor) -> int:
        found: dict[int, Any] = {}

        def note(number: int, _module: nn.Module, _args: object, output: Any) -> None:
            found[number] = output

        with removed([block.register_forward_hook(partial(note, number)) for number, block in enumerate(self.blocks)]):
            bare_pass(self.model, probe, torch.ones_like(probe))
        outputs = [found[number] for number in range(len(self.blocks))]
        self._returns = [len(output) if isinstance(output, tuple) else None for output in outputs]
        last = outputs[-1][0] if isinstance(outputs[-1], tuple) else outputs[-1]
        return int(last.shape[-1])

    def _modules(self, kind: Kind, probe: Tensor) -> list[nn.Module]:
        if kind == "residual":
            return self.blocks
        if kind == "mlp":
            return down_projections(self.model.model.base_model, self.width)

        def run() -> None:
            bare_pass(self.model, probe, torch.ones_like(probe))

        return [each.projection for each in attentions(self.blocks, self.model.heads, self.width, run, self.model.name)]

    def _skipping_is_right(self, probe: Tensor) -> bool:
        whole, entered = self.entering(probe, lambda: self.next_logits(probe))
        middle = len(self.blocks) // 2
        with self.begun(middle, entered[middle]):
            half = self.next_logits(probe)
        return bool((whole - half).abs().max() <= SLACK * whole.abs().max())

    @torch.inference_mode()
    def next_logits(self, ids: Tensor) -> Tensor:
        """float32 [text, token of the vocabulary] what comes behind texts [text, pos] of one length.

        Raises SubjectError where there is no head for language.
        """
        # Not the number 1: what that cuts out is no whole tensor, for which the head is copied once for each text.
        last = torch.tensor([ids.shape[1] - 1], device=self.model.device)
        fewer: dict[str, Any] = {"logits_to_keep": last} if takes(self.model.model, "logits_to_keep") else {}
        self.passes += 1
        self.texts += len(ids)
        self.tokens += ids.numel()
        return self.model.logits(self.model.forward(ids, **fewer))[:, -1].float()

    def entering(self, ids: Tensor, run: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """What `run`, which makes one pass over texts like ids, gives, and [block, text, pos, width] what entered each block in it."""
        found: list[Tensor] = []

        def keep(given: Tensor) -> None:
            found.append(given.clone())  # some families add to it in place

        with removed([handle for block in self.blocks for handle in on_input(block, self.blocks[0], keep)]):
            given = run()
        return given, torch.stack(found).reshape(len(self.blocks), *ids.shape, -1)

    def giving(self, ids: Tensor) -> tuple[Tensor, dict[Kind, Tensor]]:
        """As `next_logits`, and by kind [layer, text, pos, width] what its modules gave."""
        found: dict[Kind, list[Tensor]] = {kind: [] for kind in self.modules}

        def keep(kind: Kind, given: Tensor) -> None:
            found[kind].append(given.clone())

        hooks = [
            handle
            for kind, modules in self.modules.items()
            for module in modules
            for handle in on_output(module, self.blocks[0], partial(keep, kind))
        ]
        with removed(hooks):
            logits = self.next_logits(ids)
        return logits, {kind: torch.stack(given) for kind, given in found.items()}

    @contextmanager
    def noised(self, places: Sequence[int], noise: Tensor) -> Iterator[None]:
        """Within the context noise [text, place, width of embeddings] is added to the embeddings of tokens at places."""

        def add(_module: nn.Module, _args: object, embedded: Tensor) -> Tensor:
            new = embedded.clone()
            new[:, list(places)] += noise.to(new)
            return new

        with removed([self.embeddings.register_forward_hook(add)]):
            yield

    @contextmanager
    def changed(self, changes: Mapping[tuple[Kind, int], Callable[[Tensor], Tensor]]) -> Iterator[None]:
        """Within the context what the module of a kind and layer gives [text, pos, width] is what a function makes of it."""
        with removed(
            [handle for (kind, layer), change in changes.items() for handle in on_output(self.modules[kind][layer], self.blocks[0], change)]
        ):
            yield

    @contextmanager
    def begun(self, block: int, hidden: Tensor) -> Iterator[None]:
        """Within the context passes begin with hidden [text, pos, width] at this block; at as many as there are, behind the last one."""
        if block == len(self.blocks) and not self.skips:
            with removed(on_output(self.blocks[-1], self.blocks[0], lambda _given: hidden)):
                yield
            return
        if block == 0 or not self.skips:
            with removed(on_input(self.blocks[block], self.blocks[0], lambda _given: hidden)):
                yield
            return
        before = [vars(each).get("forward") for each in self.blocks[:block]]
        try:
            for each, returns in zip(self.blocks[:block], self._returns, strict=False):
                vars(each)["forward"] = partial(_instead, hidden, returns)
            yield
        finally:
            for each, own in zip(self.blocks[:block], before, strict=True):
                if own is None:
                    vars(each).pop("forward", None)
                else:
                    vars(each)["forward"] = own


def _instead(hidden: Tensor, returns: int | None, *_args: object, **_kwargs: object) -> Any:
    return hidden if returns is None else (hidden, *[None] * (returns - 1))
