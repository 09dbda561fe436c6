"""The curvature of a language model's log-probability by one weight matrix, as Kronecker factors, and what its inverse does to a gradient.

Sums run over sequences: of one, the gradient by the weight is V = sum over tokens of error x input. Source: Grosse et al. 2023 (Studying
Large Language Model Generalization with Influence Functions), equations 16 to 20; George et al. 2018 (EK-FAC).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from analyzers.influence.watching import Traces

DAMPING = 0.1
"""Of the mean eigenvalue (Grosse et al. 2023)."""

LARGE, BLOCKS = 256, 4
"""Size from which a covariance is computed by blocks, and how many to a side."""


@dataclass
class Covariances:
    """Second moments over tokens of what goes into a layer and of what comes back to its output."""

    inputs: Tensor
    """float32 [input, input], summed"""
    errors: Tensor
    """float32 [output, output], summed"""

    @classmethod
    def none(cls, shape: tuple[int, int], device: torch.device) -> "Covariances":
        """Of nothing yet; shape (outputs, inputs)."""
        return cls(*(torch.zeros(size, size, device=device) for size in reversed(shape)))

    def add(self, traces: Traces) -> None:
        """Count a batch in."""
        for total, each in ((self.inputs, traces.inputs), (self.errors, traces.errors)):
            _add_square(total, each.flatten(0, 1))

    def basis(self, tokens: int, sequences: int) -> "Basis":
        """Their eigenvectors; tokens, sequences: how many were counted in. Raises ArithmeticError for what is not finite."""
        if not (self.inputs.isfinite().all() and self.errors.isfinite().all()):
            raise ArithmeticError("the covariances are not finite")
        of_inputs, inputs = torch.linalg.eigh(self.inputs / tokens)
        of_errors, outputs = torch.linalg.eigh(self.errors / tokens)
        # eigh gives columns; rows are what a file takes, and all at once would be a second copy of them.
        inputs, outputs = inputs.contiguous(), outputs.contiguous()
        return Basis(inputs, outputs, tokens / sequences * torch.outer(of_errors.clamp(min=0), of_inputs.clamp(min=0)))


def _add_square(total: Tensor, rows: Tensor) -> None:
    """Add rows' [row, size] product with itself, of large ones by blocks of which only those on and above the diagonal are computed."""
    size = len(total)
    step = size if size < LARGE else -(-size // BLOCKS)
    for begin in range(0, size, step):
        end = begin + step
        total[begin:end, begin:].addmm_(rows[:, begin:end].T, rows[:, begin:])
        total[end:, begin:end] = total[begin:end, end:].T


@dataclass(frozen=True)
class Basis:
    """Where the curvature of a weight is nearly diagonal."""

    inputs: Tensor
    """[input, eigenvector] of the inputs' covariance"""
    outputs: Tensor
    """[output, eigenvector] of the errors' covariance"""
    kfac: Tensor
    """[eigenvector of the errors, eigenvector of the inputs] curvature, were inputs and errors, and tokens, independent"""

    def squares(self, traces: Traces) -> Tensor:
        """[output, input] sum over sequences of each squared gradient in this basis.

        Tokens are rotated, not gradients: cheaper where a sequence has fewer tokens than the layer inputs.
        """
        return Traces(traces.inputs @ self.inputs, traces.errors @ self.outputs).squares()


@dataclass(frozen=True)
class Curvature:
    """A diagonal in a basis: what every method comes down to."""

    values: Tensor
    """[output, input], not negative"""
    basis: Basis | None = None
    """None for that of the weight itself."""

    def damping(self, share: float = DAMPING) -> float:
        """What is added to every value."""
        return share * float(self.values.mean())

    def solve(self, gradient: Tensor, share: float = DAMPING) -> Tensor:
        """(curvature + damping)^-1 times a gradient [output, input].

        Raises ArithmeticError where nothing is curved, so that there is no damping either.
        """
        damped = self._damped(share)
        if self.basis is None:
            return gradient / damped
        turned = self.basis.outputs.T @ gradient @ self.basis.inputs
        return self.basis.outputs @ (turned / damped) @ self.basis.inputs.T

    def solve_within(self, traces: Traces, share: float = DAMPING) -> Tensor:
        """[output, input] the same of the gradient of a single sequence, left in the basis, where singular values are the same.

        The few tokens are rotated, not the gradient. Raises as `solve`.
        """
        damped = self._damped(share)
        inputs, outputs = traces.inputs, traces.errors
        if self.basis is not None:
            inputs, outputs = inputs @ self.basis.inputs, outputs @ self.basis.outputs
        return Traces(inputs, outputs).gradients()[0] / damped

    def out_of(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Factors [output, rank] and [input, rank] in the basis as they are in the weight itself."""
        return (left, right) if self.basis is None else (self.basis.outputs @ left, self.basis.inputs @ right)

    def _damped(self, share: float) -> Tensor:
        damping = self.damping(share)
        if damping <= 0:
            raise ArithmeticError("nothing that was fitted to moves this layer")
        return self.values + damping
