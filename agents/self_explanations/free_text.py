"""Why, in the model's own words, and the words of the text that it claims to have gone by."""

from collections.abc import Sequence

from agents.self_explanations import ELICITATIONS, Said
from agents.self_explanations.word_alignment import places
from agents.self_explanations.written import field, listed
from analyzers.errors import Failed
from analyzers.units import Units
from prompts import load


class FreeText:
    """Units of what is claimed have the value 1, all others 0."""

    name = "free-text"
    prompt = load("explain_free_text")
    tokens_a_unit = 8

    def line(self, units: Units, unit: str) -> str:  # noqa: ARG002
        return self.prompt.render("line", unit=unit)

    def read(self, text: str, units: Units, others: Sequence[str]) -> Said | Failed:
        claims = self.prompt.render("claims")
        why = field(text, self.prompt.render("field"), [*others, claims])
        rests = field(text, claims, [*others, self.prompt.render("field")])
        if isinstance(why, Failed):
            return why
        if isinstance(rests, Failed):
            return rests
        named = listed(rests)
        if isinstance(named, Failed):
            return named
        found, match = places(named, units.texts)
        if not any(found):
            return Failed("align", f"nothing that it claims to rest on is in the text: {rests[:80]!r}")
        claimed = frozenset().union(*found)
        return Said(why, tuple(float(unit in claimed) for unit in range(len(units))), match, claims=tuple(some for some in found if some))


ELICITATIONS.add(FreeText.name)(FreeText())
