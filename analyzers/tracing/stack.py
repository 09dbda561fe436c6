"""A decoder as a stack of blocks: its states can be read, changed at chosen tokens of chosen texts, and passed on from any block.

A pass that begins at a block takes what enters it as given, and does not compute what stands before; one that reads behind remembered
tokens does not compute these.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from analyzers.attentions import attentions
from analyzers.errors import SubjectError
from analyzers.hooks import on_input, on_output, removed
from analyzers.last_logits import last_only, takes
from analyzers.mlps import decoder_blocks, down_projections
from analyzers.prefixes import showing
from analyzers.states.reading import bare_pass
from analyzers.text_model import TextModel
from analyzers.tracing.kinds import KINDS, Kind

Given = TypeVar("Given")

SLACK = 1e-3
"""Relative difference of logits up to which two ways to compute them are one."""
COARSE = 0.05
"""The same where a format of 16 bits rounds otherwise in products of another shape."""


@dataclass(frozen=True, eq=False)
class Remembered:
    """Tokens that texts of one length begin with: what later ones see of them."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    """[layer] keys and values, each [text, head, pos, width]."""

    def of(self, texts: Sequence[int], tokens: int) -> "Remembered | None":
        """The first tokens of these texts; None for no token."""
        if not tokens:
            return None
        return Remembered(tuple((keys[list(texts), :, :tokens], values[list(texts), :, :tokens]) for keys, values in self.layers))


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
        self.remembers = self._remembering_is_right(probe)
        """Whether a pass may read behind remembered tokens: not in a family that keeps more than keys and values, or none."""

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
        return _differ(whole, half) <= SLACK

    def _remembering_is_right(self, probe: Tensor) -> bool:
        if not takes(self.model.model, "past_key_values"):
            return False
        whole, cache = self.next_logits(probe), DynamicCache()
        self._last_logits(probe[:, :-1], past_key_values=cache)
        if len(cache.layers) != len(self.blocks) or any(getattr(layer, "keys", None) is None for layer in cache.layers):
            return False
        behind = self.next_logits(probe[:, -1:], behind=_remembered(cache))
        return _differ(whole, behind) <= (SLACK if self.model.dtype.itemsize >= 4 else COARSE)

    @torch.inference_mode()
    def next_logits(self, ids: Tensor, *, behind: Remembered | None = None) -> Tensor:
        """float32 [text, token of the vocabulary] what comes behind texts [text, pos] of one length, read behind remembered tokens.

        Raises SubjectError where there is no head for language.
        """
        return self._last_logits(ids) if behind is None else self._last_logits(ids, past_key_values=showing(behind.layers))

    @torch.inference_mode()
    def remember(self, ids: Tensor) -> tuple[Tensor, Remembered | None]:
        """As `next_logits`, and what later tokens would see of these; None where none may be read behind them."""
        if not self.remembers:
            return self._last_logits(ids), None
        cache = DynamicCache()
        return self._last_logits(ids, past_key_values=cache), _remembered(cache)

    def _last_logits(self, ids: Tensor, **cached: Any) -> Tensor:
        self.passes += 1
        self.texts += len(ids)
        self.tokens += ids.numel()
        mask = None
        if cached:
            cached["use_cache"] = True
            mask = torch.ones(len(ids), cached["past_key_values"].get_seq_length() + ids.shape[1], dtype=torch.long)
        output = self.model.forward(ids, mask, **cached, **last_only(self.model.model, ids.shape[1]))
        return self.model.logits(output)[:, -1].float()

    def entering(self, ids: Tensor, run: Callable[[], Given]) -> tuple[Given, Tensor]:
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


def _differ(one: Tensor, other: Tensor) -> float:
    """Relative to the largest."""
    return float((one - other).abs().max() / one.abs().max())


def _remembered(cache: DynamicCache) -> Remembered:
    layers: list[Any] = cache.layers
    return Remembered(tuple((layer.keys, layer.values) for layer in layers))


def _instead(hidden: Tensor, returns: int | None, *_args: object, **_kwargs: object) -> Any:
    return hidden if returns is None else (hidden, *[None] * (returns - 1))
