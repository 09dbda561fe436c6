"""The documented contract of results.json (docs/results.md): additive, so that a reader of an older one reads a newer one.

What a later version added is left out on reading.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from analyzers.errors import Failed

SCHEMA = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Value(_Model):
    """A measured number with its bootstrap interval."""

    value: float
    low: float
    high: float
    n: int
    """Units behind it (tokens for a score of one site, sites for a mean over sites)."""


class Failure(_Model):
    """What could not be measured, and why. Stands where a Value would, or in a list."""

    failed: Literal[True] = True
    stage: str
    reason: str


def failure(failed: Failed) -> Failure:
    """As results.json holds it."""
    return Failure(stage=failed.stage, reason=failed.reason)


Scores = dict[str, Value | Failure]
"""By score name: pearson, r2_uncentred, r2_centred, absolute_deviation_explained; the last three after a linear calibration, or with
`_percentile` after that one; with `_null_contrast` after the simulation of an empty explanation was subtracted."""


def stored(values: Mapping[str, Value | Failed]) -> Scores:
    """As results.json holds them."""
    return {name: failure(value) if isinstance(value, Failed) else value for name, value in values.items()}


def headline(scores: Scores) -> str:
    """Name of the score that counts: with null contrast where the simulator has a prior to remove, plain Pearson otherwise."""
    return "pearson_null_contrast" if "pearson_null_contrast" in scores else "pearson"


class Lift(Value):
    """Score minus the best control that used no language model, on the same excerpts."""

    over: str
    """Name of that control."""
    score: str
    """Name of the score that is compared."""


class Candidate(_Model):
    explanation: str
    select_score: float | Failure


class ClauseGain(_Model):
    """What one clause of an explanation adds: the measure with it minus that without it, on the same items."""

    clause: str
    gain: Value | Failure


class ScorerResult(_Model):
    """What one scorer says of a site's explanation, beside what it says of explanations that know nothing of the site."""

    scorer: str
    """With its language model where it has one."""
    measure: str
    """The name of the figure that counts, among `scores`."""
    chance: float | None
    """What an explanation that knows nothing gets in that measure; None where that depends on the model: see `controls`, null."""
    scores: Scores
    """The measure, and what goes with it: for an AUROC balanced accuracy, F1, precision, recall; `<figure>/<group>` by group of items."""
    controls: dict[str, Scores] = Field(default_factory=dict)
    """The same of another site's explanation (shuffled) and of an empty one (null)."""
    lift: Value | Failure | None = None
    """The measure minus the same of the other site's explanation, on the same items; None where a scorer reads no explanation."""
    saved: int = 0
    """Questions that were not asked because the interval was narrow enough without them, over all explanations that were judged."""
    clauses: list[ClauseGain] = Field(default_factory=list)
    """Where the explanation has several clauses: what each adds to the measure."""
    warning: str | None = None
    """What to mind when reading it: a scorer that does not tell true explanations of planted neurons from false ones."""
    cannot_judge: list[str] = Field(default_factory=list)
    """Kinds of explanations that the scorer was not seen to judge."""


class Twin(_Model):
    """A control that was labelled like the site: a random direction, or the same site of a subject with random weights."""

    site: str
    explanation: str | None
    scores: Scores
    lift: Lift | Failure


class Experiments(_Model):
    """How an explainer that experiments came to its explanation."""

    confidence: float | None
    """As it stated it, 0 to 1; None where it was stopped before."""
    clauses: list[dict[str, Any]]
    """Of each clause: `text`, `experiments` (the numbers of those that support it, in experiments.jsonl), `supported`."""
    model_calls: int
    stopped: str | None = None
    """The limit that ended it, if one did."""
    hypotheses: list[dict[str, Any]] = Field(default_factory=list)
    """As noted last: `text`, `status`, `evidence_for`, `evidence_against` (numbers of experiments)."""
    made: list[dict[str, Any]] = Field(default_factory=list)
    """Of each experiment that can be cited: `experiment` (its number), `tool`, `arguments`."""


