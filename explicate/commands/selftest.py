"""`explicate selftest`: can this simulator tell true explanations from false ones?"""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import BaseUrl, Concurrency, Json, MaxCalls, MaxTokens, MaxUsd, Price, Seed, Timeout


def selftest(
    simulator: Annotated[str, typer.Option(help="Whom to test: local:NAME, echo:MODEL, openai:MODEL (or another provider), lexical.")] = (
        "local:qwen2.5-coder-0.5b"
    ),
    scorers: Annotated[
        str, typer.Option(help="Test these scorers around the same model instead: all, or names with commas: detection,contest.")
    ] = "",
    planted: Annotated[Path | None, typer.Option(help="JSON file of planted neurons; else the ones that come along.")] = None,
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
    """Test a simulator, or scorers, on planted neurons whose true explanation is known, and keep the result for later runs to show.

    Example: explicate selftest --simulator local:qwen2.5-coder-0.5b --scorers all
    """
    from evals.label_config import Limits
    from evals.selftest_run import run_scorer_tests, run_selftest
    from explicate.commands.options import listed
    from explicate.progress import bars
    from explicate.running import await_, show_json
    from explicate.selftest_tables import scorer_tests_json, show_scorer_tests, show_selftest

    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency, timeout=timeout)
    if scorers:
        with bars() as report:
            found = await_(
                run_scorer_tests(simulator, listed(scorers), planted, limits=limits, base_url=base_url, seed=seed, report=report)
            )
        if json:
            show_json(scorer_tests_json(found))
        else:
            show_scorer_tests(found)
        return
    with bars() as report:
        result, path = await_(run_selftest(simulator, planted, limits=limits, base_url=base_url, seed=seed, report=report))
    if json:
        show_json(
            {**result.instrument.model_dump(mode="json"), "explanations": [row.model_dump(mode="json") for row in result.explanations]}
        )
        return
    show_selftest(result)
    print(f"Kept in {path}" + ("; runs with this simulator show it." if planted is None else "."))
