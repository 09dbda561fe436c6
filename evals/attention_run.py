"""Read where a model attends in one text, by the model's name."""

from collections.abc import Sequence

from analyzers.errors import ExplicateError
from analyzers.progress import Report, quiet
from evals.attention import Attention, Flow, HeadStatistics
from evals.attention_roles import head_roles

MEASURES = ("entropy", "distance", "first", "self", "previous")
"""Of a head over the queries of the text."""


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
    continuation, for attention weighed by the gradient of its log-probability. Raises ExplicateError for what the user can mend.
    """
    from analyzers.attention import flow as flows
    from analyzers.attention import rollout as rollouts
    from analyzers.attention.reading import gradient_attention, read_attention, read_attentions, value_norms
    from analyzers.attention.roles import ordinary_tokens, role_shares
    from analyzers.attention.statistics import head_statistics
    from analyzers.text_model import TextModel

    read = TextModel.load(model, dtype=dtype, device=device, report=report)
    prompt = read.prompt(text, chat=chat)
    places = list(queries) if queries is not None else [len(prompt) - 1 if read.causal else 0]
    for place in places:
        if not 0 <= place < len(prompt):
            raise ExplicateError(f"--query {place}: the text has the tokens 0-{len(prompt) - 1}")
    continuation = None if target is None else read.continuation(text, target, chat=chat)
    report("attention", 0, 0)
    weights = read_attention(read, prompt.ids)
    statistics = head_statistics(weights)
    layers, heads = weights.shape[:2]
    first, last = read.around
    roles = role_shares(
        lambda ids: read_attentions(read, ids),
        vocabulary=ordinary_tokens(read.tokenizer),
        causal=read.causal,
        first=first,
        last=last,
        seed=seed,
        report=report,
    )
    return Attention(
        model_path=str(read.path),
        model=read.identity,
        text=text,
        causal=read.causal,
        token_ids=list(prompt.ids),
        tokens=list(prompt.tokens),
        attention=weights.tolist(),
        rollout=rollouts.rollout(weights)[-1].tolist() if rollout else None,
        flow=Flow(queries=places, values=flows.flow(weights, places, report=report).tolist()) if flow else None,
        norms=value_norms(read, prompt.ids).tolist() if norms else None,
        gradient=None if continuation is None else gradient_attention(read, prompt.ids, continuation).tolist(),
        target=target,
        statistics=[
            HeadStatistics(layer=layer, head=head, **{name: float(getattr(statistics, name)[layer, head]) for name in MEASURES})
            for layer in range(layers)
            for head in range(heads)
        ],
        head_roles=head_roles(roles.shares, roles.chance, seed),
        seed=seed,
    )
