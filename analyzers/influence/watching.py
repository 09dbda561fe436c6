"""What goes into linear layers and what comes back to their outputs: per token, without the gradient of any weight.

The gradient of a sequence's loss by the weight of a linear layer is the sum over its tokens of error times input, so that these two
tell everything that influence needs of it, at the cost of a forward pass and half a backward pass.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analyzers.errors import SubjectError
from analyzers.hooks import on_input, on_output, removed
from analyzers.influence.kinds import KINDS
from analyzers.mlps import decoder_blocks, down_projections, linear_shape, outside_attention
from analyzers.padding import padded
from analyzers.text_model import TextModel

GRADIENTS = 2**24
"""Floats of gradients that are written out at once, or one gradient where that is larger."""

UNCOUNTED = -100
"""Label of a place that the loss leaves out."""

Labels = Callable[[Tensor, Tensor], Tensor]
"""From (logits, ids), [sequence, pos, token] and [sequence, pos], what each place is to say: [sequence, pos]."""


@dataclass(frozen=True)
class Traces:
    """Of a batch of sequences at one linear layer."""

    inputs: Tensor
    """float32 [sequence, pos, input]; with a last input of one where the layer has a bias."""
    errors: Tensor
    """float32 [sequence, pos, output]: of the sequence's log-probability by the layer's output; zero where there is no token."""

    def gradients(self) -> Tensor:
        """[sequence, output, input] of each sequence's log-probability by the weight, and in a last column by the bias."""
        return self.errors.transpose(1, 2) @ self.inputs

    def squares(self) -> Tensor:
        """[output, input] sum over sequences of each squared gradient; of short sequences a batch has many, and few are made at once."""
        size = self.errors.shape[2] * self.inputs.shape[2]
        total = torch.zeros(self.errors.shape[2], self.inputs.shape[2], device=self.inputs.device)
        few = max(1, GRADIENTS // size)
        for begin in range(0, len(self.inputs), few):
            some = slice(begin, begin + few)
            total += Traces(self.inputs[some], self.errors[some]).gradients().square_().sum(0)
        return total


def watched(model: TextModel, kind: str) -> dict[str, nn.Module]:
    """The linear layers of that kind in the blocks, by name, in order.

    Raises SubjectError for an encoder, an unknown kind, a mixture of experts, and where there are none.
    """
    if not model.causal:
        raise SubjectError(f"{model.name!r} is an encoder: influence is measured on what a model continues; choose a decoder")
    if kind not in KINDS:
        raise SubjectError(f"no linear layers are called {kind!r}; choose one of {', '.join(KINDS)}")
    base = model.model.base_model
    if kind != "attention":
        down_projections(base, model.model.config.get_text_config().hidden_size)  # refuses experts, which see some tokens each
    names = {module: name for name, module in base.named_modules()}
    found: dict[str, nn.Module] = {}
    for block in decoder_blocks(base):
        outside = set(outside_attention(block))
        for module in block.modules():
            wanted = kind == "all" or (module in outside) == (kind == "mlp")
            if wanted and linear_shape(module) is not None:
                found[names[module]] = module
    if not found:
        raise SubjectError(f"{model.name!r} has no linear layers of the kind {kind!r} in its blocks; choose another of {', '.join(KINDS)}")
    return found


def shapes(modules: Mapping[str, nn.Module]) -> dict[str, tuple[int, int]]:
    """By name (outputs, inputs), a bias counted as an input."""
    found = {}
    for name, module in modules.items():
        shape = linear_shape(module)
        assert shape is not None
        found[name] = (shape[1], shape[0] + _has_bias(module))
    return found


def traces(
    model: TextModel, modules: Mapping[str, nn.Module], texts: Sequence[Sequence[int]], labels: Labels, first: Sequence[int] | None = None
) -> dict[str, Traces]:
    """Of every module, by one pass over a batch; each text's last token is only said, never read.

    texts [sequence][pos] token ids, each of two at least. labels: what counts as said. first: of each text the place of the first token
    that is said, behind what is only read; by default 1.
    """
    ids, mask = padded([text[:-1] for text in texts])
    said, _ = padded([text[1:] for text in texts])
    ids, said, mask = (each.to(model.device) for each in (ids, said, mask))
    counted = mask.bool()
    if first is not None:
        places = torch.arange(ids.shape[1], device=model.device)
        counted &= places >= torch.tensor(first, device=model.device)[:, None] - 1
    with watching(model, modules) as seen:
        logits = model.logits(model.forward(ids, mask)).float()
        chosen = labels(logits.detach(), said).masked_fill(~counted, UNCOUNTED)
        loss = F.cross_entropy(logits.flatten(0, 1), chosen.flatten(), ignore_index=UNCOUNTED, reduction="sum")
        (-loss).backward()  # type: ignore[no-untyped-call]
    return {name: seen.traces(name, module, mask) for name, module in modules.items()}


def own_tokens(_logits: Tensor, said: Tensor) -> Tensor:
    """The tokens that the text itself goes on with."""
    return said


class Seen:
    """What hooks keep of one forward and backward pass."""

    def __init__(self) -> None:
        self._inputs: dict[str, Tensor] = {}
        self._errors: dict[str, Tensor] = {}

    def keep_input(self, name: str, given: Tensor) -> None:
        """[sequence, pos, input]"""
        self._inputs[name] = given.detach()

    def keep_errors(self, name: str, output: Tensor) -> Tensor:
        """[sequence, pos, output], whose gradient is kept once it is known."""

        def keep(gradient: Tensor) -> None:
            self._errors[name] = gradient

        output.register_hook(keep)  # type: ignore[no-untyped-call]
        return output

    def traces(self, name: str, module: nn.Module, mask: Tensor) -> Traces:
        """mask [sequence, pos]; once of each layer, of which nothing is kept. SubjectError for a layer that did not run."""
        if name not in self._errors:
            raise SubjectError(f"{name!r} did not run, so that nothing can be traced to it; choose another kind of layers")
        inputs, errors = self._inputs.pop(name).float(), self._errors.pop(name).float()
        real = mask[..., None].float()
        if not mask.all():  # as where texts are of one length, and a product of all layers' inputs would be a tenth of the pass
            inputs, errors = inputs * real, errors * real
        if _has_bias(module):
            inputs = torch.cat([inputs, real], -1)
        return Traces(inputs, errors)


@contextmanager
def watching(model: TextModel, modules: Mapping[str, nn.Module]) -> Iterator[Seen]:
    """Within the context one forward and backward pass is kept; no weight has a gradient."""
    first = decoder_blocks(model.model.base_model)[0]
    seen = Seen()
    # The graph begins here: no weight is part of it.
    handles = on_input(first, first, lambda hidden: hidden.detach().requires_grad_())
    for name, module in modules.items():
        handles += on_input(module, first, partial(seen.keep_input, name))
        handles += on_output(module, first, partial(seen.keep_errors, name))
    with removed(handles), torch.enable_grad():
        yield seen


def _has_bias(module: nn.Module) -> bool:
    return getattr(module, "bias", None) is not None