class SiteResult(_Model):
    """One side of one neuron."""

    site: str
    """`L7.mlp.1306`, without the polarity."""
    polarity: Literal["+", "-"]
    explanation: str | None
    """None where no explanation could be had; `failures` says why."""
    explainer: str
    simulator: str
    scores: Scores
    by_stratum: dict[str, Scores] = Field(default_factory=dict)
    """Scores on excerpts of one kind: top, q95, q75, random."""
    controls: dict[str, Scores] = Field(default_factory=dict)
    """null, shuffled, token_lookup, bigram_lookup, lexical."""
    lift: Lift | Failure
    p_value: float | None = None
    """One-sided permutation test, (1+#)/(1+M): simulations exchanged among one excerpt a document."""
    q_value: float | None = None
    """p_value after Benjamini-Hochberg over the sites of the run."""
    firing: float | None = None
    """Share of sampled tokens on which this side fires (beyond 3 standard deviations)."""
    warning: str | None = None
    """What to mind when reading the score."""
    cannot_judge: list[str] = Field(default_factory=list)
    """Kinds of explanations that the simulator behind the scores was not seen to judge."""
    shuffled_explanation: str | None = None
    """The other site's explanation that the shuffled control was simulated from."""
    candidates: list[Candidate] = Field(default_factory=list)
    scorers: dict[str, ScorerResult | Failure] = Field(default_factory=dict)
    """By name of a scorer."""
    twins: dict[str, Twin] = Field(default_factory=dict)
    """random-direction, random-init."""
    experiments: Experiments | None = None
    """None where the explainer does not experiment."""
    failures: list[Failure] = Field(default_factory=list)


def figures(site: SiteResult) -> dict[str, Value | Failure]:
    """What means over sites are made of: the site's scores, its lift, and of every scorer its measure as `<scorer>.<measure>`."""
    judged = {name: found for name, found in site.scorers.items() if isinstance(found, ScorerResult)}
    measures = {f"{name}.{found.measure}": found.scores[found.measure] for name, found in judged.items()}
    return {**site.scores, "lift": site.lift, **measures}


class Calls(_Model):
    made: int
    cached: int


class Tokens(_Model):
    prompt: int
    completion: int


class LeakAudit(_Model):
    """Whether anything that is scored, or chose, was shown where it must not be."""

    passed: bool
    checked: int
    """Pairs of a scored or selecting excerpt with a text that an explainer saw: a prompt, or an explain excerpt."""
    prompts: int = 0
    """Explain calls whose prompts were read; 0 where no explanation was asked of a language model."""
    leaks: list[dict[str, str]] = Field(default_factory=list)
    repeated_across_sites: int = 0
    """Such pairs where the explainer of another site saw a near-duplicate, from another document: no leak, the corpus repeats itself."""
    largest_overlap: float
    """Largest share of a scored or selecting excerpt's words that lie in runs of five words found in one text its site's explainer saw."""


class Instrument(_Model):
    """How the simulator did on planted neurons (`explicate selftest`)."""

    simulator: str
    auroc: Value | Failure
    within: Value | Failure
    kinds: dict[str, Value | Failure]
    """`within` by kind of planted neuron."""
    cannot_judge: list[str]
    """Kinds whose interval of `within` reaches down to chance, whose true explanations do not come first more often than not, or that
    have too few neurons or too few scores to tell."""
    first: dict[str, Value | Failure] = Field(default_factory=dict)
    """Share of neurons whose true explanation scores above all its false ones, ties half, by kind."""
    raw: dict[str, Value | Failure] = Field(default_factory=dict)
    """`auroc` and `within` of the scores without null contrast."""
    n_explanations: int = 0
    n_failed: int = 0
    """Explanations without a score; their pairs count as not ranked."""

    @property
    def judges(self) -> list[str]:
        """Kinds of explanations on which it was seen to tell true from false."""
        return [kind for kind in self.kinds if kind not in self.cannot_judge]


class RunResults(_Model):
    """results.json"""

    schema_version: int = SCHEMA
    sites: list[SiteResult]
    n_scored: int
    n_failed: int
    void: bool = False
    """True where more than the allowed share of sites failed: the run's means are then not to be used."""
    calls: Calls
    tokens: Tokens
    usd: float
    unpriced: list[str] = Field(default_factory=list)
    """Language models whose price is not known, which `usd` leaves out."""
    leak_audit: LeakAudit
    instrument: Instrument | None
    means: dict[str, Value | Failure] = Field(default_factory=dict)
    """Over sites, by score name; of scorers as `<scorer>.<measure>`."""
    twins: dict[str, Value | Failure] = Field(default_factory=dict)
    """By control: mean headline score of the sites minus that of their twins, paired, over the sites where both have one."""
    manifest: dict[str, Any]
