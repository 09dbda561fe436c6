"""`explicate confidence`: whether the confidence that a model states in its answers holds."""

from functools import partial
from typing import Annotated

import typer

from explicate.commands import options


def confidence(
    model: options.AskedModel,
    task: options.TaskName = "sentiment",
    items: Annotated[
        str | None, typer.Option(help="The texts with their true answers, in place of the task's: .jsonl, .csv, or hf:DATASET.")
    ] = None,
    n: options.Draw = 0,
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
    example: options.Example = None,
    base_url: options.BaseUrl = None,
    out: options.Out = None,
    max_calls: options.MaxCalls = None,
    max_tokens: options.MaxTokens = None,
    max_usd: options.MaxUsd = None,
    price: options.Price = None,
    concurrency: options.Concurrency = 8,
    timeout: options.Timeout = 60.0,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Ask a model for its answers and its confidence in them, and hold the confidence against which answers are right.

    Example: explicate confidence qwen2.5-coder-0.5b --task sentiment --n 20 --prompting vanilla,top-k --sampling none,self-random
    """
    from evals.confidence.config import ConfidenceConfig
    from evals.confidence.run import measure_confidence
    from evals.label_config import Limits
    from evals.tasks.task import load_task
    from explicate.confidence_page import write_confidence_page
    from explicate.confidence_table import show_confidence
    from explicate.running import default_out, run_shown

    asked, texts = load_task(task, items=items)
    config = ConfidenceConfig.asking(
        asked,
        texts,
        model=model,
        example=example,
        task=task,
        items=items,
        n=n,
        prompting=tuple(options.listed(prompting)),
        sampling=tuple(options.listed(sampling)),
        aggregate=tuple(options.listed(aggregate)),
        samples=samples,
        deletion=deletion,
        base_url=base_url,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency, timeout=timeout)
    folder = out or default_out(config.model_name, config, "confidence-")
    work = partial(measure_confidence, config, task=asked, items=texts, limits=limits)
    run_shown(work, folder, write_confidence_page, show_confidence, json=json)
