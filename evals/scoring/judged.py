"""What a scorer answered about one explanation, item by item."""

from dataclasses import dataclass
from typing import Literal

from analyzers.errors import Failed

Measure = Literal["auroc", "pearson", "share", "explained"]
"""How predictions are held against truths: AUROC of the predictions where the truth is 1 over those where it is 0, Pearson's correlation of
both, the mean of the predictions alone, where each is already how right the answer is (0 to 1), or the share of an error that is explained:
1 - sum of predictions / sum of truths, where the prediction is the error that is left, and the truth that of knowing nothing."""


Role = Literal["items", "whole", "contest", "apart"]
"""How a scorer judges. items: every explanation by itself and item by item, so that it can stop early. whole: every explanation by itself,
all items together. contest: the explanations of a call against each other. apart: so that no ensemble is made of it, since it reads no
explanation, rewards one that fits everything, or costs too much for many of them."""


@dataclass(frozen=True)
class Answer:
    """One item: what is so, and what was said."""

    item: str
    """Names the item, such as the key of an excerpt."""
    document: str
    """Items of one document are drawn together for an interval."""
    truth: float
    """1 where the explanation should hold of the item and 0 where not; an activation for a scorer that correlates."""
    prediction: float | Failed
    """Probability that it holds (in [0, 1]), or any number where only the order counts."""
    group: str = ""
    """What sort of item: the stratum of a firing excerpt, how a silent one was found; figures are also given by group."""
    weight: float = 1.0


@dataclass(frozen=True)
class Judged:
    """All answers about one explanation."""

    answers: tuple[Answer, ...]
    probabilities: bool = True
    """Whether predictions are such, so that above .5 is a yes; else only their order counts."""
    saved: int = 0
    """Questions that were not asked because the interval was narrow enough without them."""
