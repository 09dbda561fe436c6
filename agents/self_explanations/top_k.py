"""The words that decided, most decisive first: a fifth of the words, and one at least, as in Huang et al. 2023 (arXiv 2310.11207)."""

from collections.abc import Sequence

from agents.self_explanations import ELICITATIONS, Said
from agents.self_explanations.word_alignment import places
from agents.self_explanations.written import field, listed
from analyzers.errors import Failed
from analyzers.units import Units
from prompts import load

SHARE = 0.2


class TopK:
    """Values fall from the first word named to the last; what is not named has 0. A word means all its places in the text."""

    name = "top-k"
    prompt = load("explain_top_k")
    tokens_a_unit = 8

    def line(self, units: Units, unit: str) -> str:
        return self.prompt.render("line", count=str(count(len(units))), unit=unit)

    def read(self, text: str, units: Units, others: Sequence[str]) -> Said | Failed:
        written = field(text, self.prompt.render("field"), others)
        if isinstance(written, Failed):
            return written
        named = listed(written)
        if isinstance(named, Failed):
            return named
        named = named[: count(len(units))]
        found, match = places(named, units.texts)
        if not any(found):
            return Failed("align", f"none of the words named is in the text: {', '.join(named)[:80]!r}")
        values = [0.0] * len(units)
        for rank, some in enumerate(found):
            for unit in some:
                values[unit] = max(values[unit], float(len(named) - rank))
        return Said(written, tuple(values), match)


def count(units: int) -> int:
    """How many words are asked for."""
    return max(1, int(SHARE * units))


ELICITATIONS.add(TopK.name)(TopK())
