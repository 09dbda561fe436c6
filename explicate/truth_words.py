"""What `explicate probe truth` tells in the terminal and on its page alike: rows of topics, detectors, variants and of the causal check."""

from collections.abc import Sequence

from evals.probes.truth_results import Causal, TruthProbed
from evals.results import Failure, Value
from explicate.probe_words import p_told, told

Row = tuple[str, ...]
Grid = tuple[Row, list[Row]]
"""Heads of columns, and rows."""


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names without the words behind an underscore that all of them end with, such as _true_false."""
    ends = [name[name.index("_") :] if "_" in name else "" for name in names]
    cuts = [ends[0][at:] for at, letter in enumerate(ends[0]) if letter == "_"] if len(names) > 1 else []
    cut = next((cut for cut in cuts if all(name.endswith(cut) for name in names)), "")
    return {name: name.removesuffix(cut) or name for name in names}


def topics(found: TruthProbed) -> Grid:
    """What detectors say of each topic."""
    short = _short(found)
    return ("topic", "statements", "true", "layer", "AUROC", "accuracy"), [
        (
            short[each.name],
            f"{each.statements:,}",
            f"{each.true / each.statements:.0%}",
            str(each.layer),
            told(each.auroc),
            told(each.accuracy),
        )
        for each in found.topics
    ]


def detectors(found: TruthProbed) -> Grid:
    """What each kind of detector gets."""
    rows: list[Row] = [(name, told(metrics["auroc"]), told(metrics["accuracy"])) for name, metrics in found.detectors.items()]
    return ("detector", "AUROC", "accuracy"), rows


def also(found: TruthProbed) -> Grid:
    """What is only scored."""
    short = _short(found)
    return ("only scored", "statements", "left out", "AUROC", "accuracy", "AUROC, trained without its topic"), [
        (
            short[each.name],
            f"{each.statements:,}",
            f"{each.left_out:,}",
            told(each.auroc),
            told(each.accuracy),
            "" if each.auroc_without is None else told(each.auroc_without),
        )
        for each in found.also
    ]


def causal(found: Causal) -> Grid:
    """What comes of adding the direction."""
    return ("times the direction", "change of log-odds", "random directions", "p", "NIE, added to false", "NIE, taken off true"), [
        (f"{each.k:g}", told(each.effect), told(each.random), p_told(each.p)[4:], _briefly(each.nie_false), _briefly(each.nie_true))
        for each in found.strengths
    ]


def causal_says(found: Causal | Failure | None) -> str | None:
    """In a sentence or two what was asked; None where nothing was."""
    if found is None:
        return None
    if isinstance(found, Failure):
        return f"Whether the model uses the direction was not measured: {found.reason}"
    used = [each for each in found.strengths if isinstance(each.effect, Value) and each.effect.low > 0 and each.p < 0.05]
    seen = (
        "moves the answers more than random directions of equal length do"
        if used
        else "is not seen to move the answers more than random ones"
    )
    lost = next((each.nie_false.reason for each in found.strengths if isinstance(each.nie_false, Failure)), None)
    return (
        f"The {found.direction} direction of layer {found.layer}, put onto the last token of {found.statements} held-out statements, "
        f"{seen}. Asked without it, the model's own answers have an AUROC of {told(found.asked)}."
        + ("" if lost is None else f" There is no normalised indirect effect (NIE): {lost}.")
    )


def _short(found: TruthProbed) -> dict[str, str]:
    """Names of topics and of what is only scored."""
    return short_names([topic.name for topic in found.topics] + [other.name for other in found.also])


def _briefly(value: Value | Failure) -> str:
    return "none" if isinstance(value, Failure) else told(value)
