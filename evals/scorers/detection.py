"""Asks of each excerpt whether it has what the explanation says: excerpts that the site fires in against excerpts that it does not.

Source: Paulo et al. 2024 (arXiv 2410.13928), with one excerpt a question, the probability of yes instead of a word, and negatives whose
activations were looked at.
"""

from functools import partial

from agents.llm import LLM
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scoring.material import Material
from evals.scoring.yes_no import Asked, YesNo


class Detection(YesNo):
    """The detection scorer around a chat model."""

    def __init__(self, llm: LLM, *, contrast: bool = False) -> None:
        super().__init__(llm, "detection", "detection", contrast=contrast)

    def questions(self, material: Material, seed: int) -> list[Asked] | Failed:  # noqa: ARG002
        """One an item; nothing is drawn."""
        firing, silent = len(material.firing), len(material.silent)
        if not firing or not silent:
            return Failed("score", f"firing and silent excerpts are needed; there are {firing} and {silent}")
        return [asked(item.excerpt, item.fires, item.group) for item in material.items]


def asked(excerpt: Excerpt, fires: bool, group: str, weight: float = 1.0) -> Asked:
    """The question about a whole excerpt."""
    return Asked(excerpt.key, excerpt.document, one_line(excerpt.text).strip(), fires, group, weight=weight)


SCORERS.add("detection", needs=frozenset({"chat"}), rank=0)(Detection)
SCORERS.add("detection-contrast", needs=frozenset({"chat"}), rank=1)(partial(Detection, contrast=True))
