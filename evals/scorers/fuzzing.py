"""Shows each firing excerpt twice, with the tokens it fires on marked and with as many others marked, and asks which marks fit.

Source: Paulo et al. 2024 (arXiv 2410.13928). Wrong marks are drawn anew for every excerpt, lie on tokens whose activations are verifiably
low, in stretches as long as the right ones: neither their number, length nor sort tells them apart.
"""

from functools import partial

from agents.llm import LLM
from analyzers.errors import Failed
from evals.scorers import SCORERS
from evals.scoring.mark_placing import draw_for, fires, listed, moved, shown, silent
from evals.scoring.material import Material
from evals.scoring.yes_no import Asked, YesNo


class Fuzzing(YesNo):
    """The fuzzing scorer around a chat model."""

    def __init__(self, llm: LLM, *, contrast: bool = False) -> None:
        super().__init__(llm, "fuzzing", "fuzzing", contrast=contrast)

    def questions(self, material: Material, seed: int) -> list[Asked] | Failed:
        """Two a firing item; one that has too few silent tokens for wrong marks is left out."""
        asked = []
        for item in material.firing:
            excerpt = item.excerpt
            right = fires(excerpt, material.peak)
            wrong = moved(right, silent(excerpt, material.peak), excerpt.tokens, draw_for(seed, excerpt))
            if wrong is not None:
                for name, marked in (("right", right), ("wrong", wrong)):
                    text, again = shown(excerpt, marked), listed(excerpt, marked)
                    asked.append(Asked(f"{excerpt.key} {name}", excerpt.document, text, name == "right", item.group, again))
        return asked or Failed("score", f"none of {len(material.firing)} firing excerpts has enough silent tokens to be marked instead")


SCORERS.add("fuzzing", needs=frozenset({"chat"}), rank=2)(Fuzzing)
SCORERS.add("fuzzing-contrast", needs=frozenset({"chat"}), rank=3)(partial(Fuzzing, contrast=True))
