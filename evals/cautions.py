"""What to mind when reading a site's score: no explanation passes for good where the instrument, or the comparison, cannot say so."""

from dataclasses import dataclass

from evals.results import Instrument, SiteResult, Value, headline

CHANCE = 0.5
"""`within` of a simulator that cannot tell true explanations from false ones: the share it ranks rightly on one and the same neuron."""
LEVEL = 0.05
"""From this q-value on, chance explains the score."""

_CONTROLS = {
    "token_lookup": "a look-up of the token",
    "bigram_lookup": "a look-up of the token and the one before",
    "lexical": "finding the explanation's own words in the text",
}


@dataclass(frozen=True)
class Caution:
    tag: str
    """Two or three words for a table."""
    text: str
    """One sentence."""


def cautions(site: SiteResult, instrument: Instrument | None) -> list[Caution]:
    """What stands against taking the site's score as evidence for its explanation, gravest first; nothing for a site without a score."""
    name = headline(site.scores)
    score = site.scores.get(name)
    if not isinstance(score, Value):
        return []
    found = [_instrument(instrument)]
    if site.q_value is None or site.q_value >= LEVEL:
        shown = "no p-value could be had" if site.q_value is None else f"q = {site.q_value:.2f}"
        found.append(
            Caution("not significant", f"Simulations exchanged between documents do as well too often to rule out chance: {shown}.")
        )
    shuffled = site.controls.get("shuffled", {}).get(name)
    if isinstance(shuffled, Value) and shuffled.value >= score.value:
        found.append(Caution("not specific", f"The explanation of another site scores as high here: {_shown(shuffled)}."))
    found.append(_lift(site))
    return [caution for caution in found if caution is not None]


def _instrument(instrument: Instrument | None) -> Caution | None:
    if instrument is None or not isinstance(instrument.within, Value):
        return Caution("untested", "How this simulator does on planted neurons is not known: nothing says what its scores are worth.")
    if instrument.within.low <= CHANCE and not instrument.judges:
        return Caution(
            "instrument at chance",
            "This simulator does not tell true explanations of planted neurons from false ones "
            f"(ranks {_shown(instrument.within)} of them rightly, chance is .5): its score is no evidence for the explanation.",
        )
    return None


def _lift(site: SiteResult) -> Caution | None:
    if not isinstance(site.lift, Value):
        return Caution("no comparison", "No control without a language model could be scored, so there is no lift.")
    if site.lift.low > 0:
        return None
    control = _CONTROLS.get(site.lift.over, site.lift.over)
    does = "does better" if site.lift.high < 0 else "does as well"
    return Caution(
        "below look-up" if site.lift.high < 0 else "no lift",
        f"{control[0].upper()}{control[1:]} {does}, without a language model: lift {site.lift.value:+.2f} "
        f"[{site.lift.low:+.2f}, {site.lift.high:+.2f}].",
    )


def _shown(value: Value) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
