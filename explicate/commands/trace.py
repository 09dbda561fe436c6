"""`explicate trace`: where in a model facts are stored."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def trace(
    model: Annotated[str, typer.Argument(help="A decoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    facts: Annotated[
        Path, typer.Option(help='.jsonl with {"prompt", "subject", "target"}, or known_1000.json or CounterFact records as they are.')
    ],
    limit: Annotated[
        int,
        typer.Option(
            help="Facts that the model knows to trace, drawn by seed; 0: all. Each takes from seconds to minutes, as the model is large."
        ),
    ] = 20,
    least: Annotated[int, typer.Option(help="Known facts below which nothing is measured; 2 or more, since intervals are over facts.")] = 5,
    kinds: Annotated[str, typer.Option(help="What is restored: residual, mlp, attention.")] = "residual,mlp,attention",
    window: Annotated[
        int | None, typer.Option(help="Layers in which MLPs or attention are restored together; by default a third, at most 10.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws of noise for each fact.")] = 5,
    noise: Annotated[float, typer.Option(help="In standard deviations of the embeddings of subjects' tokens.")] = 3.0,
    out: options.Page = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Find out which layers and tokens carry the facts that a model knows: noise on the subject, one clean state after the other put back.

    Example: explicate trace smollm2-135m --facts facts.jsonl -o trace.html
    """
    from evals.tracing.config import TraceConfig
    from evals.tracing.run import run_trace
    from explicate.running import run_written
    from explicate.trace_page import FORMS
    from explicate.trace_table import show_traced

    config = TraceConfig(
        model,
        facts,
        limit=limit,
        least=least,
        kinds=tuple(options.listed(kinds)),
        window=window,
        samples=samples,
        noise=noise,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    run_written(partial(run_trace, config), out, FORMS, show_traced, usual="trace.html", json=json)
