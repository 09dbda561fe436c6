"""What decides a trace: how much noise is drawn and where, and which layers are put back together."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analyzers.errors import SubjectError
from analyzers.tracing.kinds import KINDS, Kind
from analyzers.tracing.located import Located, subject_tokens
from analyzers.tracing.stack import Stack


@dataclass(frozen=True)
class Tracing:
    """All of it but the model and the fact."""

    sigma: float
    """Standard deviation of the embeddings of subjects' tokens."""
    window: int
    """Layers in which outputs of MLPs and attention are put back together, and in which attention is cut."""
    factor: float = 3.0
    samples: int = 5
    """Draws of noise."""
    kinds: tuple[Kind, ...] = KINDS
    seed: int = 0

    def number(self, located: Located, *what: object) -> int:
        """A seed of what is drawn for a fact; the same for the same prompt and target."""
        told = repr((self.seed, located.ids, located.target, located.first, located.last, *what))
        return int.from_bytes(hashlib.sha256(told.encode()).digest()[:7], "big")

    def generator(self, located: Located, *what: object) -> torch.Generator:
        """That draws by this seed."""
        return torch.Generator().manual_seed(self.number(located, *what))


def window_of(layers: int) -> int:
    """A third of the layers, at most 10 as in the paper."""
    return max(1, min(10, layers // 3))


def around(layer: int, window: int, layers: int) -> range:
    """Layers of a window that is centred at a layer, as the paper cuts it off at both ends."""
    return range(max(0, layer - window // 2), min(layers, layer - (-window // 2)))


def spread(stack: Stack, facts: Sequence[Located]) -> float:
    """Standard deviation of the embeddings of all subjects' tokens, all dimensions together.

    Raises SubjectError where they are no numbers.
    """
    ids = torch.tensor(subject_tokens(facts), device=stack.model.device)
    with torch.inference_mode():
        found = float(stack.embeddings(ids).float().std(correction=0))
    if not np.isfinite(found):
        raise SubjectError(f"the embeddings of {stack.model.name!r} are no numbers; load another model")
    return found


def places_elsewhere(located: Located, tracing: Tracing) -> list[int]:
    """As many tokens as the subject has, drawn by seed from those elsewhere, or all where they are fewer, in order."""
    rng = np.random.default_rng(tracing.number(located, "elsewhere"))
    places = located.elsewhere
    drawn: list[int] = rng.choice(places, min(len(located.subject), len(places)), replace=False).tolist() if places else []
    return sorted(drawn)
