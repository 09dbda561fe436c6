"""The text with a mask in place of every word that the answer needs: faithful where the answer cannot be told any more."""

from collections.abc import Sequence

from agents.self_explanations import ELICITATIONS, Said
from agents.self_explanations.rewritten import kept, match
from agents.self_explanations.written import field
from analyzers.errors import Failed
from analyzers.perturbations.mask import MASK
from analyzers.units import Units
from prompts import load


class Redaction:
    """Words that were taken out have the value 1, those that were left 0."""

    name = "redaction"
    prompt = load("explain_redaction")
    tokens_a_unit = 8

    def line(self, units: Units, unit: str) -> str:  # noqa: ARG002
        return self.prompt.render("line", mask=MASK, unit=unit)

    def read(self, text: str, units: Units, others: Sequence[str]) -> Said | Failed:
        written = field(text, self.prompt.render("field"), others)
        if isinstance(written, Failed):
            return written
        left, added = kept(written.replace(MASK, " "), units)
        if MASK not in written or len(left) == len(units):
            return Failed("explain", "nothing is redacted")
        if not left and not added:
            return Failed("explain", "everything is redacted")
        if not left or added > len(left):
            return Failed("align", f"what is left of the text is not the text ({added} words are new, {len(left)} are its own)")
        values = tuple(float(unit not in left) for unit in range(len(units)))
        return Said(written, values, match(left, added, units), rewritten=written)


ELICITATIONS.add(Redaction.name)(Redaction())
