"""`explicate attribute`: which words of a text decide a model's choice among labels, or how it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from explicate.commands import options

USUAL = ("occlusion", "shapley")
"""Methods where none is named."""


@dataclass(frozen=True)
class Chosen:
    """What a continuation is attributed by."""

    model: str
    methods: list[str]
    operator: str
    unit: str
    budget: int
    chat: bool
    seed: int
    dtype: str
    device: str


def attribute(
    model: options.AskedModel,
    text: Annotated[str | None, typer.Argument(help="The text whose words are taken away; or give --prompts.")] = None,
    labels: Annotated[str, typer.Option(help="What the model chooses among, comma-separated; or give --task.")] = "",
    task: Annotated[
        str | None, typer.Option(help="A task (sentiment, topic, or a TOML file): its question, labels and demonstrations.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The label that is attributed; by default the one the model chooses.")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="A continuation such as ' Paris', in place of labels: what makes a local model go on with it, or an encoder put it at "
            "[MASK] in the text, is attributed."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="Comma-separated: occlusion, shapley, kernel-shap, lime; with --target also what reads the model: gradient-x-input, "
            "integrated-gradients, gradient-norm, attention, attention-rollout, attention-flow, value-norm, attention-x-gradient. By "
            "default occlusion,shapley; in a comparison also all that read the model."
        ),
    ] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="With --target: what taking units away by each method's ranking does, beside random orders.")
    ] = False,
    prompts: Annotated[
        str | None,
        typer.Option(
            help='Compare over many prompts, in place of TEXT and --target: a file with a line {"prompt": ..., "target": ...} each, or '
            "facts, which come along."
        ),
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="With --target or --prompts: the text is the user's turn in the model's chat template.")
    ] = False,
    operator: Annotated[
        str, typer.Option(help="How a word is taken away: delete, mask, neutral, or replace (by another word of the text).")
    ] = "delete",
    unit: Annotated[
        str,
        typer.Option(
            help="What is taken away: word, spaced (between spaces), span (phrase), sentence, demonstration (of --task), token (--target)."
        ),
    ] = "word",
    budget: Annotated[
        int, typer.Option(help="Perturbed texts a method may ask for; each takes what it needs at least.", min=4, max=20_000)
    ] = 200,
    interactions: Annotated[bool, typer.Option("--interactions", help="Of every two words, too: what they do only together.")] = False,
    instruction: Annotated[str, typer.Option(help="What the model is asked, in place of a plain question or the task's.")] = "",
    out: Annotated[Path | None, typer.Option(help="A page to write, such as attribution.html: the text shaded, and charts.")] = None,
    base_url: options.BaseUrl = None,
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
    """Attribute a model's choice among labels, or a continuation, to the words of a text, by taking words away or by reading the model.

    Example: explicate attribute smollm2-135m "The food was cold but the staff were lovely." --labels positive,negative
    """
    from analyzers.attributions import METHODS
    from analyzers.errors import ExplicateError
    from analyzers.perturbations import OPERATORS
    from analyzers.units import cut
    from analyzers.whole_text import whole_text
    from evals.attribute_run import asking_of, run_attribute
    from evals.label_config import Limits
    from explicate.attribution_table import show_attribution
    from explicate.progress import bars
    from explicate.running import await_, plain, show_json
    from explicate.written_file import check_file, write_text

    methods = options.listed(method)
    # What is misspelt is told before a model is fetched and loaded.
    if method and not methods:
        raise ExplicateError(f"--method {method!r} names no method; choose some of {', '.join(METHODS.all())}")
    if target is not None or prompts is not None:
        asked: dict[str, object] = {
            "--labels": labels,
            "--task": task,
            "--label": label,
            "--instruction": instruction,
            "--base-url": base_url,
        }
        asked |= {"--interactions": interactions, "--price": price}
        asked |= {"--max-calls": max_calls is not None, "--max-tokens": max_tokens is not None, "--max-usd": max_usd is not None}
        _refuse(asked, "is for asking a model to choose among labels; leave it out with --target or --prompts")
        chosen = Chosen(model, methods, operator, unit, budget, chat, seed, dtype, device)
        _continuation(chosen, text, target, prompts, compare=compare, out=out, json=json)
        return
    _refuse({"--compare": compare, "--chat": chat}, "is for a continuation; give --target or --prompts, too")
    if text is None:
        raise ExplicateError("give the text whose words are taken away; or --prompts, to compare methods over many")
    methods = methods or list(USUAL)
    for name in methods:
        METHODS.get(name)
    OPERATORS.get(operator)
    if unit != "demonstration":
        cut(whole_text(text), unit)
    if out is not None:
        check_file(out, "attribution.html")
    asking = asking_of(task, options.listed(whole_text(labels)), instruction=whole_text(instruction), unit=unit)
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency, timeout=timeout)
    with bars() as report:
        found = await_(
            run_attribute(
                model,
                asking,
                whole_text(text),
                methods=methods,
                operator=operator,
                unit=unit,
                most=budget,
                label=label.strip() if label else None,
                interactions=interactions,
                seed=seed,
                limits=limits,
                base_url=base_url,
                dtype=dtype,
                device=device,
                report=report,
            )
        )
    if out is not None:
        from explicate.attribution_page import render

        write_text(render(found), out)
    if json:
        show_json({**({} if out is None else {"report": str(out)}), **found.model_dump(mode="json")})
        return
    show_attribution(found)
    if out is not None:
        from rich.console import Console

        Console(emoji=False).print(f"Report: {plain(str(out))}", soft_wrap=True)


def _continuation(
    chosen: Chosen, text: str | None, target: str | None, prompts: str | None, *, compare: bool, out: Path | None, json: bool
) -> None:
    """Attribute the continuation of one text, or compare methods over many prompts, and show what came of it."""
    from analyzers.errors import ExplicateError
    from analyzers.saliency import SALIENCIES
    from analyzers.whole_text import whole_text
    from evals.continuation import Continuation, How
    from evals.continuation_compare import run_continuation, run_prompts
    from explicate.continuation_page import render
    from explicate.continuation_table import show_comparison, show_continuation
    from explicate.progress import bars
    from explicate.running import plain, show_json
    from explicate.written_file import check_file, write_text

    if prompts is not None:
        _refuse({"TEXT": text is not None, "--target": target is not None}, "and --prompts exclude each other; give one of the two")
    elif text is None:
        raise ExplicateError("--target is the continuation of a text: give the text, too")
    if out is not None:
        check_file(out, "attribution.html")
    everything = compare or prompts is not None
    methods = chosen.methods or [*USUAL, *(SALIENCIES.all() if everything else ())]
    how = How(methods, operator=chosen.operator, unit=chosen.unit, most=chosen.budget, chat=chosen.chat, seed=chosen.seed)
    with bars() as report:
        found: Any
        if prompts is not None:
            found = run_prompts(chosen.model, prompts, how, dtype=chosen.dtype, device=chosen.device, report=report)
        else:
            texts = whole_text(text or ""), whole_text(target or "")
            found = run_continuation(chosen.model, *texts, how, compare=compare, dtype=chosen.dtype, device=chosen.device, report=report)
    if out is not None:
        write_text(render(found), out)
    if json:
        show_json({**({} if out is None else {"report": str(out)}), **found.model_dump(mode="json")})
        return
    if isinstance(found, Continuation):
        show_continuation(found)
    else:
        show_comparison(found)
    if out is not None:
        from rich.console import Console

        Console(emoji=False).print(f"Report: {plain(str(out))}", soft_wrap=True)


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Raise ExplicateError for the first of these options that was given."""
    from analyzers.errors import ExplicateError

    for name, value in given.items():
        if value:
            raise ExplicateError(f"{name} {why}")
