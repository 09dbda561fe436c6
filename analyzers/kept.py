"""What a pass keeps of one split: for every neuron and both sides the excerpts that show it best, in a fixed amount of memory."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from analyzers.evidence import Split
from analyzers.peaks import Span, peak_positions, peak_values, stretch_peaks, windows
from analyzers.topk import RunningTop, empty_keys, read_keys

if TYPE_CHECKING:
    from analyzers.blocks import Blocks


@dataclass(frozen=True)
class Kept:
    """How many excerpts of a split are kept: top, q95 and q75 of every neuron and side, and random ones shared by all."""

    top: int
    q95: int
    q75: int
    random: int

    def __post_init__(self) -> None:
        if max(self.q95, self.q75) > self.top:
            raise ValueError(f"{self}: the q95 and q75 excerpts are drawn from the running top, so there cannot be more of them")


KEPT: Mapping[Split, Kept] = MappingProxyType(
    {"explain": Kept(10, 4, 4, 8), "select": Kept(3, 1, 1, 2), "calibrate": Kept(3, 1, 1, 2), "test": Kept(5, 4, 4, 4)}
)


@dataclass(frozen=True)
class SampleSettings:
    """What decides, with subject, blocks and batch, every byte of a pass."""

    kept: Mapping[Split, Kept] = field(default_factory=lambda: KEPT)
    margin: int = 8
    """Tokens at either end of a block where no peak is looked for, so that every peak has context on both sides."""
    q75_blocks: int = 16
    """The q75 excerpts are the best of the first so many blocks of a split: 4 of 16 sample the loudest quarter."""
    q95_blocks: int = 80
    """The same for the loudest 5 %: 4 of 80."""
    moments_every: int = 4
    """Moments and firing counts rest on every fourth block."""
    checkpoint_batches: int = 10
    """Batches between two checkpoints."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, equal for equal settings."""
        return {**vars(self), "kept": {split: asdict(kept) for split, kept in self.kept.items()}}

    def cuts(self, blocks: int, batch: int) -> Iterator[tuple[int, int]]:
        """Batches of so many blocks as (first, stop): of equal size, but that one ends where a stratum does."""
        first = 0
        while first < blocks:
            stop = min(end for end in (first + batch, blocks, self.q75_blocks, self.q95_blocks) if end > first)
            yield first, stop
            first = stop


@dataclass(frozen=True)
class Batch:
    """Some blocks of a split on their way through the subject."""

    first: int
    """Index of the first block within its split."""
    lengths: tuple[int, ...]
    """[block] tokens without prefix and padding."""
    prefix: int
    """Positions in front of every block that are never sampled."""
    span: Span
    """Where in a full block peaks are looked for."""
    ends: Tensor
    """[block] position behind the last one where a peak is looked for."""
    short: Tensor | None
    """[short block] those which end before the span does, if there are any."""

    @classmethod
    def of(cls, blocks: "Blocks", split: Split, first: int, stop: int, *, prefix: int, margin: int, device: torch.device) -> "Batch":
        """Some blocks behind a prefix of so many positions, with a margin at either end (`SampleSettings`)."""
        lengths = tuple(int(length) for length in blocks.lengths(split, first, stop))
        short = [number for number, length in enumerate(lengths) if length < blocks.block_tokens]
        return cls(
            first=first,
            lengths=lengths,
            prefix=prefix,
            span=Span(prefix + margin, blocks.block_tokens - 2 * margin),
            ends=torch.tensor(lengths, device=device) + (prefix - margin),
            short=torch.tensor(short, device=device) if short else None,
        )


