"""The contract of a confidence measurement's results.json (docs/results.md): additive, as that of the other commands."""

from typing import Any

from pydantic import Field

from evals.audit.results import Missing
from evals.confidence.reliability import Reliability
from evals.results import SCHEMA, Calls, Failure, Tokens, Value, _Model


class ConfidenceRow(_Model):
    """One way of asking, of sampling and of making one answer with one confidence of the replies."""

    prompting: str
    """vanilla, cot, self-probing, multi-step or top-k."""
    sampling: str
    """none, self-random, paraphrase or misleading."""
    aggregate: str
    """stated (a single reply), consistency, avg-conf or pair-rank."""
    n: int
    """Items with an answer and a confidence."""
    n_failed: int
    """Items without."""
    n_replies: int
    """Replies asked for."""
    n_replies_failed: int
    """Replies that count towards no confidence: without an answer or, where the aggregation needs it, without a confidence."""
    missing: list[Missing] = Field(default_factory=list)
    """Why items are left out."""
    void: bool = False
    """True where more than a fifth of the items, or of the replies, failed: the figures are then not to be used."""
    measures: dict[str, Value | Failure]
    """By name, as in evals.confidence.measures."""
    chance: dict[str, float]
    """By name, where it exists: what a confidence has that knows nothing of the items."""
    reliability: Reliability


class ConfidenceReplies(_Model):
    """How the replies of one way of asking and of sampling ended."""

    prompting: str
    sampling: str
    n: int
    parsed: int
    """With an answer and a confidence in it."""
    failed: list[Missing]
    """The others, by stage and reason; confidence: an answer without one."""


class Deletion(_Model):
    """Whether stated confidence falls when the words are removed that the model calls decisive."""

    prompting: str
    n: int
    n_failed: int
    n_draws: int
    """Draws of random words, an item."""
    missing: list[Missing] = Field(default_factory=list)
    void: bool = False
    """True where more than a fifth of the items failed."""
    figures: dict[str, Value | Failure]
    """By name, as in evals.confidence.deletion."""
    p: float | None
    """Of `difference`: two-sided, signs of the items' differences exchanged, (1+#)/(1+M)."""


class ConfidenceResults(_Model):
    """results.json of `explicate confidence`."""

    schema_version: int = SCHEMA
    rows: list[ConfidenceRow]
    deletion: Deletion | None
    """None where it was not asked for."""
    replies: list[ConfidenceReplies]
    n_items: int
    n_without_gold: int
    """Items of the task whose true answer is not known: they are not asked about."""
    void: bool = False
    """True where every row is void."""
    calls: Calls
    tokens: Tokens
    usd: float
    unpriced: list[str] = Field(default_factory=list)
    manifest: dict[str, Any]


class ItemGuess(_Model):
    """An answer that a reply gives."""

    answer: str
    confidence: float | Failure


class ItemReply(_Model):
    """One reply about an item."""

    instruction: str
    hint: str
    guesses: list[ItemGuess] | Failure
    written: list[str]
    """[conversation] what the model wrote."""


class ItemReplies(_Model):
    """All replies about an item under one way of asking and of sampling."""

    prompting: str
    sampling: str
    replies: list[ItemReply] | Failure


class ItemAnswer(_Model):
    """What the replies come to; `answer` is None, and the others with it, where they come to nothing, and `failed` says why."""

    prompting: str
    sampling: str
    aggregate: str
    answer: str | None = None
    """In the spelling by which answers are compared."""
    confidence: float | None = None
    correct: bool | None = None
    failed: Failure | None = None


class ItemDeletion(_Model):
    """What deleting words did to one item."""

    answer: str
    words: list[str]
    """Those called decisive, in the order of the text."""
    whole: float
    """Confidence in the answer on the whole text."""
    without: float
    """Probability of that answer without the words."""
    changed: bool
    random: list[float]
    """[draw] the same without random words."""
    changed_random: float
    """Share of the draws that changed the answer."""


class ConfidenceItem(_Model):
    """A line of items.jsonl."""

    number: int
    text: str
    gold: str
    replies: list[ItemReplies]
    answers: list[ItemAnswer]
    deletion: ItemDeletion | Failure | None
