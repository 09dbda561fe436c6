"""A number for every word: how much it speaks for the answer. After Huang et al. 2023 (arXiv 2310.11207), with values signed for the answer
given rather than for one of the labels."""

from collections.abc import Sequence

from agents.self_explanations import ELICITATIONS, Said
from agents.self_explanations.word_alignment import align
from agents.self_explanations.written import field, pairs, without
from analyzers.errors import Failed
from analyzers.units import Units
from prompts import load

LEAST = 0.8
"""Share of the units with a letter or digit that must be found in what was written."""


class Attribution:
    """A word that nothing was said of speaks neither for nor against the answer."""

    name = "attribution"
    prompt = load("explain_attribution")
    tokens_a_unit = 16

    def line(self, units: Units, unit: str) -> str:  # noqa: ARG002
        return self.prompt.render("line", unit=unit)

    def read(self, text: str, units: Units, others: Sequence[str]) -> Said | Failed:
        written = field(text, self.prompt.render("field"), others)
        found = pairs(without(text, others) if isinstance(written, Failed) else written)
        if isinstance(found, Failed):
            return found
        values, match = align(found, units.texts)
        if match.share < LEAST:
            return Failed("align", f"only {match.share:.0%} of the words are in the explanation ({match.invented} are in no text)")
        shown = "" if isinstance(written, Failed) else written
        return Said(shown, tuple(0.0 if value is None else value for value in values), match)


ELICITATIONS.add(Attribution.name)(Attribution())
