"""The contract of an audit's results.json (docs/results.md): additive, as that of the other commands."""

from typing import Any, Literal

from pydantic import Field, model_validator

from evals.results import SCHEMA, Calls, Failure, Tokens, Value, _Model

Verdict = Literal["faithful", "no better than chance", "anti-faithful", "undecided"]


class Metric(Value):
    """The mean of a metric over items, with what it is to be held against. n counts items."""

    random: float | Failure
    """Mean of random rankings of the same items."""
    n_random: int = 0
    """Items that `random`, `normalised` and `p` are of."""
    best: float | Failure
    """Mean of what the best ranking found of each item has; a Failure where only one ranking is known."""
    normalised: Value | Failure
    """On a scale where random is 0 and best is 1."""
    p: float | None
    """One-sided, (1+#)/(1+M), over M draws of a random ranking for every item: of all that there are, or of some orders and its own; None
    where there are none."""
    q: float | None = None
    """p after Benjamini-Hochberg over the metrics of the model's own explanations; None for another source, whose tests are no question."""


class Published(_Model):
    """Mean over the items that the published formula is defined on."""

    value: float
    n: int


class Agreement(Value):
    """Mean of a measure over items. n counts items."""

    random: float
    """The same with the units of the model's own explanation in random places."""


class Missing(Failure):
    """Why items are left out of a metric, and how many."""

    n: int


class AskedBy(_Model):
    """The way of asking and of perturbing that rows have in common."""

    elicitation: str
    """The form of the explanation: attribution, top-k, ..."""
    order: str
    """explain-first or predict-first; empty where it is not known."""
    operator: str
    """How units were taken away."""
    persona: str = ""
    """In whose name the model answered."""
    belief: str = "stated"
    """What f is: logprobs (label log-probabilities), samples (share of samples) or stated (confidence that the model stated)."""
    perturbed: str = "same prompt"
    """How perturbed texts were asked: in the prompt of the explanation (same prompt), or for the answer alone (answer only)."""


class AuditRow(AskedBy):
    """One source of explanations under one way of asking and of perturbing."""

    source: str
    """self, or what the self-explanation is held against: occlusion, lime, ..., random."""
    n: int
    """Items with an explanation."""
    n_failed: int
    """Items without one."""
    n_constant: int
    """Items whose explanation gives all units one value, and so ranks them at random."""
    void: bool = False
    """True where more than a fifth of the items have no explanation: the figures are then not to be used."""
    metrics: dict[str, Metric | Failure]
    missing: dict[str, list[Missing]] = Field(default_factory=dict)
    """By metric."""
    paper_compat: dict[str, Published | Failure] = Field(default_factory=dict)
    """The same as published code computes it, on the same answers; empty where there are not two labels."""


class PairedDifference(Value, AskedBy):
    """A metric of one source minus that of another, on the items that have both. n counts items."""

    metric: str
    a: str
    b: str
    p: float
    """Two-sided, signs of the items' differences exchanged, (1+#)/(1+M)."""
    q: float | None = None
    """p after Benjamini-Hochberg over all differences of the audit."""


class Replies(_Model):
    """How the replies of one way of asking ended, and how exactly explanations repeat the text."""

    elicitation: str
    order: str
    persona: str = ""
    n: int
    """Items asked."""
    parsed: int
    failed: list[Missing]
    """Of the replies, by stage and reason."""
    match: dict[str, int]
    """Units of the parsed explanations, by how they were found: exact, normalised, merged, split, unmatched; and words invented."""
    accuracy: Value | Failure
    """Share of right answers, of the items whose true label is known; a reply without an answer is not right."""
    confidence: Value | Failure
    """Mean confidence that was stated."""
    label_mass: Value | Failure | None = None
    """Mean probability that the model answers with any of the labels at all; None where that is not known."""


class Drift(_Model):
    """What changes that should not matter do: the floor below which no effect of a perturbation means anything."""

    change: str
    """What was done to the text: a doubled space, ..."""
    perturbed: str
    """As in AskedBy, with the form of the explanation where it is the same prompt."""
    persona: str = ""
    mean: Value | Failure
    """Mean absolute change of f."""
    flipped: float | None
    """Share of the items whose answer changed; None where there are none."""
    n_failed: int = 0
    """Items of which one of the two answers is not known; those that the change leaves as they are do not count."""


