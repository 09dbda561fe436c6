"""Where in a block each neuron is loudest, on both sides, at the cost of two reductions."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """The positions of a captured sequence in which peaks are looked for."""

    begin: int
    """First position, counted from the start of the sequence, prefix included."""
    length: int

    @property
    def stride(self) -> int:
        """Positions in a stretch: the divisor of the length that makes finding a peak (stretches, then positions of one) shortest."""
        divisors = (n for n in range(1, self.length + 1) if self.length % n == 0)
        return min(divisors, key=lambda n: self.length // n + n)


def stretch_peaks(activations: Tensor, span: Span, ends: Tensor | None = None) -> Tensor:
    """[block, stretch, row] largest activation of either side in every stretch of the span; meaningless where the side is not positive.

    activations [block, pos, neuron]; row is the neuron on the positive, then on the negative side. ends [block]: the position behind the
    last one that counts, where that is not the end of the span. Returned as comparable numbers: `peak_values` makes them activations.
    """
    part = activations[:, span.begin : span.begin + span.length]
    if ends is not None:
        part = part.masked_fill(_beyond(part, span.begin, ends), 0)
    # amax, not max(dim): that one also returns indices and costs several times as much.
    stretches = part.view(len(part), -1, span.stride, part.shape[2])
    if part.dtype in (torch.bfloat16, torch.float16) and part.device.type == "cpu":
        # 16-bit floats are slow to compare on a CPU; where positive they order as their bits do, and with the sign bit flipped so do the
        # negative ones. What is negative reads as a negative integer and loses to anything positive.
        bits = stretches.view(torch.int16)
        return torch.cat((bits.amax(2), (bits ^ -32768).amax(2)), 2)
    return torch.cat((stretches.amax(2), stretches.amin(2).neg_()), 2)


def peak_values(peaks: Tensor, dtype: torch.dtype) -> Tensor:
    """[block, row] the loudest of [block, stretch, row], as activations; infinite, so that it is kept and seen, where one is no number."""
    loudest = peaks.amax(1)
    values = loudest.view(dtype) if loudest.dtype == torch.int16 else loudest
    return values.nan_to_num_(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def peak_positions(activations: Tensor, span: Span, peaks: Tensor, block: Tensor, row: Tensor, ends: Tensor | None = None) -> Tensor:
    """[entry] position of the peak of some blocks and rows (block, row: [entry]); the first of several equal ones."""
    neurons = activations.shape[2]
    begin = span.begin + span.stride * peaks[block, :, row].argmax(1)
    stretch = windows(activations, block, begin, row % neurons, span.stride)
    loudness = torch.where((row < neurons)[:, None], stretch, -stretch)
    if ends is not None:
        inside = begin[:, None] + torch.arange(span.stride, device=begin.device) < ends[block][:, None]
        loudness = torch.where(inside, loudness, 0)
    return begin + loudness.argmax(1)


def windows(activations: Tensor, block: Tensor, begin: Tensor, neuron: Tensor, length: int) -> Tensor:
    """[entry, pos] activations of a neuron of a block from a position on; block, begin, neuron: [entry]."""
    return activations.unfold(1, length, 1)[block, begin, neuron]


def _beyond(part: Tensor, begin: int, ends: Tensor) -> Tensor:
    return (begin + torch.arange(part.shape[1], device=part.device) >= ends[:, None])[:, :, None]
