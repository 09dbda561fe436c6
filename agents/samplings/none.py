"""One reply, at temperature 0."""

from collections.abc import Sequence

from agents.confidences import Asked
from agents.samplings import NONE, SAMPLINGS, AsItIs, Sampled
from agents.self_explanations import Asking
from analyzers.errors import Failed


class Single(AsItIs):
    """Nothing is sampled."""

    name = NONE

    def asked(self, askings: Sequence[Asking], item: Sampled) -> list[Asked] | Failed:
        return [Asked(askings[0], item.text)]


SAMPLINGS.add(Single.name)(Single())
