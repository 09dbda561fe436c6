"""How growth is told, in the terminal and on its page: curves, steps, and what came before what."""

from collections.abc import Mapping, Sequence

from evals.growing.growth import NOT_GROWN
from evals.growing.results import Before, Curve, Grown, Series
from evals.results import Failure, Value
from explicate.shaded_words import visible

TITLES: Mapping[str, str] = {
    "pos": "Parts of speech",
    "tree": "Syntax trees",
    "next-token": "The next token",
    "minimal-pairs": "Minimal pairs",
    "facts": "Facts",
}
MEASURES: Mapping[str, str] = {
    "pos": "accuracy",
    "pos/best-layer": "accuracy, best layer",
    "pos/layer0": "accuracy, layer 0",
    "tree": "UUAS",
    "next-token": "accuracy",
    "next-token/surprisal": "surprisal, nats",
    "minimal-pairs": "accuracy",
    "facts": "P@1",
    "facts/logprob": "log-probability, nats",
}
"""Of curves that are no part of another one."""
PARTS: Mapping[str, str] = {"next-token": "part of speech", "minimal-pairs": "phenomenon", "facts": "relation"}
"""By probe what its further curves are parts of."""
SILENT = (
    "A step at which a curve has 90% of its growth says nothing of how high it ends: what hardly grows may be acquired early. That a "
    "probe finds more in the states does not show that the model uses it. Curves of small counts move by chance: see their bands."
)


def curve_name(name: str) -> str:
    """For people: `next-token, surprisal, NOUN`."""
    return visible(name.replace("/", ", ").replace("_", " "))


def part_of(curve: Curve) -> str:
    """The curve that this one is a part of, as `facts` of `facts/capital`; itself where it is no part."""
    if curve.name in MEASURES or curve.probe not in PARTS:
        return curve.name
    return max((name for name in MEASURES if curve.name.startswith(f"{name}/")), key=len, default=curve.probe)


def chart_title(name: str, probe: str) -> str:
    """Of a curve among those of its probe."""
    if name in MEASURES:
        return MEASURES[name][:1].upper() + MEASURES[name][1:]
    return visible(name.removeprefix(f"{probe}/").replace("/", ", ").replace("_", " "))


def step_told(step: float) -> str:
    """A whole number of steps: 12, 143,000."""
    return f"{step:,.1f}" if step < 10 and step != round(step) else f"{round(step):,}"


def tick_told(step: float) -> str:
    """In few characters: 512, 143k."""
    return f"{step:g}" if step < 10_000 else f"{step / 1000:.3g}k" if step < 1_000_000 else f"{step / 1_000_000:.3g}M"


def t90_told(value: Value | Failure) -> str:
    """A step with its interval, or why there is none."""
    if isinstance(value, Failure):
        return NOT_GROWN if value.reason.startswith(NOT_GROWN) else f"none: {visible(value.reason)}"
    return f"{step_told(value.value)} [{step_told(value.low)}, {step_told(value.high)}]"


def has_grown(curve: Curve) -> bool:
    """Whether it has a t90."""
    return isinstance(curve.summary["t90"], Value)


def is_above_chance(curve: Curve) -> bool:
    """Whether the interval of the final value lies beyond what knowing nothing gets; also where that is not known."""
    final = curve.values[-1]
    if curve.chance is None or isinstance(final, Failure):
        return curve.chance is None
    return final.low > curve.chance.value if curve.better == "higher" else final.high < curve.chance.value


def main_curves(found: Grown, series: Series) -> list[Curve]:
    """One of each probe, those acquired first before the others."""
    ranked = sorted(found.probes, key=lambda name: found.order.index(name) if name in found.order else len(found.order))
    return [curve for name in ranked if (curve := series.curve(name)) is not None]


def order_told(found: Grown, series: Series) -> str:
    """Of one training, in a sentence."""
    mains = main_curves(found, series)
    came = [f"{curve.name} (step {t90_told(curve.summary['t90'])})" for curve in _by_t90(mains)]
    never = [curve.name for curve in mains if not has_grown(curve)]
    low = [curve.name for curve in mains if has_grown(curve) and not is_above_chance(curve)]
    said = f"90% of its growth is reached by {', then by '.join(came)}" if came else "nothing is seen to grow"
    said += f"; no growth is seen in {', '.join(never)}" if never and came else ""
    return said + (f"; in the end not above chance: {', '.join(low)}" if low else "")


def before_told(before: Before, seeds: int) -> str:
    """Which came first, in how many trainings, and whether beyond their intervals, or that the other one did not come."""
    where = "" if seeds == 1 else f" in {before.seeds} of {seeds} trainings"
    if before.alone == before.seeds:
        return f"{before.first} grew, and {before.then} did not{where and ','}{where}"
    apart = f"intervals apart in {before.apart}" if seeds > 1 else "intervals apart" if before.apart else "intervals overlap"
    said = f"{before.first} before {before.then}{where}, {apart}"
    return said + (f"; in {before.alone} {before.then} did not grow" if before.alone else "")


def verdict(before: Before, seeds: int) -> tuple[str, str]:
    """(Seen, Alone or Not seen, its class): seen where it is so in every training with intervals apart, alone where the other one did not
    grow in any, which leaves open when it would have."""
    return ("Seen", "good") if before.apart == seeds else ("Alone", "dim") if before.alone == seeds else ("Not seen", "dim")


def _by_t90(curves: Sequence[Curve]) -> list[Curve]:
    known = [(t90.value, curve) for curve in curves if isinstance(t90 := curve.summary["t90"], Value)]
    return [curve for _, curve in sorted(known, key=lambda pair: pair[0])]
