"""`explicate audit`: whether a model's explanations of itself hold when its input is perturbed."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def audit(
    model: Annotated[
        str | None,
        typer.Argument(help="A local model by name, folder or Hub id, or openai:MODEL (or another provider); not with --replay."),
    ] = None,
    task: options.TaskName = "sentiment",
    items: Annotated[str | None, typer.Option(help="The texts, in place of the task's: .txt, .jsonl, .csv, or hf:DATASET.")] = None,
    n: options.Draw = 0,
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
    example: options.Example = None,
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
    """Ask a model for its answers and explanations, and check these by what taking words away does to the answers.

    Example: explicate audit qwen2.5-coder-0.5b --task sentiment --n 20 --elicit attribution,top-k --out runs/audit
    """
    from analyzers.errors import ExplicateError
    from evals.audit.replay import replay as replayed
    from explicate.audit_page import write_audit_page
    from explicate.audit_table import show_audit
    from explicate.running import default_out, present, run_shown

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
        shown = partial(show_audit, paper_compat=paper_compat)
        present(replayed(replay, folder, seed=seed), folder, write_audit_page, shown, json=json)
        return
    from evals.audit.config import AuditConfig
    from evals.audit.live import audit as live
    from evals.label_config import Limits
    from evals.tasks.task import load_task

    assert model is not None
    asked, texts = load_task(task, items=items)
    config = AuditConfig.asking(
        asked,
        texts,
        model=model,
        example=example,
        task=task,
        items=items,
        n=n,
        elicit=tuple(options.listed(elicit)),
        order=tuple(options.listed(order)),
        operators=tuple(options.listed(operators)),
        personas=tuple(options.listed(persona)) or ("",),
        methods=tuple(options.listed(beside)),
        budget=budget,
        random=random,
        belief=belief,
        same_prompt=same_prompt,
        checks=tuple(options.listed(checks)),
        base_url=base_url,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency, timeout=timeout)
    folder = out or default_out(config.model_name, config, "audit-")
    work = partial(live, config, task=asked, items=texts, limits=limits)
    run_shown(work, folder, write_audit_page, partial(show_audit, paper_compat=False), json=json)
