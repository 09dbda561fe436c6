"""Read where a model attends in one text, by the model's name."""

from collections.abc import Sequence
from math import isqrt
from typing import TYPE_CHECKING

from analyzers.errors import ExplicateError, SubjectError
from analyzers.progress import Report, quiet
from evals.attention import Attention, Flow, HeadRoles, HeadStatistics
from evals.attention_roles import head_roles

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

MEASURES = ("entropy", "distance", "first", "self", "previous")
"""Of a head over the queries of the text."""
MOST_SHARES = 64_000_000
"""Shares of attention that are told of one text: as numbers of Python, which is what is written, they take 2 GB."""


def run_attention(
    model: str,
    text: str,
    *,
    rollout: bool = False,
    flow: bool = False,
    norms: bool = False,
    target: str | None = None,
    queries: Sequence[int] | None = None,
    chat: bool = False,
    seed: int = 0,
    dtype: str = "auto",
    device: str = "auto",
    report: Report = quiet,
) -> Attention:
    """The attention of a decoder or encoder in one text, and what was asked for beside it.

    queries: places from which the flow starts, by default the last token of a decoder and the first one of an encoder. target: a
    continuation, of an encoder what is told at the masks of the text, for attention weighed by the gradient of its log-probability.
    Raises ExplicateError for what the user can mend.
    """
    from analyzers.loading import choose_device, choose_dtype

    # Before transformers are imported, which takes longer than all that can be told without them.
    choose_dtype(dtype, choose_device(device))
    from analyzers.attention import flow as flows
    from analyzers.attention import rollout as rollouts
    from analyzers.attention.reading import gradient_attention, read_attention, value_norms
    from analyzers.attention.statistics import head_statistics
    from analyzers.text_model import TextModel

    read = TextModel.load(model, dtype=dtype, device=device, report=report)
    prompt = read.prompt(text, chat=chat)
    if len(prompt) < 2:
        raise ExplicateError("the text is one token, which can attend to nothing but itself: give a text of at least two tokens")
    places = list(queries) if queries is not None else [len(prompt) - 1 if read.causal else 0]
    for place in places:
        if not 0 <= place < len(prompt):
            raise ExplicateError(f"--query {place}: the text has the tokens 0-{len(prompt) - 1}")
    longest = isqrt(MOST_SHARES // (read.layers * read.heads))
    if len(prompt) > longest:
        raise ExplicateError(
            f"the text is {len(prompt)} tokens, and of {read.layers} layers of {read.heads} heads ({read.name}) attention can be told "
            f"in at most {longest}: shorten the text, or choose a smaller model"
        )
    continuation = None if target is None else read.continuation(text, target, chat=chat)
    report("attention", 0, 0)
    weights = read_attention(read, prompt.ids)
    statistics = head_statistics(weights)
    layers, heads = weights.shape[:2]
    roles = _roles(read, seed, report)
    return Attention(
        model_path=str(read.path),
        model=read.identity,
        text=text,
        causal=read.causal,
        token_ids=list(prompt.ids),
        tokens=list(prompt.tokens),
        spans=list(prompt.spans),
        attention=weights.tolist(),
        rollout=rollouts.rollout(weights)[-1].tolist() if rollout else None,
        flow=Flow(queries=places, values=flows.flow(weights, places, report=report).tolist()) if flow else None,
        norms=value_norms(read, prompt.ids).tolist() if norms else None,
        gradient=None if continuation is None else gradient_attention(read, prompt.ids, continuation).tolist(),
        target=target,
        predicting=None if continuation is None else read.reads(prompt.ids, continuation)[1],
        statistics=[
            HeadStatistics(layer=layer, head=head, **{name: float(getattr(statistics, name)[layer, head]) for name in MEASURES})
            for layer in range(layers)
            for head in range(heads)
        ],
        head_roles=[] if isinstance(roles, str) else roles,
        roles_failed=roles if isinstance(roles, str) else None,
        seed=seed,
    )


def _roles(model: "TextModel", seed: int, report: Report) -> list[HeadRoles] | str:
    """What the model's heads do, or why that cannot be measured: the text is read all the same."""
    from analyzers.attention.reading import read_attentions
    from analyzers.attention.roles import ordinary_tokens, role_shares

    first, last = model.around
    try:
        found = role_shares(
            lambda ids: read_attentions(model, ids),
            vocabulary=ordinary_tokens(model.tokenizer),
            causal=model.causal,
            first=first,
            last=last,
            limit=model.limit,
            seed=seed,
            report=report,
        )
    except SubjectError as error:
        return str(error)
    return head_roles(found.shares, found.chance, seed)