class KeptSplit:
    """The running state of one split; its size is set by neurons and settings alone.

    Of every kept excerpt: a key (peak and block, see topk.py), the first token of its window, and the raw signed activations of the
    window, in the subject's dtype. Rows are the neurons of a layer on the positive, then on the negative side; slots the top excerpts
    (in no order before `finish`), then q95, then q75.
    """

    def __init__(self, neurons: tuple[int, ...], kept: Kept, blocks: int, excerpt: int, dtype: torch.dtype, device: torch.device) -> None:
        """Begin a split of so many blocks."""
        self.kept = kept
        self.first_random = first_random(blocks, kept.random)
        self.excerpt = excerpt
        slots = kept.top + kept.q95 + kept.q75
        self.tensors: dict[str, Tensor] = {}
        """By name: `<layer>.keys` [row, slot], `.start` [row, slot], `.window` [row, slot, token], `.random` [neuron, excerpt, token]"""
        for layer, width in enumerate(neurons):
            rows = 2 * width
            self.tensors |= {
                f"{layer}.keys": empty_keys(rows, slots, device),
                f"{layer}.start": torch.zeros(rows, slots, dtype=torch.int32, device=device),
                f"{layer}.window": torch.zeros(rows, slots, excerpt, dtype=dtype, device=device),
                f"{layer}.random": torch.zeros(width, kept.random, excerpt, dtype=dtype, device=device),
            }
        self._layers = range(len(neurons))
        self._dtype = dtype
        self._tops = self._running()

    def _running(self) -> list[RunningTop]:
        return [RunningTop(self.tensors[f"{layer}.keys"][:, : self.kept.top], self._dtype) for layer in self._layers]

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the state of a checkpoint."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self._tops = self._running()

    def absorb(self, layer: int, activations: Tensor, batch: Batch) -> None:
        """Keep what is worth keeping of activations [block, pos, neuron], prefix included."""
        neurons = activations.shape[2]
        peaks = stretch_peaks(activations, batch.span)
        if batch.short is not None:
            peaks[batch.short] = stretch_peaks(activations[batch.short], batch.span, batch.ends[batch.short])
        block, row, slot = self._tops[layer].enter(peak_values(peaks, activations.dtype), batch.first)
        if len(block):
            ends = batch.ends if batch.short is not None else None
            position = peak_positions(activations, batch.span, peaks, block, row, ends)
            begin = (position - self.excerpt // 2).clamp(min=batch.prefix)
            if ends is None:
                begin = begin.clamp(max=batch.prefix + batch.lengths[0] - self.excerpt)
            else:
                last = torch.tensor(batch.lengths, device=begin.device) + (batch.prefix - self.excerpt)
                begin = torch.minimum(begin, last[block])
            self.tensors[f"{layer}.start"][row, slot] = (begin - batch.prefix).to(torch.int32)
            self.tensors[f"{layer}.window"][row, slot] = windows(activations, block, begin, row % neurons, self.excerpt)
        drawn = range(self.first_random, self.first_random + self.kept.random)
        for number in range(max(batch.first, drawn.start), min(batch.first + len(batch.lengths), drawn.stop)):
            begin_here = batch.prefix + random_start(batch.lengths[number - batch.first], self.excerpt)
            centre = activations[number - batch.first, begin_here : begin_here + self.excerpt]
            self.tensors[f"{layer}.random"][:, number - drawn.start] = centre.t()

    def snapshot_q95(self) -> None:
        """The best excerpts so far become the q95 ones."""
        self._copy_best(self.kept.top, self.kept.q95)

    def snapshot_q75(self) -> None:
        """The best excerpts so far become the q75 ones."""
        self._copy_best(self.kept.top + self.kept.q95, self.kept.q75)

    def _copy_best(self, to: int, count: int) -> None:
        slots = slice(to, to + count)
        for layer in self._layers:
            keys = self.tensors[f"{layer}.keys"]
            best, order = keys[:, : self.kept.top].topk(count, dim=1)
            keys[:, slots] = best
            for name in (f"{layer}.start", f"{layer}.window"):
                tensor = self.tensors[name]
                tensor[:, slots] = tensor[torch.arange(len(tensor), device=tensor.device)[:, None], order]

    def finish(self) -> dict[str, Tensor]:
        """Sort the top excerpts, loudest first, and return what goes to disk, by name.

        `<layer>.value` [side, neuron, slot] float32, the peak, 0 in an empty slot; `.block` int32, -1 in an empty slot; `.start` int32,
        first token of the window within its block; `.window` [side, neuron, slot, token] and `.random` [neuron, excerpt, token], raw and
        signed.
        """
        self._copy_best(0, self.kept.top)
        out: dict[str, Tensor] = {}
        for name, tensor in self.tensors.items():
            layer, kind = name.split(".")
            if kind == "random":
                out[name] = tensor
                continue
            shaped = tensor.view(2, len(tensor) // 2, *tensor.shape[1:])
            if kind == "keys":
                out[f"{layer}.value"], out[f"{layer}.block"] = read_keys(shaped)
            else:
                out[name] = shaped
        return out


def prefixed(blocks: "Blocks", split: Split, first: int, stop: int, prefix: tuple[int, ...]) -> Tensor:
    """int64 [block, pos] token ids of some blocks behind a prefix; padding stands on the right."""
    text = torch.from_numpy(blocks.ids(split, first, stop).astype("int64"))
    return torch.cat((torch.tensor(prefix, dtype=torch.int64).expand(len(text), -1), text), 1)


def first_random(blocks: int, random: int) -> int:
    """The random excerpts are of a split's last blocks, since q95 and q75 are chosen from its first: what is loud there is not random."""
    return max(0, blocks - random)


def random_start(length: int, excerpt: int) -> int:
    """First token of a random excerpt: the centre of its block, so that no choice depends on any activation."""
    return (length - excerpt) // 2
