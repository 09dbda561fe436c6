"""`explicate audit`: whether a model's explanations of itself hold when its input is perturbed."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import BaseUrl, Concurrency, Device, Dtype, Json, MaxCalls, MaxTokens, MaxUsd, Price, Seed, listed


def audit(
    model: Annotated[
        str | None,
        typer.Argument(help="A local model by name, folder or Hub id, or openai:MODEL (or another provider); not with --replay."),
    ] = None,
    task: Annotated[str, typer.Option(help="What is asked: sentiment, topic, or a TOML file of your own.")] = "sentiment",
    items: Annotated[str | None, typer.Option(help="The texts, in place of the task's: .txt, .jsonl, .csv, or hf:DATASET.")] = None,
    n: Annotated[int, typer.Option("--n", help="How many items to draw; 0: all.", min=0)] = 0,
    elicit: Annotated[
        str, typer.Option(help="Comma-separated forms of explanation: attribution, top-k, redaction, counterfactual, free-text.")
    ] = "attribution",
    order: Annotated[str, typer.Option(help="Comma-separated: predict-first, explain-first.")] = "predict-first",
    operators: Annotated[str, typer.Option(help="Comma-separated: delete, mask, neutral, replace.")] = "delete,mask",
    persona: Annotated[str, typer.Option(help="In whose name the model answers: you, human, objective; several make a factor.")] = "",
    beside: Annotated[
        str, typer.Option(help="What explanations are held against: occlusion (always), lime, shapley, kernel-shap.")
    ] = "occlusion",
    budget: Annotated[
        int,
        typer.Option(help="Perturbed texts that each of these but occlusion may ask for, an item; it takes what it needs at least.", min=4),
    ] = 100,
    random: Annotated[int, typer.Option(help="Random orders of removal an item: what chance does.", min=2)] = 8,
    belief: Annotated[
        str, typer.Option(help="What the model holds of a text: auto, logprobs, samples, or stated (its confidence).")
    ] = "auto",
    same_prompt: Annotated[
        bool, typer.Option("--same-prompt", help="Ask perturbed texts for the explanation, too, where it comes first: a whole reply each.")
    ] = False,
    example: Annotated[
        bool | None,
        typer.Option("--example/--no-example", help="Show the form of a reply by an example first; by default to local models only."),
    ] = None,
    checks: Annotated[
        str,
        typer.Option(
            help="Comma-separated further tests: redaction, counterfactual, insertion, claims, early-answering, "
            "added-mistakes, paraphrase, filler, suggestion."
        ),
    ] = "",
    replay: Annotated[
        Path | None, typer.Option(help="Instead of a model: a file of recorded answers, rows of {text, label, confidence, explanation}.")
    ] = None,
    paper_compat: Annotated[
        bool, typer.Option("--paper-compat", help="With --replay, show beside each figure what published code makes of the same answers.")
    ] = False,
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
    """Ask a model for its answers and explanations, and check these by what taking words away does to the answers.

    Example: explicate audit qwen2.5-coder-0.5b --task sentiment --n 20 --elicit attribution,top-k --out runs/audit
    """
    from analyzers.errors import ExplicateError
    from evals.audit.replay import replay as replayed
    from explicate.running import run_audit, show_audit_of

    if model is not None and replay is not None:
        raise ExplicateError(f"{model!r} would be asked, and --replay asks no model: give one or the other")
    if model is None and replay is None:
        raise ExplicateError("name a model, such as qwen2.5-coder-0.5b or openai:gpt-5-mini, or give recorded answers with --replay FILE")
    if paper_compat and replay is None:
        raise ExplicateError(
            "--paper-compat is for recorded answers, which published code has computed figures of: give it with --replay FILE"
        )
    if replay is not None:
        folder = out or Path("runs") / f"audit-{replay.name.split('.')[0][:50] or 'recording'}"
        show_audit_of(replayed(replay, folder, seed=seed), folder, json=json, paper_compat=paper_compat)
        return
    from evals.audit.config import AuditConfig, spec_of
    from evals.label_config import Limits
    from evals.tasks.task import load_task

    assert model is not None
    asked, texts = load_task(task, items=items)
    config = AuditConfig.checked(
        model=spec_of(model),
        task=task,
        items=items,
        task_digest=f"{asked.digest[:16]} {texts.digest[:16]}",
        n=n,
        elicit=tuple(listed(elicit)),
        order=tuple(listed(order)),
        operators=tuple(listed(operators)),
        personas=tuple(listed(persona)) or ("",),
        methods=tuple(listed(beside)),
        budget=budget,
        random=random,
        belief=belief,
        same_prompt=same_prompt,
        example=spec_of(model).startswith("local:") if example is None else example,
        checks=tuple(listed(checks)),
        base_url=base_url,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency)
    run_audit(config, asked, texts, limits, out, json=json)
