"""Mean, variance and firing of every neuron, summed while activations stream by."""

import torch
from torch import Tensor

FIRING_SDS = 3.0
"""A side fires where the activation is further than this many standard deviations from the mean, in its direction."""


class RunningMoments:
    """Sums over the tokens seen so far for the neurons of every layer: float32 within a block, float64 over blocks.

    What counts as firing needs mean and deviation first: `freeze` takes them from what was seen until then, and only tokens after it
    are counted.
    """

    def __init__(self, neurons: tuple[int, ...], device: torch.device) -> None:
        # An Apple GPU has no float64.
        place = torch.device("cpu") if device.type == "mps" else device

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=place)

        self.sums = [zeros(2, width) for width in neurons]
        """[layer][sum or sum of squares, neuron]"""
        self.fired = [zeros(2, width) for width in neurons]
        """[layer][side, neuron] tokens on which the side fired."""
        self.tokens = 0
        self.firing_tokens = 0
        self._bounds: list[Tensor] | None = None
        """[layer][high or low, neuron] float32"""

    def count(self, tokens: int) -> None:
        """Note how many tokens the layers are about to be shown."""
        self.tokens += tokens
        if self._bounds is not None:
            self.firing_tokens += tokens

    def add(self, layer: int, activations: Tensor) -> None:
        """Sum activations [pos, neuron] of one block."""
        x = activations.float()
        # Sums as matrix products: several times as fast as sum(0), the more so for the booleans of the firing counts.
        ones = torch.ones(len(x), device=x.device)
        sums, fired = self.sums[layer], self.fired[layer]
        sums[0] += (ones @ x).to(sums.device)
        sums[1] += (ones @ x.square()).to(sums.device)
        if self._bounds is not None:
            high, low = self._bounds[layer].to(x.device)
            marks = torch.empty_like(x)
            fired[0] += (ones @ torch.gt(x, high, out=marks)).to(fired.device)
            fired[1] += (ones @ torch.lt(x, low, out=marks)).to(fired.device)

    def mean(self, layer: int) -> Tensor:
        """[neuron] float64"""
        return self.sums[layer][0] / self.tokens

    def variance(self, layer: int) -> Tensor:
        """[neuron] float64"""
        return (self.sums[layer][1] / self.tokens - self.mean(layer) ** 2).clamp(min=0)

    def freeze(self) -> None:
        """Fix from the tokens seen so far beyond what a side fires."""
        self._bounds = []
        for layer in range(len(self.sums)):
            mean, spread = self.mean(layer), FIRING_SDS * self.variance(layer).sqrt()
            self._bounds.append(torch.stack((mean + spread, mean - spread)).float())

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs of it, by name."""
        tensors = {"moments.tokens": torch.tensor([self.tokens, self.firing_tokens])}
        for layer, (sums, fired) in enumerate(zip(self.sums, self.fired, strict=True)):
            tensors |= {f"moments.{layer}.sums": sums, f"moments.{layer}.fired": fired}
            if self._bounds is not None:
                tensors[f"moments.{layer}.bounds"] = self._bounds[layer]
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over the state of a checkpoint."""
        self.tokens, self.firing_tokens = tensors["moments.tokens"].tolist()
        for layer in range(len(self.sums)):
            self.sums[layer].copy_(tensors[f"moments.{layer}.sums"])
            self.fired[layer].copy_(tensors[f"moments.{layer}.fired"])
        if "moments.0.bounds" in tensors:
            self._bounds = [tensors[f"moments.{layer}.bounds"].to(self.sums[layer].device) for layer in range(len(self.sums))]