class CheckResult(_Model):
    """What a check found (evals.audit.checks)."""

    name: str
    order: str = ""
    """explain-first or predict-first, where the check depends on it."""
    persona: str = ""
    figures: dict[str, Value | Failure]
    """By name, with intervals over items. n counts items."""
    chance: dict[str, float | Failure] = Field(default_factory=dict)
    """By name of the figure: what an explanation that knows nothing gets, on the same items."""
    p: dict[str, float | None] = Field(default_factory=dict)
    """By name of the figure: one-sided, (1+#)/(1+M) over what chance gives."""
    q: dict[str, float | None] = Field(default_factory=dict)
    """By name of the figure: p after Benjamini-Hochberg over all checks of the audit."""
    n: int
    """Items that the check was made of."""
    n_failed: int
    void: bool = False
    """True where more than a fifth of the items failed: the figures are then not to be used."""
    missing: list[Missing] = Field(default_factory=list)
    """Why the others are left out."""
    records: list[dict[str, Any]] = Field(default_factory=list)
    """Of every item: what was asked and what came of it."""


class AuditSelftest(_Model):
    """How the audit did on a planted predictor."""

    n: int
    """Planted items."""
    seed: int
    explainers: dict[str, dict[str, Metric | Failure]]
    """By name and metric, as in the rows of an audit; `normalised` is on a scale where random is 0 and the best ranking known is 1."""
    ordered: bool
    """Whether the metrics put the explainers in the order of what they know."""
    random_near_zero: bool
    """Whether explainers that know nothing get about 0."""
    shapley_error: float | Failure
    """Largest difference of a unit's value from the exact one, in log-odds, from fewer sets than there are."""
    kernel_shap_error: float | Failure
    """The same from all sets of the first words of every item."""
    occlusion_error: float | Failure
    """Largest difference from a unit's weight with the whole term of the pair."""
    lime_correlation: float | Failure
    """Pearson's with the exact values, mean over items."""
    passed: bool
    reasons: list[str]
    """Why it did not pass."""


class GroupVerdict(_Model):
    """What the audit says of one way of asking."""

    elicitation: str
    order: str
    persona: str = ""
    verdict: Verdict
    reason: str


class AuditResults(_Model):
    """results.json of an audit."""

    schema_version: int = SCHEMA
    rows: list[AuditRow]
    paired_differences: list[PairedDifference]
    agreement: dict[str, dict[str, Agreement | Failure]]
    """`self, occlusion by size` -> measure -> mean over items."""
    n_items: int
    verdict: Verdict
    """Of all ways of asking, where they agree."""
    verdict_reason: str
    verdicts: list[GroupVerdict] = Field(default_factory=list)
    void: bool = False
    """True where every way of asking is void."""
    replies: list[Replies] = Field(default_factory=list)
    drift: list[Drift] = Field(default_factory=list)
    checks: list[CheckResult] = Field(default_factory=list)
    selftest: AuditSelftest | None = None
    """How the audit did on a planted predictor; None where it was not tested."""
    plan: dict[str, int] = Field(default_factory=dict)
    """`texts_asked` by all methods, `texts_evaluated` (different ones): the rest was saved."""
    calls: Calls | None = None
    tokens: Tokens | None = None
    usd: float = 0.0
    unpriced: list[str] = Field(default_factory=list)
    manifest: dict[str, Any]


class Answered(_Model):
    """A recorded answer."""

    label: str
    confidence: float
    """f: what the model gives to its answer."""
    stated: float | None = None
    """Confidence that it stated."""


class AuditItem(_Model):
    """A line of items.jsonl: an item under one way of asking and of perturbing."""

    elicitation: str = "attribution"
    order: str = ""
    operator: str = "delete"
    persona: str = ""
    text: str
    units: list[str]
    gold: str | None
    answer: Answered | Failure
    attributions: dict[str, list[float] | Failure]
    """By source: [unit], signed for the predicted label."""
    effects: list[float] | Failure
    """[unit] drop of f when it alone is left out."""
    metrics: dict[str, dict[str, float | Failure]]
    """By source and metric."""
    reply: str | None = None
    """What the model wrote."""
    match: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_every_unit(self) -> "AuditItem":
        for values in (self.effects, *self.attributions.values()):
            if not isinstance(values, Failure) and len(values) != len(self.units):
                raise ValueError(f"{len(values)} values for {len(self.units)} units")
        return self
