"""The structural probe: a linear map under which squared distances are those of words in the tree, or squared lengths their depths.

Source: Hewitt and Manning 2019, "A Structural Probe for Finding Syntax in Word Representations" (N19-1419), with its losses, optimiser
and schedule. Unlike there, states are standardised by those that are trained on, the longest shortened (analyzers.probes.scaling), since
models differ in the scale of theirs. That moves the origin from which lengths are measured, so the depth probe learns its origin, too:
the map of the paper's is one that it can find.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyzers.probes.trees import Doubles, Floats, Forest, Ints
from analyzers.threads import torch_threads

Kind = Literal["distance", "depth"]

BATCH = 20
EPOCHS = 40
RATE = 1e-3
PATIENCE = 5
"""Epochs in a row without a new least loss on held-out sentences, after which training ends."""
LEAST = 1e-4
"""By how much a loss must be less to count as a new least one."""
START = 0.05
"""Entries of the map begin between minus this and this."""
SENTENCES_AT_ONCE = 200
"""Where nothing is trained."""


@dataclass(frozen=True, eq=False)
class StructuralProbe:
    """A trained, or drawn, linear map."""

    matrix: npt.NDArray[np.float32]
    """[rank, width], of standardised states."""
    origin: npt.NDArray[np.float32]
    """[rank] where mapped states have depth 0; of no meaning for distances."""
    losses: tuple[float, ...] = ()
    """[epoch] on held-out sentences, in edges a pair of words or a word; none where it was not trained."""

    def distances(self, states: Floats, forest: Forest, sentences: Sequence[int] | Ints) -> Iterator[Doubles]:
        """[word, word] predicted for each sentence; states [word of the forest, width], standardised."""
        from scipy.spatial.distance import cdist

        for projected in self._projected(states, forest, sentences):
            yield np.asarray(cdist(projected, projected, "sqeuclidean"), np.float64)

    def depths(self, states: Floats, forest: Forest, sentences: Sequence[int] | Ints) -> Iterator[Doubles]:
        """[word] predicted for each sentence."""
        for projected in self._projected(states, forest, sentences):
            yield np.square(projected - self.origin).sum(axis=1)

    def _projected(self, states: Floats, forest: Forest, sentences: Sequence[int] | Ints) -> Iterator[Doubles]:
        for sentence in np.asarray(sentences).tolist():
            yield (states[forest.words(sentence)] @ self.matrix.T).astype(np.float64)


def random_probe(width: int, rank: int, *, seed: int) -> StructuralProbe:
    """A map that was never trained, a random projection, of which lengths are measured from the mean."""
    matrix = np.random.default_rng(seed).standard_normal((rank, width)) / np.sqrt(rank)
    return StructuralProbe(matrix.astype(np.float32), np.zeros(rank, np.float32))


@torch_threads(1)
def train_probe(
    kind: Kind,
    states: npt.NDArray[np.float32],
    forest: Forest,
    sentences: Sequence[int] | Ints,
    held_out: Sequence[int] | Ints,
    *,
    rank: int,
    seed: int,
    epochs: int = EPOCHS,
) -> StructuralProbe:
    """Train on sentences of the forest; held-out ones say when the rate falls and when to stop, and which epoch is kept.

    states: float32 [word of the forest, width], standardised. Raises ValueError where there are no sentences of either kind.
    """
    if not len(sentences) or not len(held_out):
        raise ValueError(f"{len(sentences)} sentences to train on and {len(held_out)} to stop by; there must be some of both")
    draw = torch.Generator().manual_seed(seed)
    words = torch.from_numpy(states)
    matrix = ((2 * torch.rand(rank, states.shape[1], generator=draw) - 1) * START).requires_grad_()
    origin = torch.zeros(rank).requires_grad_(kind == "depth")
    learnt = [each for each in (matrix, origin) if each.requires_grad]
    optimizer = torch.optim.Adam(learnt, lr=RATE)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0, threshold=LEAST, threshold_mode="abs", eps=0.0)
    order = torch.as_tensor(np.asarray(sentences, np.intp))
    stop_by = list(_batches(kind, forest, np.asarray(held_out, np.intp), SENTENCES_AT_ONCE))
    best, kept, losses = float("inf"), [matrix.detach().clone(), origin.detach().clone()], []
    since = 0
    for _ in range(epochs):
        shuffled = order[torch.randperm(len(order), generator=draw)].numpy()
        for batch in _batches(kind, forest, shuffled, BATCH):
            optimizer.zero_grad()
            batch.losses(words, matrix, origin).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            losses.append(float(torch.cat([batch.losses(words, matrix, origin) for batch in stop_by]).mean()))
        rate = optimizer.param_groups[0]["lr"]
        schedule.step(losses[-1])
        if optimizer.param_groups[0]["lr"] < rate:
            optimizer.state.clear()
        if losses[-1] < best - LEAST:
            best, kept, since = losses[-1], [matrix.detach().clone(), origin.detach().clone()], 0
        else:
            since += 1
            if since == PATIENCE:
                break
    return StructuralProbe(kept[0].numpy(), kept[1].numpy(), tuple(losses))


@dataclass(frozen=True, eq=False)
class _Batch:
    """Sentences beside one another, the shorter ones padded."""

    kind: Kind
    rows: Tensor
    """[word of the batch] its place among all words."""
    cells: Tensor
    """[word of the batch] its place in [sentence, longest]."""
    gold: Tensor
    """[sentence, longest, longest] distances, or [sentence, longest] depths."""
    mask: Tensor
    """As gold: 1 where there is a word, or a pair of them."""
    parts: Tensor
    """[sentence] number of words, or of its square."""

    def losses(self, words: Tensor, matrix: Tensor, origin: Tensor) -> Tensor:
        """[sentence] mean absolute difference of a pair of words, or a word; words [word, width], matrix [rank, width], origin [rank]."""
        projected = words[self.rows] @ matrix.T - origin
        wide = self.gold.shape[1]
        padded = projected.new_zeros(len(self.gold) * wide, projected.shape[1])
        padded = padded.index_copy(0, self.cells, projected).view(len(self.gold), wide, -1)
        predicted = padded.square().sum(-1)
        if self.kind == "distance":
            predicted = predicted[:, :, None] + predicted[:, None, :] - 2 * padded @ padded.transpose(1, 2)
        return ((predicted - self.gold).abs() * self.mask).flatten(1).sum(1) / self.parts


def _batches(kind: Kind, forest: Forest, sentences: Ints, size: int) -> Iterator[_Batch]:
    for start in range(0, len(sentences), size):
        yield _batch(kind, forest, sentences[start : start + size])


def _batch(kind: Kind, forest: Forest, sentences: Ints) -> _Batch:
    lengths = forest.lengths[sentences]
    longest = int(lengths.max())
    place = np.arange(longest)
    there = place < lengths[:, None]
    rows = forest.starts[sentences][:, None] + place
    parts: npt.NDArray[Any] = lengths
    if kind == "depth":
        mask, gold = there, forest.depths[np.where(there, rows, 0)]
    else:
        mask, parts = there[:, :, None] & there[:, None, :], lengths**2
        pairs = forest.squares[sentences][:, None, None] + place[:, None] * lengths[:, None, None] + place
        gold = forest.distances[np.where(mask, pairs, 0)]
    return _Batch(
        kind,
        torch.from_numpy(rows[there]),
        torch.from_numpy(np.flatnonzero(there)),
        torch.from_numpy(gold.astype(np.float32)),
        torch.from_numpy(mask.astype(np.float32)),
        torch.from_numpy(parts.astype(np.float32)),
    )
