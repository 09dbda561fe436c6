"""How pages write the names and numbers of metrics, and moments."""

from datetime import UTC, datetime

from evals.results import Failure, Value
from explicate.running import short
from explicate.shaded_words import visible

_WORDS = {
    "ece": "ECE",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "aurc": "AURC",
    "nll": "NLL",
    "r2": "R²",
    "usd": "USD",
    "pearson": "Pearson",
    "brier": "Brier",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "llm": "LLM",
}
_TITLES = {
    "df_mit": "Decision flips, first word",
    "df_frac": "Share removed until it flips",
    "deletion_rank": "Rank correlation with deletions",
    "aopc": "AOPC",
    "naopc": "NAOPC",
    "r2_uncentred": "R² (uncentred)",
    "r2_centred": "R² (centred)",
    "share_parsed": "Replies that could be read",
    "share_scored": "Sites with a score",
}
_NORMALISED = "_normalised"
ARROWS = {"higher": "↑", "lower": "↓", "": ""}
_FINE = 0.02
"""Width of an interval below which a third decimal tells something."""


def title(name: str) -> str:
    """A metric's name to read: `pearson_null_contrast` is `Pearson null contrast`."""
    if name.endswith(_NORMALISED):
        return f"{title(name.removesuffix(_NORMALISED))}, normalised"
    if name in _TITLES:
        return _TITLES[name]
    words = [_WORDS.get(word, word) for word in name.replace("_", " ").split()]
    said = " ".join(words)
    return visible(said[:1].upper() + said[1:])


def arrow(better: str) -> str:
    """In which direction a metric is better; empty where in neither."""
    return ARROWS[better]


def digits(value: Value) -> int:
    """Decimals that its interval leaves any meaning to."""
    return 2 if value.high - value.low >= _FINE or value.high == value.low else 3


def number(value: Value, *, sign: bool = False) -> str:
    """The measured value alone."""
    return short(value.value, digits=digits(value), sign=sign)


def interval(value: Value, *, sign: bool = False) -> str:
    """Its interval, `.31 to .44`."""
    return f"{short(value.low, digits=digits(value), sign=sign)} to {short(value.high, digits=digits(value), sign=sign)}"


def sentence(value: Value | Failure) -> str:
    """The whole of it, for those who hear the page, and for a pointer at rest."""
    if isinstance(value, Failure):
        return visible(f"failed at {value.stage}: {value.reason}")
    return f"{number(value)}, 95 % interval {interval(value)}, n {value.n:,}"


def moment(time: datetime | None) -> str:
    """`2026-03-01 04:05`, in UTC; empty for none."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def clock(time: datetime) -> str:
    """`04:05`, in UTC."""
    return f"{time.astimezone(UTC):%H:%M}"


def day(time: datetime) -> str:
    """`1 Mar`."""
    return f"{time.astimezone(UTC).day} {time.astimezone(UTC):%b}"
