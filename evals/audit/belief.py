"""What a model holds of a text: how sure it is of each label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analyzers.errors import Failed
from analyzers.units import Kept


@dataclass(frozen=True)
class Belief:
    """The model's answer to one text and the probabilities it gives to all labels."""

    label: str | None
    """Its answer; None where it is undecided. Not always the label of the largest probability: stated confidence may be below chance."""
    probabilities: Mapping[str, float]

    @classmethod
    def stated(cls, label: str, confidence: float, labels: tuple[str, ...]) -> "Belief":
        """From a label and a stated confidence in it, 0 to 1; the other labels share the rest."""
        rest = (1 - confidence) / (len(labels) - 1)
        return cls(label, {name: confidence if name == label else rest for name in labels})

    @classmethod
    def undecided(cls, labels: tuple[str, ...]) -> "Belief":
        """All labels alike: what the 2023 paper takes a text without any unit for."""
        return cls(None, dict.fromkeys(labels, 1 / len(labels)))


Believes = Callable[[Kept], Belief | Failed]
"""The model's belief about an item of which only these units are kept."""
