"""`explicate label`: explain neurons of a model and score the explanations beside their controls."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import (
    BaseUrl,
    Concurrency,
    Corpus,
    Device,
    Dtype,
    ExcerptTokens,
    Json,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    Price,
    Seed,
    SubjectName,
    Tokens,
    Trust,
)


def label(
    subject: SubjectName,
    sites: Annotated[
        str | None, typer.Option(help="Neurons, comma-separated: L7.mlp.1306,L9.mlp.851- (- at the end: negative side).")
    ] = None,
    layers: Annotated[str, typer.Option(help="Instead of --sites: layers to draw neurons from, such as 0-11 or 3,7.")] = "",
    sample: Annotated[int, typer.Option(help="Instead of --sites: how many neurons to draw at random; 0: 20 of them.", min=0)] = 0,
    polarity: Annotated[str, typer.Option(help="Side of drawn neurons: dominant, both, + or -.")] = "dominant",
    explainer: Annotated[str, typer.Option(help="Who explains: local:NAME, openai:MODEL (or any provider langchain knows), template.")] = (
        "local:qwen2.5-coder-1.5b"
    ),
    style: Annotated[str, typer.Option(help="How the explainer is asked: marked-text or token-activation.")] = "marked-text",
    candidates: Annotated[int, typer.Option(help="Explanations to choose from, per site.", min=1, max=50)] = 2,
    simulator: Annotated[str, typer.Option(help="Who simulates: local:NAME, echo:MODEL, openai:MODEL (or another provider), lexical.")] = (
        "local:qwen2.5-coder-0.5b"
    ),
    corpus: Corpus = "wikipedia-sample",
    tokens: Tokens = 200_000,
    excerpt_tokens: ExcerptTokens = 32,
    base_url: BaseUrl = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; the same command with the same folder goes on where it stopped.")] = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    price: Price = None,
    concurrency: Concurrency = 8,
    seed: Seed = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """Explain neurons with a language model and score each explanation on text nobody was shown.

    Example: explicate label smollm2-135m --sites L7.mlp.1306,L9.mlp.851 --out runs/first
    """
    from evals.label_config import LabelConfig, Limits
    from explicate.running import run_label

    config = LabelConfig.checked(
        subject=subject,
        sites=None if sites is None else tuple(name.strip() for name in sites.split(",") if name.strip()),
        layers=layers,
        sample=sample,
        polarity=polarity,
        explainer=explainer,
        style=style,
        candidates=candidates,
        simulator=simulator,
        corpus=corpus,
        tokens=tokens,
        excerpt_tokens=excerpt_tokens,
        base_url=base_url,
        seed=seed,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency)
    run_label(config, limits, out, json=json)
