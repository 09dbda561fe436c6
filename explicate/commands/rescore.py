"""`explicate rescore`: somebody else's explanations under the rules of this program."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import BaseUrl, Concurrency, Json, MaxCalls, MaxTokens, MaxUsd, Price, Seed, Timeout


def rescore(
    run: Annotated[Path, typer.Argument(help="Run folder that `explicate import` wrote.")],
    simulator: Annotated[str, typer.Option(help="Who simulates: local:NAME, echo:MODEL, openai:MODEL (or another provider), lexical.")] = (
        "local:qwen2.5-coder-0.5b"
    ),
    records: Annotated[int, typer.Option(help="Most records of a site to score its explanation on.", min=2)] = 60,
    base_url: BaseUrl = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    price: Price = None,
    concurrency: Concurrency = 8,
    timeout: Timeout = 60.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Score imported explanations on records that their explainer was not shown, beside controls.

    Example: explicate rescore runs/theirs --simulator local:qwen2.5-coder-0.5b
    """
    from evals.exchange.config import RescoreConfig
    from evals.exchange.rescoring import rescore as work
    from evals.label_config import Limits
    from explicate.import_table import show_rescored
    from explicate.report import write_report
    from explicate.running import run_shown

    config = RescoreConfig(simulator=simulator, records=records, base_url=base_url, seed=seed)
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency, timeout=timeout)
    results = run_shown(partial(work, config=config, limits=limits), run, write_report, show_rescored, json=json)
    if not results.leak_audit.passed:
        raise typer.Exit(2)
