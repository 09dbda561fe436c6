"""Where a model attends in one text: its attention, what accumulates over its layers, and what its heads are found to do."""

from pydantic import BaseModel

from analyzers.attention import Role

CAUTION = "Attention is not an explanation: it says where a head reads, not what that did to the answer."
"""Stands beside every picture and table of it."""


class RoleScore(BaseModel):
    """Mean share of its attention that a head gives where a role would, over random sequences."""

    value: float
    low: float
    high: float
    """95% interval over the sequences."""
    n: int
    """Sequences."""
    chance: float
    """The same share of attention that is spread evenly over what can be seen."""


class HeadRoles(BaseModel):
    """What one head does, measured on random tokens that are repeated once."""

    layer: int
    head: int
    role: Role | None
    """The role with the largest score; None where even that is not above `evals.attention_roles.LEAST` with its whole interval."""
    scores: dict[Role, RoleScore]


class HeadStatistics(BaseModel):
    """Of one head over the queries of the text."""

    layer: int
    head: int
    entropy: float
    """Mean, in nats."""
    distance: float
    """Mean number of tokens between query and key, weighted by attention."""
    first: float
    """Mean share of attention on the first token; likewise on the query itself and on the token before it."""
    self: float
    previous: float


class Flow(BaseModel):
    """Largest flow from the last layer's query down to each token of the input, through the attention of all layers."""

    queries: list[int]
    values: list[list[float]]
    """[query of `queries`][key], at most 1."""


class Attention(BaseModel):
    """What `explicate attention --json` prints."""

    model_path: str
    model: dict[str, str]
    """What identifies it: name, source, revision, number format."""
    text: str
    causal: bool
    """Whether no token sees a later one."""
    token_ids: list[int]
    tokens: list[str]
    spans: list[tuple[int, int] | None]
    """[token] first character of the text that it covers, and the one behind its last; None for one that is not of the text."""
    attention: list[list[list[list[float]]]]
    """[layer][head][query][key]; each row sums to 1, up to .02 in 16-bit formats."""
    rollout: list[list[float]] | None = None
    """[query][key] of the last layer; None where it was not asked for, and so below."""
    flow: Flow | None = None
    norms: list[list[list[list[float]]]] | None = None
    """[layer][head][query][key] length of what the head writes to the query from the key."""
    gradient: list[list[list[float]]] | None = None
    """[layer][query][key] attention times the gradient of the target's log-probability, positive part, mean over heads."""
    target: str | None = None
    """The continuation whose log-probability the gradient is of; of an encoder what is told at its masks."""
    predicting: list[int] | None = None
    """[token of the target] the query of `gradient` that predicts it."""
    statistics: list[HeadStatistics]
    head_roles: list[HeadRoles]
    roles_failed: str | None = None
    """Why `head_roles` are none; None where they were measured."""
    seed: int
