"""What an edit adds to weights: matrices of low rank, in memory and in a file, which a model has within a context and then no more.

What comes after the context are the very tensors that were there before it, not the sum less the change.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from analyzers.errors import SubjectError
from analyzers.mlps import linear_shape
from analyzers.text_model import TextModel


@dataclass(frozen=True, eq=False)
class Delta:
    """What is added to the weight of a linear layer: left times right transposed."""

    left: Tensor
    """float32 [output, rank]"""
    right: Tensor
    """float32 [input, rank]"""

    @classmethod
    def whole(cls, matrix: Tensor) -> "Delta":
        """A change [output, input] of any rank."""
        return cls(torch.eye(len(matrix), device=matrix.device), matrix.T.contiguous())

    @property
    def matrix(self) -> Tensor:
        """[output, input]"""
        return self.left @ self.right.T


Edit = Mapping[str, Delta]
"""By the name of the linear layer in the base model."""


@contextmanager
def applied(model: TextModel, edits: Sequence[Edit]) -> Iterator[None]:
    """Within the context the model has all edits, one after the other; behind it, also after an exception, its own weights to the bit.

    Within it the model's identity tells of them, so that nothing that is kept of the edited model is taken for one of the other.
    Contexts nest. Raises SubjectError for a layer that the model does not have, or of another shape.
    """
    deltas: dict[str, list[Delta]] = {}
    for edit in edits:
        for name, delta in edit.items():
            deltas.setdefault(name, []).append(delta)
    layers = {name: _layer(model, name, each) for name, each in deltas.items()}
    own = {name: layer.weight.data for name, layer in layers.items()}
    identity = dict(model.identity)
    try:
        for name, layer in layers.items():
            weight = own[name]
            new = weight.float()
            for delta in deltas[name]:
                added = delta.matrix.to(weight.device)
                new = new + (added.T if isinstance(layer, Conv1D) else added)
            layer.weight.data = new.to(weight.dtype)
        if deltas:
            model.identity["edits"] = fingerprint(deltas, identity.get("edits", ""))
        yield
    finally:
        for name, layer in layers.items():
            layer.weight.data = own[name]
        model.identity.clear()
        model.identity.update(identity)


def fingerprint(deltas: Mapping[str, Sequence[Delta]], before: str = "") -> str:
    """What tells edits apart: a hash of all their numbers, and of the edits that they come on top of."""
    whole = hashlib.sha256(before.encode())
    for name in sorted(deltas):
        for delta in deltas[name]:
            for part in (delta.left, delta.right):
                whole.update(f"{name} {tuple(part.shape)}".encode())
                whole.update(part.detach().float().contiguous().cpu().numpy().tobytes())
    return whole.hexdigest()[:20]


def weights_hash(model: TextModel) -> str:
    """Of every parameter and buffer of a model, bit by bit."""
    whole = hashlib.sha256()
    for name, tensor in (*model.model.named_parameters(), *model.model.named_buffers()):
        plain = tensor.detach().contiguous().cpu()
        whole.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        whole.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def _layer(model: TextModel, name: str, deltas: Sequence[Delta]) -> Any:
    try:
        found = model.model.base_model.get_submodule(name)
    except AttributeError:
        raise SubjectError(f"the edit is of a layer {name!r}, which {model.name!r} does not have; edit that model anew") from None
    shape = linear_shape(found)
    for delta in deltas:
        if shape != (delta.right.shape[0], delta.left.shape[0]):
            raise SubjectError(
                f"the edit is of a layer {name!r} with {delta.right.shape[0]} inputs and {delta.left.shape[0]} outputs, and that of "
                f"{model.name!r} is of another shape; edit that model anew"
            )
    return found
