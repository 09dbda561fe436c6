"""A text's attention as it is, weighed by what it carries, and weighed by its gradient."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from analyzers.attention.door import Attended, attending, can_intervene
from analyzers.errors import SubjectError
from analyzers.hooks import removed
from analyzers.mlps import linear_shape, written_by
from analyzers.text_model import TextModel

SLACK = 0.02
"""By how much a row of attention may miss 1, and relatively what enters an output projection what its heads found: bfloat16 rounds."""


def read_attention(model: TextModel, ids: Sequence[int]) -> Tensor:
    """What each token attends to: float32 [layer, head, query, key] on the CPU; each row sums to 1, but for the model's rounding.

    ids: a text's tokens, as TextModel.prompt gives them. Raises SubjectError for a model that gives no attention, not all of it, or
    another than it computes with.
    """
    return read_attentions(model, _one(ids))[:, 0]


@torch.inference_mode()
def read_attentions(model: TextModel, ids: Tensor) -> Tensor:
    """As `read_attention`, of texts of one length: ids [batch, pos]; float32 [layer, batch, head, query, key]."""
    found: list[Tensor] = []
    if can_intervene(model.model):
        with attending(model.model, seen=lambda one: found.append(one.probabilities)):
            model.forward(ids)
    else:
        found = [layer for layer in model.forward(ids, output_attentions=True).attentions or () if layer is not None]
    batch, length = ids.shape
    expected = (batch, model.heads, length, length)
    if len(found) != model.layers or any(layer.shape != expected for layer in found):
        raise _not_all(model, len(found))
    attention = torch.stack([layer.float().cpu() for layer in found])
    if not bool(((attention.sum(-1) - 1).abs() <= SLACK).all()):
        raise SubjectError(f"the attention of {model.name!r} does not sum to 1 over what a token sees; choose a model with plain attention")
    # Beside its default kind of attention Falcon tells one without its causal mask.
    if model.causal and attention.triu(1).any():
        raise SubjectError(f"{model.name!r} tells attention to later tokens, which it does not compute with; load it with TextModel.load")
    return attention


@torch.inference_mode()
def value_norms(model: TextModel, ids: Sequence[int]) -> Tensor:
    """How much each head writes to a query from each key: float32 [layer, head, query, key] on the CPU.

    It is the length of A_ij v_j W_O, where v_j is the head's value, with its bias, and W_O the head's rows of the layer's output
    projection, without its bias: in a family that normalises what attention writes, the length before that. Raises SubjectError for a
    model whose attention cannot be exchanged, and for one in which no linear layer follows the heads directly.
    Source: Kobayashi et al. 2020, arXiv 2004.10102, eq. 6, of single heads.
    """
    found: list[Tensor] = []

    def write(one: Attended, entering: Tensor, projection: nn.Module) -> None:
        heads = (one.probabilities @ one.values).transpose(1, 2).reshape(len(ids), -1)
        shape = linear_shape(projection)
        plain = shape is not None and shape[0] == heads.shape[1] and entering.numel() == heads.numel()
        if not plain or not _near(entering.reshape(heads.shape), heads):
            raise SubjectError(
                f"layer {one.layer} of {model.name!r} does not pass what its heads find straight into a linear layer, so that it has no "
                "value norms; leave them out, or choose a transformer with plain attention"
            )
        values = one.values[0].float()
        weight = written_by(projection, slice(0, heads.shape[1])).reshape(len(values), values.shape[2], -1)
        norms = torch.linalg.vector_norm(values @ weight, dim=-1)
        found.append((one.probabilities[0].float() * norms[:, None]).cpu())

    with _projecting(model.model, write):
        model.forward(_one(ids))
    if len(found) != model.layers:
        raise SubjectError(
            f"{len(found)} of the {model.layers} layers of {model.name!r} have value norms, and all are needed; leave them out"
        )
    return torch.stack(found)


def gradient_attention(model: TextModel, ids: Sequence[int], target: Sequence[int]) -> Tensor:
    """Attention that raises a target's log-probability: the positive part of A dL/dA, mean over heads.

    Float32 [layer, query, key] on the CPU, queries and keys over the tokens that are read (TextModel.reads): of a decoder over `ids` and
    all of the target but its last token, of an encoder over `ids`, whose masks predict. L is the sum of log p of the target's tokens, in
    nats. Raises SubjectError for a model without a head for language, or without attention that can be exchanged in every layer, and as
    TextModel.reads does.
    Source: Chefer et al. 2021, arXiv 2103.15679, eq. 5.
    """
    read, places = model.reads(ids, target)
    gates: list[Tensor] = []

    def gated(_layer: int, probabilities: Tensor) -> Tensor:
        # The gradient of a gate of ones is A dL/dA.
        gates.append(torch.ones_like(probabilities, dtype=torch.float32, requires_grad=True))
        return probabilities * gates[-1]

    with torch.enable_grad(), attending(model.model, changed=gated):
        logits = model.logits(model.forward(_one(read)))
        if len(gates) != model.layers:
            raise _not_all(model, len(gates))
        told = logits[0, places].float().log_softmax(-1)
        loss = told.gather(1, torch.tensor(target, device=told.device)[:, None]).sum()
        found = torch.autograd.grad(loss, gates)
    return torch.stack([gradient[0].clamp(min=0).mean(0).cpu() for gradient in found])


def _not_all(model: TextModel, layers: int) -> SubjectError:
    return SubjectError(
        f"{model.name!r} gives the attention of {layers} of its {model.layers} layers, each by query and key, and all are needed; "
        "choose a transformer with plain attention in all layers"
    )


def _one(ids: Sequence[int]) -> Tensor:
    return torch.tensor([list(ids)])


def _near(found: Tensor, expected: Tensor) -> bool:
    return bool((found.float() - expected.float()).abs().max() <= SLACK * expected.float().abs().max())


@contextmanager
def _projecting(model: Any, write: Callable[[Attended, Tensor, nn.Module], None]) -> Iterator[None]:
    """Within the context every layer calls write(how it attended, what enters its output projection, that projection).

    The output projection is the first linear layer to run after the layer attended.
    """
    waiting: list[Attended] = []

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        if waiting:
            write(waiting.pop(), args[0], module)

    linear = [module for module in model.modules() if linear_shape(module) is not None]
    with removed([module.register_forward_pre_hook(enter) for module in linear]), attending(model, seen=waiting.append):
        yield
