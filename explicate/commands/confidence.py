"""`explicate confidence`: whether the confidence that a model states in its answers holds."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import BaseUrl, Concurrency, Device, Dtype, Json, MaxCalls, MaxTokens, MaxUsd, Price, Seed, listed


def confidence(
    model: Annotated[str, typer.Argument(help="A local model by name, folder or Hub id, or openai:MODEL (or another provider).")],
    task: Annotated[str, typer.Option(help="What is asked: sentiment, topic, or a TOML file of your own.")] = "sentiment",
    items: Annotated[
        str | None, typer.Option(help="The texts with their true answers, in place of the task's: .jsonl, .csv, or hf:DATASET.")
    ] = None,
    n: Annotated[int, typer.Option("--n", help="How many items to draw; 0: all.", min=0)] = 0,
    prompting: Annotated[
        str, typer.Option(help="How confidence is asked for: vanilla, cot, self-probing, multi-step, top-k.")
    ] = "vanilla,top-k",
    sampling: Annotated[
        str, typer.Option(help="How several replies are had: none (one reply), self-random, paraphrase, misleading.")
    ] = "none,self-random",
    aggregate: Annotated[
        str, typer.Option(help="How several replies become one: consistency, avg-conf, pair-rank (of top-k only).")
    ] = "consistency,avg-conf,pair-rank",
    samples: Annotated[int, typer.Option(help="Replies of every sampling strategy but none, an item.", min=2, max=100)] = 5,
    deletion: Annotated[
        bool,
        typer.Option(
            "--deletion/--no-deletion", help="Ask again without the words that the model calls decisive, and without random ones."
        ),
    ] = True,
    example: Annotated[
        bool | None,
        typer.Option("--example/--no-example", help="Show the form of a reply by an example first; by default to local models only."),
    ] = None,
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
    json: Json = False,
) -> None:
    """Ask a model for its answers and its confidence in them, and hold the confidence against which answers are right.

    Example: explicate confidence qwen2.5-coder-0.5b --task sentiment --n 20 --prompting vanilla,top-k --sampling none,self-random
    """
    from evals.audit.config import spec_of
    from evals.confidence.config import ConfidenceConfig
    from evals.label_config import Limits
    from evals.tasks.task import load_task
    from explicate.confidence_table import run_confidence

    asked, texts = load_task(task, items=items)
    config = ConfidenceConfig.checked(
        model=spec_of(model),
        task=task,
        items=items,
        task_digest=f"{asked.digest[:16]} {texts.digest[:16]}",
        n=n,
        prompting=tuple(listed(prompting)),
        sampling=tuple(listed(sampling)),
        aggregate=tuple(listed(aggregate)),
        samples=samples,
        deletion=deletion,
        example=spec_of(model).startswith("local:") if example is None else example,
        base_url=base_url,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency)
    run_confidence(config, asked, texts, limits, out, json=json)
