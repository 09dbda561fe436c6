"""Self-random: the same question at a temperature above 0.

What takes no temperature, such as reasoning models, is asked several times at its own.
"""

from collections.abc import Sequence

from agents.confidences import Asked
from agents.samplings import SAMPLINGS, TEMPERATURE, AsItIs, Sampled, seed_of
from agents.self_explanations import Asking
from analyzers.errors import Failed


class SelfRandom(AsItIs):
    """Replies differ in their seed."""

    name = "self-random"

    def asked(self, askings: Sequence[Asking], item: Sampled) -> list[Asked] | Failed:
        return [Asked(asking, item.text, temperature=TEMPERATURE, seed=seed_of(item.seed, number)) for number, asking in enumerate(askings)]


SAMPLINGS.add(SelfRandom.name)(SelfRandom())
