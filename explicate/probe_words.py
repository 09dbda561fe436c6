"""How probes are told, in the terminal and on their pages: what metrics and baselines are called, what is seen, and what is not shown."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from evals.results import Failure, Value
from explicate.shaded_words import visible

if TYPE_CHECKING:
    from evals.probes.results import Baseline, Lift, Probed

ALPHA = 0.05
Verdict = Literal["Seen", "Not seen", "The opposite", "Not measured"]

METRICS: Mapping[str, str] = {
    "mdl_compression": "MDL compression",
    "uuas": "UUAS",
    "uuas_apart": "UUAS of words apart",
    "dspr": "DSpr.",
    "nspr": "NSpr.",
    "root": "root accuracy",
    "r2": "R²",
    "r2_latitude": "R² of latitude",
    "r2_longitude": "R² of longitude",
    "mlp_minus_ridge": "R² of the MLP less that of ridge",
    "spearman": "Spearman",
    "haversine_km": "distance, km",
    "auroc": "AUROC",
    "ece": "ECE",
    "mae": "mean absolute error",
}
"""Where they are not told as they are called."""
MEANINGS: Mapping[str, str] = {
    "accuracy": "share of items that the probe gets right",
    "selectivity": "accuracy less that of the same probe on labels that words were given at random (control task)",
    "mdl_compression": "how many times shorter the labels' code gets with the states; 1 without knowledge of them",
    "uuas": "share of the gold tree's edges that the predicted tree has, without direction",
    "dspr": "rank correlation of predicted and gold distances between words",
    "nspr": "rank correlation of predicted and gold depths",
    "root": "share of sentences whose root is found",
    "r2": "share of the variance that is predicted; 0 what the mean gets",
    "spearman": "rank correlation of predicted and true values",
    "haversine_km": "distance on the globe between the predicted and the true place; less is better",
    "proximity_error": "share of items that lie nearer to the prediction than the true one; 0.5 by chance, less is better",
    "auroc": "chance that a true item gets a higher score than a false one; 0.5 by chance",
}
BASELINES: Mapping[str, str] = {
    "layer0": "layer 0",
    "random_init": "random weights",
    "shuffled": "shuffled",
    "majority": "commonest label",
    "control": "control task",
    "mlp": "MLP probe",
    "word_type": "commonest label of the word",
    "target_word": "the deciding word",
    "length": "length of the text",
    "mean": "mean of the targets",
    "log_probability": "probability of the text",
    "saplma": "SAPLMA",
    "ccs": "CCS",
}
"""Baselines and further curves, where they are not told as they are called."""
KNOWS: Mapping[str, str] = {
    "layer0": "the same probe on what enters the first block: words without their context",
    "random_init": "the same probe on the same model with random weights",
    "shuffled": "the same probe fitted to answers in random order",
    "majority": "always the commonest label",
    "control": "the same probe on labels that each word was given at random",
    "word_type": "the commonest label that a word had in training",
    "target_word": "the commonest label in training of the one word that decides it; the probe is not told which it is",
    "length": "the commonest label in training of texts with as many words",
    "mean": "always the mean of the training targets",
    "linear_chain": "each word tied to the next one",
    "random_projection": "a probe that was not fitted",
    "bag_of_tokens": "a probe that is told which tokens there are, and not in which order",
    "bag_of_words": "a probe that is told which words there are, and not in which order",
    "log_probability": "how probable the model finds the text",
}
CHANCE = ("chance", "majority", "mean", "shuffled")
"""Baselines that stand for knowing nothing; the first that was measured counts."""
LEVELS: Mapping[str, float] = {"auroc": 0.5, "r2": 0.0, "spearman": 0.0, "proximity_error": 0.5, "selectivity": 0.0, "mdl_compression": 1.0}
"""What knowing nothing gets, whatever the data."""
SILENT = (
    "A probe shows that something can be read from the states, not that the model uses it: for that the states must be changed and the "
    "answer watched. What a probe finds depends on how strong it is and on how much it was trained on; hence the baselines."
)


def metric_name(name: str) -> str:
    """For people."""
    return visible(METRICS.get(name) or name.replace("_", " "))


def baseline_name(name: str) -> str:
    """For people; of further curves, too."""
    return visible(BASELINES.get(name) or name.replace("_", " "))


def located(name: str, baseline: "Baseline | None", best: int | None) -> str:
    """A baseline's name, with its layer where it is another than the chosen one and the name does not say it."""
    own = baseline is None or baseline.at is None or baseline.at == best or name == "layer0"
    return baseline_name(name) + ("" if own or baseline is None else f", layer {baseline.at}")


def chance(found: "Probed") -> tuple[str, Value | float] | None:
    """(what knows nothing, what it gets at the main metric): a baseline that was measured, or else what is known beforehand."""
    for name in CHANCE:
        value = found.baselines[name].metrics.get(found.main) if name in found.baselines else None
        if isinstance(value, Value):
            return baseline_name(name), value
    return ("chance", LEVELS[found.main]) if found.main in LEVELS else None


def where(found: "Probed") -> str:
    """The layer that counts; where each part has its own, chosen without what it scores, the one that most have."""
    return f"chosen layers, mostly {found.best}" if _nested(found) in found.figures else f"layer {found.best}"


def at_best(found: "Probed") -> Value | Failure:
    """The main metric at the chosen layer, or at those that each part has chosen without what it scores."""
    if (nested := found.figures.get(_nested(found))) is not None:
        return nested
    missing = Failure(stage="probe", reason=f"layer {found.best} has no {found.main}")
    return next((each.metrics.get(found.main, missing) for each in found.layers if each.layer == found.best), missing)


def _nested(found: "Probed") -> str:
    return f"nested_{found.main}"


def verdict(lift: "Lift | Failure") -> Verdict:
    """Whether the probe lies above a baseline: its paired interval and its p-value must both say so."""
    if isinstance(lift, Failure):
        return "Not measured"
    if lift.low > 0 and lift.p < ALPHA:
        return "Seen"
    return "The opposite" if lift.high < 0 else "Not seen"


def above_all(found: "Probed") -> tuple[Verdict, str]:
    """(whether the probe lies above every baseline, which of them it does not lie above)."""
    said = {name: verdict(lift) for name, lift in found.lifts.items()}
    for word in ("The opposite", "Not seen", "Not measured"):
        which = [baseline_name(name) for name, each in said.items() if each == word]
        if which:
            return word, ", ".join(which)
    return ("Seen", "") if said else ("Not measured", "there is no baseline")


def claimed(word: Verdict) -> str:
    """How the verdict of all baselines together is told."""
    return "No, it lies below" if word == "The opposite" else word


def number(value: float) -> str:
    """Three decimals, fewer of large numbers, and no minus before a zero."""
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float) -> str:
    """A difference, as `number` tells it."""
    told = number(value)
    return told if told.startswith("-") or not float(told) else f"+{told}"


def gain(lift: "Lift") -> str:
    """A difference with its interval."""
    return f"{signed(lift.value)} [{signed(lift.low)}, {signed(lift.high)}]"


def told(value: Value | Failure) -> str:
    """With its interval, or why there is none."""
    return f"none: {visible(value.reason)}" if isinstance(value, Failure) else interval(value)


def interval(value: Value) -> str:
    """The number and its interval."""
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"


def p_told(p: float) -> str:
    """Of a permutation test, which has no p of 0."""
    return f"p = {p:.3f}" if p >= 0.001 else f"p = {p:.1g}"
