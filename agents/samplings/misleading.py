"""Misleading: hints that suggest an answer drawn at random, the weakest below the first reply's text, the strongest below the last one's.

Whoever knows the answer keeps to it. Each at temperature 0.
"""

from collections.abc import Sequence

import numpy as np

from agents.confidences import Asked
from agents.samplings import SAMPLINGS, AsItIs, Sampled
from agents.self_explanations import Asking
from agents.untrusted import one_line
from analyzers.errors import Failed
from prompts import Prompt, load

_HINTS = load("misleading")


class Misleading(AsItIs):
    """Hints are spread evenly over their strengths."""

    name = "misleading"
    prompts: tuple[Prompt, ...] = (_HINTS,)

    def asked(self, askings: Sequence[Asking], item: Sampled) -> list[Asked] | Failed:
        """Failed where there is no answer to suggest."""
        if not item.suggested:
            return Failed("mislead", "no other answer is known that a hint could suggest")
        strengths = list(_HINTS.sections)
        places = np.linspace(0, len(strengths) - 1, len(askings)).round().astype(int).tolist()
        drawn = np.random.default_rng([item.seed, item.number]).integers(len(item.suggested), size=len(askings)).tolist()
        return [
            Asked(asking, item.text, _HINTS.render(strengths[place], answer=one_line(item.suggested[which])))
            for asking, place, which in zip(askings, places, drawn, strict=True)
        ]


SAMPLINGS.add(Misleading.name)(Misleading())
