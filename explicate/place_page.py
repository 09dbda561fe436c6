"""The page of `explicate probe place`: the map of the test entities, where they are and where the probe puts them, or dates."""

from collections.abc import Mapping, Sequence
from html import escape
from math import floor

from evals.probes.place_results import HeldOut, PlaceNeuron, PlacePoint, PlaceProbed
from evals.results import Failure
from explicate.coast import coast
from explicate.probe_page import Drawing, page
from explicate.probe_words import baseline_name, gain, metric_name, number, p_told, told, verdict
from explicate.scatter import legend_of, scatter
from explicate.shaded_words import visible
from explicate.written_file import forms

MOST_POINTS = 1500
"""On one map: more would hide one another."""
MOST_GROUPS = 12
"""That have a colour each; with more of them colours say the true longitude."""
BAND = 30
"""Degrees of longitude that share a colour."""
WIDTH = 720.0
WORLD = (-180.0, 180.0, -90.0, 90.0)
_COLOURS = (
    *("330 55% 60%", "350 60% 50%", "12 75% 50%", "32 85% 50%", "48 85% 45%", "75 60% 42%"),
    *("135 50% 42%", "172 70% 38%", "198 75% 45%", "222 65% 52%", "258 55% 58%", "292 50% 50%"),
)
BANDS: Mapping[str, str] = {
    f"{abs(west)}-{abs(west + BAND)} {'W' if west < 0 else 'E'}": f"hsl({colour})"
    for west, colour in zip(range(-180, 180, BAND), _COLOURS, strict=True)
}
"""Colour by the name of each band, from west to east."""


def render(found: PlaceProbed) -> str:
    """The whole page."""
    drawings = [_maps(found) if len(found.target) == 2 else _dates(found)]
    if found.held_out is not None:
        drawings.append(_held_out(found, found.held_out))
    drawings += [_neurons(column, neurons) for column, neurons in found.neurons.items()]
    what = "Places" if len(found.target) == 2 else visible(found.target[0])
    return page(found, title=f"{what} in {visible(found.model['name'])}", drawings=drawings)


FORMS = forms(render)


def held_out_rows(held: HeldOut, main: str) -> list[tuple[str, str, str, str, str]]:
    """(name, the main metric, how far the probe lies above it, p, what is seen) of the probe and of each baseline, on held-out groups."""
    rows = [("the probe", told(held.metrics[main]), "", "", "")]
    for name, baseline in held.baselines.items():
        lift = held.lifts[name]
        above, p = (told(lift), "") if isinstance(lift, Failure) else (gain(lift), p_told(lift.p).removeprefix("p = "))
        rows.append((baseline_name(name), told(baseline.metrics[main]), above, p, verdict(lift)))
    return rows


def neuron_rows(neurons: Sequence[PlaceNeuron]) -> list[tuple[str, ...]]:
    """(site, side, weights, cosine, by chance, Spearman) of each."""
    return [
        (
            each.site,
            f"{'reads' if each.side == 'in' else 'writes'}",
            each.weights,
            number(each.cosine),
            number(each.by_chance),
            told(each.spearman),
        )
        for each in neurons
    ]


NEURON_HEADS = ("neuron", "along it", "weights", "cosine", "largest by chance", "Spearman with the target")


