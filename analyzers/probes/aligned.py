"""Single neurons of MLPs whose weights point along a direction of the residual stream, and what they show at spans of texts.

A neuron reads along its rows of the layers that lead to it and writes along its column of the down-projection; the direction is that
of a probe at one layer, and the neurons of all blocks are compared with it, since all read from and write to one residual stream. A
normalisation before the MLP is passed over, as in the source: Gurnee & Tegmark 2023, arXiv 2310.02207, section 4.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from analyzers.errors import SubjectError
from analyzers.hooks import on_input, removed
from analyzers.mlps import decoder_blocks, down_projections, linear_shape, written_by
from analyzers.padding import like_lengths, padded
from analyzers.progress import Report, quiet
from analyzers.states.pieces import Piece
from analyzers.states.reading import bare_pass, wanted
from analyzers.text_model import TextModel

Side = Literal["in", "out"]


@dataclass(frozen=True)
class Aligned:
    """A neuron beside a direction."""

    layer: int
    """Its block, from 0."""
    number: int
    side: Side
    """Whether the weights are those that it reads with or those that it writes with."""
    weights: str
    """The module that they are of, within its block."""
    cosine: float


@torch.inference_mode()
def most_aligned(model: TextModel, directions: npt.NDArray[np.float64], most: int = 1) -> list[list[Aligned]]:
    """[direction] the neurons with the largest cosines in size, largest first, each once with the largest of its weights.

    directions [direction, width]. Raises SubjectError for a model whose blocks or MLPs cannot be found, or that runs one block several
    times; ValueError for a direction without length.
    """
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise ValueError("a direction without length")
    wanted = torch.tensor(directions / lengths, dtype=torch.float32)
    found: list[list[Aligned]] = [[] for _ in directions]
    for layer, (block, down) in enumerate(_mlps(model)):
        sides = [(side, name, _cosines(rows, wanted)) for side, name, rows in _weights(block, down)]
        cosines = torch.stack([each for _, _, each in sides])  # [weights, neuron, direction]
        largest = cosines.abs().amax(dim=0)
        for number, kept in enumerate(found):
            for neuron in largest[:, number].topk(min(most, len(largest))).indices.tolist():
                by = int(cosines[:, neuron, number].abs().argmax())
                side, name, _ = sides[by]
                kept.append(Aligned(layer, neuron, side, name, float(cosines[by, neuron, number])))
    return [sorted(kept, key=lambda each: -abs(each.cosine))[:most] for kept in found]


@torch.inference_mode()
def neuron_states(
    model: TextModel, pieces: Sequence[Piece], neurons: Sequence[tuple[int, int]], *, report: Report = quiet
) -> npt.NDArray[np.float32]:
    """float32 [piece, neuron] what enters the down-projection at the last token of a piece's one span, of texts read as `read_states` does.

    neurons: (block, number). Raises SubjectError as `most_aligned` does; ValueError for a span that cannot be read.
    """
    mlps = _mlps(model)
    first = mlps[0][0]
    texts, places = [], []
    for piece, (read, spans) in zip(pieces, wanted(model, pieces, "last"), strict=True):
        if not spans:
            raise ValueError(f"no token that can be read covers the characters {piece.spans[0]}")
        ((_, (place,)),) = spans
        texts.append(read)
        places.append(place)
    shown = np.zeros((len(pieces), len(neurons)), np.float32)
    done = 0
    for batch in like_lengths(list(map(len, texts))):
        ids, mask = padded([texts[number] for number in batch])
        rows, at = torch.arange(len(batch)), torch.tensor([places[number] for number in batch])

        def keep(columns: Sequence[int], inner: Tensor, batch: Sequence[int] = batch, rows: Tensor = rows, at: Tensor = at) -> None:
            here = inner[rows.to(inner.device), at.to(inner.device)].float().cpu().numpy()
            for column in columns:
                shown[batch, column] = here[:, neurons[column][1]]

        handles = []
        for layer in sorted({layer for layer, _ in neurons}):
            columns = [column for column, (block, _) in enumerate(neurons) if block == layer]
            handles += on_input(mlps[layer][1], first, partial(keep, columns))
        with removed(handles):
            bare_pass(model, ids, mask)
        done += len(batch)
        report("neurons", done, len(pieces))
    return shown


def _mlps(model: TextModel) -> list[tuple[nn.Module, nn.Module]]:
    """[block] with its down-projection."""
    base = model.model.base_model
    blocks = decoder_blocks(base)
    if len(blocks) != model.layers:
        raise SubjectError(f"{model.name!r} has {len(blocks)} blocks for {model.layers} layers; its neurons belong to no single layer")
    return list(zip(blocks, down_projections(base, model.model.config.get_text_config().hidden_size), strict=True))


def _weights(block: nn.Module, down: nn.Module) -> Iterator[tuple[Side, str, Tensor]]:
    """Each [neuron, width]: those of the layers that lead from the residual stream to the neurons, and of the one that leads back."""
    shape = linear_shape(down)
    if shape is None:
        raise SubjectError(f"{type(down).__name__!r} is no linear layer; its weights cannot be compared")
    neurons, width = shape
    names = {module: name for name, module in block.named_modules()}
    for name, module in block.named_modules():
        if module is not down and (found := linear_shape(module)) and found[0] == width and not _attends(block, name):
            rows = module.weight.T if isinstance(module, Conv1D) else module.weight
            if found[1] in (neurons, 2 * neurons):
                for number, part in enumerate(rows.split(neurons)):
                    yield "in", name if found[1] == neurons else f"{name}[{number}]", part
    yield "out", names[down], written_by(down, slice(None))


def _attends(block: nn.Module, name: str) -> bool:
    """Whether a module of a block is inside one that takes an attention mask."""
    module, parts = block, name.split(".")
    for part in parts[:-1]:
        module = module.get_submodule(part)
        if "attention_mask" in inspect.signature(module.forward).parameters:
            return True
    return False


def _cosines(rows: Tensor, directions: Tensor) -> Tensor:
    """[neuron, direction]"""
    plain = rows.float().cpu()
    return nn.functional.normalize(plain, dim=1) @ directions.T
