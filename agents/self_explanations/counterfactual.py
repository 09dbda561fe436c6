"""The text with few changes, so that the answer would be another one: faithful where the model then gives another one."""

from collections.abc import Sequence

from agents.self_explanations import ELICITATIONS, Said
from agents.self_explanations.rewritten import kept, match
from agents.self_explanations.written import field
from analyzers.errors import Failed
from analyzers.units import Units
from prompts import load

LEAST = 0.3
"""Share of the units that must be left: with fewer it is another text, and no edit of this one."""


class Counterfactual:
    """Words that were changed or taken out have the value 1, those that were left 0."""

    name = "counterfactual"
    prompt = load("explain_counterfactual")
    tokens_a_unit = 8

    def line(self, units: Units, unit: str) -> str:  # noqa: ARG002
        return self.prompt.render("line", unit=unit)

    def read(self, text: str, units: Units, others: Sequence[str]) -> Said | Failed:
        written = field(text, self.prompt.render("field"), others)
        if isinstance(written, Failed):
            return written
        left, added = kept(written, units)
        if len(left) == len(units) and not added:
            return Failed("explain", "nothing is changed")
        if len(left) < LEAST * len(units):
            return Failed("align", f"only {len(left)} of {len(units)} words of the text are left in its edit")
        values = tuple(float(unit not in left) for unit in range(len(units)))
        return Said(written, values, match(left, added, units), rewritten=written)


ELICITATIONS.add(Counterfactual.name)(Counterfactual())
