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
    Timeout,
    Tokens,
    Trust,
    listed,
)


def label(
    subject: SubjectName,
    sites: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: neurons L7.mlp.1306,L9.mlp.851- (- at the end: negative side), heads L4.attn.3, coordinates of the "
            "residual stream L12.resid.17, L12.direction.0, L12.random.5, latents L12.sae.123."
        ),
    ] = None,
    layers: Annotated[str, typer.Option(help="Instead of --sites: layers to draw sites from, such as 0-11 or 3,7.")] = "",
    sample: Annotated[int, typer.Option(help="Instead of --sites: how many to draw at random; 0: 20 of them.", min=0)] = 0,
    kind: Annotated[str, typer.Option(help="What is drawn: mlp, attn, resid, direction, random or sae.")] = "mlp",
    polarity: Annotated[str, typer.Option(help="Side of drawn sites: dominant, both, + or -.")] = "dominant",
    sae: Annotated[
        str,
        typer.Option(
            help="Folders of sparse autoencoders in the layout of SAELens or sparsify, comma-separated; FOLDER@HOOK says the place."
        ),
    ] = "",
    directions: Annotated[str | None, typer.Option(help="A safetensors file of directions in the residual stream.")] = None,
    init: Annotated[str, typer.Option(help="trained, or random: the subject with fresh weights, as a control.")] = "trained",
    twins: Annotated[
        str, typer.Option(help="Controls labelled like the sites: random-direction,random-init; each costs as much as the run itself.")
    ] = "",
    explainer: Annotated[
        str,
        typer.Option(
            help="Who explains: local:NAME, openai:MODEL (or any provider langchain knows), template; with agent: before it, such as "
            "agent:openai:gpt-5, it experiments on the subject."
        ),
    ] = ("local:qwen2.5-coder-1.5b"),
    agent_steps: Annotated[int, typer.Option(help="For agent: calls of the language model a site, at most.", min=1)] = 24,
    agent_calls: Annotated[int, typer.Option(help="For agent: experiments a site, at most.", min=1)] = 60,
    agent_rounds: Annotated[int, typer.Option(help="For agent: of a model that cannot call tools, rounds of a fixed plan.", min=1)] = 2,
    agent_tokens: Annotated[
        int | None, typer.Option(help="For agent: tokens a site, at most, counted at their upper estimate (two bytes a token).", min=1)
    ] = None,
    style: Annotated[str, typer.Option(help="How the explainer is asked: marked-text or token-activation.")] = "marked-text",
    candidates: Annotated[int, typer.Option(help="Explanations to choose from, per site.", min=1, max=50)] = 2,
    simulator: Annotated[str, typer.Option(help="Who simulates: local:NAME, echo:MODEL, openai:MODEL (or another provider), lexical.")] = (
        "local:qwen2.5-coder-0.5b"
    ),
    scorers: Annotated[
        str,
        typer.Option(
            help="Further scorers, comma-separated, which ask the simulator's model: detection,fuzzing,embedding (see selftest); "
            "auto: those that judge most with it, where that is known; none."
        ),
    ] = "auto",
    items: Annotated[int, typer.Option(help="Held-out excerpts that scorers judge on, per site; half of them fire.", min=16)] = 48,
    neighbours: Annotated[
        bool, typer.Option(help="Silent excerpts near in meaning are among them; fetches a small model of embeddings.")
    ] = True,
    enough: Annotated[
        float | None, typer.Option(help="Scorers stop asking once the interval is this narrow, such as 0.2.", min=0.01, max=0.99)
    ] = None,
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
    timeout: Timeout = 60.0,
    batch: Annotated[
        bool, typer.Option("--batch", help="Ask openai: models through the Batch API: half the price, replies within a day; resumable.")
    ] = False,
    seed: Seed = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """Explain neurons, or other sites, with a language model and score each explanation on text nobody was shown.

    Example: explicate label smollm2-135m --sites L7.mlp.1306,L9.mlp.851 --out runs/first
    """
    from evals.label_config import LabelConfig, Limits
    from explicate.running import run_label

    config = LabelConfig.checked(
        subject=subject,
        sites=None if sites is None else tuple(listed(sites)),
        layers=layers,
        sample=sample,
        kind=kind,
        polarity=polarity,
        sae=tuple(listed(sae)),
        directions=directions,
        init=init,
        twins=tuple(listed(twins)),
        experiment={"steps": agent_steps, "tool_calls": agent_calls, "rounds": agent_rounds, "tokens": agent_tokens},
        explainer=explainer,
        style=style,
        candidates=candidates,
        simulator=simulator,
        scorers=() if scorers == "none" else tuple(listed(scorers)),
        items=items,
        neighbours=neighbours,
        enough=enough,
        corpus=corpus,
        tokens=tokens,
        excerpt_tokens=excerpt_tokens,
        base_url=base_url,
        seed=seed,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency, timeout=timeout, batch=batch)
    run_label(config, limits, out, json=json)