def _maps(found: PlaceProbed) -> Drawing:
    shown = _spread(found.points)
    groups = sorted({point.group for point in shown if point.group})
    by_group = 2 <= len(groups) <= MOST_GROUPS
    kinds = [(point.group or "") if by_group else band(point.true[1]) for point in shown]
    colours = None if by_group else BANDS
    labels = [_label(point, "km") for point in shown]

    def drawn(places: Sequence[Sequence[float]], title: str) -> str:
        return scatter(
            [(longitude, latitude) for latitude, longitude in places],
            labels=labels,
            kinds=kinds,
            colours=colours,
            square=True,
            bounds=WORLD,
            ticks=False,
            under=coast(),
            width=WIDTH,
            height=WIDTH / 2 + 8,
            title=title,
            legend=False,
        )

    coloured = found.held_out.column if by_group and found.held_out else "the true longitude"
    fewer = f" {len(shown):,} of {len(found.points):,} are drawn." if len(shown) < len(found.points) else ""
    guessed, true = (drawn([getattr(point, which) for point in shown], f"{which} places") for which in ("predicted", "true"))
    return Drawing(
        "Where the probe puts the test entities, and where they are",
        f"The first map has the predicted places, the second one the true ones. Colours say {visible(coloured)}; a dot that is pointed at "
        "is told with how far off it is, and lights up on both maps; a kind that is chosen is shown alone. What lies beyond the map is "
        f"drawn at its edge. The coast is a rough sketch.{fewer} Well-known regions sort themselves out first: a map that looks right "
        "shows no knowledge of single places.",
        f'<div class="together">{guessed}{legend_of(kinds, colours=colours)}{true}</div>',
        wide=True,
    )


def _dates(found: PlaceProbed) -> Drawing:
    shown = _spread(found.points)
    ends = [value for point in shown for value in (*point.true, *point.predicted)]
    low, high = min(ends), max(ends)
    return Drawing(
        f"{visible(found.target[0])}: predicted against true",
        "Each dot is an entity of the test, on the line if it is predicted exactly. Probes draw what they do not know towards the mean, so "
        "that the cloud is flatter than the line.",
        scatter(
            [(point.true[0], point.predicted[0]) for point in shown],
            labels=[_label(point, "off") for point in shown],
            x="true",
            y="predicted",
            square=True,
            under=f'<path d="M{low:g} {low:g}L{high:g} {high:g}" style="fill: none"/>',
            title=f"{found.target[0]}, predicted against true",
        ),
    )


def _held_out(found: PlaceProbed, held: HeldOut) -> Drawing:
    others = ", ".join(f"{metric_name(name)} {told(value)}" for name, value in held.metrics.items() if name != found.main)
    return Drawing(
        f"Held out by {visible(held.column)}",
        f"Every entity is predicted by a probe that saw none of its {visible(held.column)}, at layer {found.best}: {held.groups} groups in "
        f"{held.folds} folds, {held.items['test']:,} entities; intervals are over {visible(held.unit)}. The probe: {others}.",
        _table(("", metric_name(found.main), "the probe less it", "p", ""), held_out_rows(held, found.main)),
        wide=True,
    )


def _neurons(column: str, neurons: Sequence[PlaceNeuron] | Failure) -> Drawing:
    if isinstance(neurons, Failure):
        return Drawing(f"Neurons along {visible(column)}", "None could be compared.", f"<p>{escape(visible(neurons.reason))}</p>")
    return Drawing(
        f"Neurons along {visible(column)}",
        "MLP neurons of any block whose weights point along the probe's direction most. A cosine no larger than the largest with a probe "
        "of shuffled targets says nothing; nor does one show that the model uses the neuron.",
        _table(NEURON_HEADS, neuron_rows(neurons)),
        wide=True,
    )


def band(longitude: float) -> str:
    """The name of the band that a longitude is in."""
    return list(BANDS)[min(floor((longitude + 180) / BAND), len(BANDS) - 1)]


def _spread(points: Sequence[PlacePoint]) -> Sequence[PlacePoint]:
    """At most so many, evenly from all."""
    step = -(-len(points) // MOST_POINTS)
    return points[:: max(step, 1)]


def _label(point: PlacePoint, unit: str) -> str:
    return (
        f"{point.name}: {point.error:,.0f} {unit}"
        if unit == "km"
        else f"{point.name}: {point.true[0]:g}, predicted {point.predicted[0]:.0f}"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(visible(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table class="small figures"><thead>{line("th", heads)}</thead><tbody>{body}</tbody></table></div>'
