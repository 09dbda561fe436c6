"""What `explicate probe truth --json` prints beside what every probe does (docs/results.md)."""

from typing import Literal

from pydantic import Field

from evals.confidence.reliability import Reliability
from evals.probes.results import Layer, Metrics, Probed, _Model
from evals.results import Failure, Value


class TopicFound(_Model):
    """One topic, scored by detectors that were trained without what is scored."""

    name: str
    statements: int
    true: int
    layer: int
    """Chosen on other topics where topics are left out, and the most frequent choice of the other parts where they are not."""
    auroc: Value | Failure
    accuracy: Value | Failure
    """Both at that layer."""
    profile: list[Layer]


class Transfer(_Model):
    """Trained on one topic, tested on another; on itself by five parts."""

    train: str
    test: str
    auroc: Value | Failure


class Also(_Model):
    """Statements of a kind that no detector is trained on, such as negations, scored by one that is trained on all topics."""

    name: str
    statements: int
    true: int
    left_out: int
    """Statements that the topics have too, and those that could not be read."""
    auroc: Value | Failure
    accuracy: Value | Failure
    without: str | None = None
    """The topic of which it is a variant, going by its name."""
    auroc_without: Value | Failure | None = None
    """Of a detector that is trained on all topics but that one: it cannot have learnt what the variant is made of."""


class Histogram(_Model):
    """How the log-odds of a topic's held-out statements are spread."""

    topic: str
    edges: list[float]
    """[bin + 1], the same for all topics; the outermost bins also have what lies beyond them."""
    true: list[int]
    false: list[int]
    """[bin] statements."""


class Strength(_Model):
    """What comes of adding a multiple of the direction."""

    k: float
    """1: the distance of the means of true and false statements along the direction."""
    effect: Value | Failure
    """Half the difference of the log-odds of `true` against `false` as the answer, after adding and after taking off; over statements."""
    random: Value | Failure
    """The same of random directions of equal length, mean over directions; the interval is where 95 % of these directions lie."""
    p: float
    """(1+#)/(1+M): random directions whose effect is at least as large, in either direction."""
    nie_false: Value | Failure
    """Normalised indirect effect of adding it to false statements: the change of P(true) - P(false) as a share of the difference of its
    means over true and over false statements."""
    nie_true: Value | Failure
    """The same of taking it off true statements, the sign turned round."""


class Causal(_Model):
    """Whether the model uses the direction when it is asked."""

    layer: int
    direction: str
    """Which detector's."""
    statements: int
    """Scored with directions that were trained without their part."""
    directions: int
    """Random ones."""
    asked: Value | Failure
    """AUROC of the model's own answers, nothing added, over up to 400 statements: a model that does not know, or is not able to say, has
    .5."""
    strengths: list[Strength]


class TruthProbed(Probed):
    """Detectors of true statements. Means over topics; intervals are over statements, drawn within their topics."""

    kind: Literal["truth"] = "truth"
    detector: str
    """logistic, mass-mean, mass-mean-iid, saplma or ccs."""
    left_out: Literal["topic", "statements"]
    """Whether whole topics are left out of training, or a fifth of every topic's statements."""
    topics: list[TopicFound]
    detectors: dict[str, Metrics] = Field(default_factory=dict)
    """auroc and accuracy of every kind of detector, at the layers that the main one has chosen, or logistic regression for it."""
    transfer: list[Transfer] = Field(default_factory=list)
    """At the best layer."""
    also: list[Also] = Field(default_factory=list)
    calibration: Metrics = Field(default_factory=dict)
    """ece and its floor, brier, and overconfidence, of the probability of the likelier verdict on held-out statements."""
    reliability: Reliability | None = None
    causal: Causal | Failure | None = None
    """None where it was not asked for."""
    projections: list[Histogram] = Field(default_factory=list)
    """Log-odds of held-out statements, at the layers that were chosen without them."""


class Scored(_Model):
    """A new statement."""

    statement: str
    probability: float
    """Of being true, as the detector says."""
    verdict: bool
    distance: float
    """From the training statements, in Mahalanobis units."""
    farther_than: float
    """Share of training statements, each seen by the others, that lie nearer."""
    farther_than_left_out: float | None
    """Share of the statements of topics that were left out that lie nearer to the rest; None of a single topic."""
    outside: bool
    """Whether it lies farther away than 99 % of the training statements."""


class TruthScored(_Model):
    """What `explicate probe truth --load` prints."""

    path: str
    model: dict[str, str]
    detector: str
    layer: int
    topics: list[str]
    error: Value
    left_out: Literal["topic", "statements"]
    scored: list[Scored]
