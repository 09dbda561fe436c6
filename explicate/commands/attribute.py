"""`explicate attribute`: which words of a text decide a model's choice among labels, or how it goes on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options

USUAL = ("occlusion", "shapley")
"""Methods where none is named."""
DTYPES = ("auto", "float32", "bfloat16", "float16")
MIXED = "mixed"
"""A number format of those that answer on a CPU."""
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
"""Told apart before torch is imported, which takes seconds; whether a device is there only torch knows."""


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
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A file to write: .html (a page: the text shaded, and charts), or .json (all figures)."),
    ] = None,
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
    from evals.attribute_run import asking_of, check_label, run_attribute
    from evals.label_config import Limits
    from explicate.attribution_page import FORMS
    from explicate.attribution_table import show_attribution
    from explicate.running import await_, run_written

    methods = options.listed(method)
    # What is misspelt is told before a model is fetched and loaded.
    if method and not methods:
        raise ExplicateError(f"--method {method!r} names no method; choose some of {', '.join(METHODS.all())}")
    continues = target is not None or prompts is not None
    _check_numbers(dtype, device, DTYPES if continues else (*DTYPES, MIXED))
    if continues:
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
    asking = asking_of(task, options.listed(whole_text(labels)), instruction=whole_text(instruction), unit=unit)
    label = label.strip() if label else None
    check_label(label, asking)
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency, timeout=timeout)
    work = partial(
        run_attribute,
        model,
        asking,
        whole_text(text),
        methods=methods,
        operator=operator,
        unit=unit,
        most=budget,
        label=label,
        interactions=interactions,
        seed=seed,
        limits=limits,
        base_url=base_url,
        dtype=dtype,
        device=device,
    )
    run_written(lambda report: await_(work(report=report)), out, FORMS, show_attribution, usual="attribution.html", json=json)


def _continuation(
    chosen: Chosen, text: str | None, target: str | None, prompts: str | None, *, compare: bool, out: Path | None, json: bool
) -> None:
    """Attribute the continuation of one text, or compare methods over many prompts, and show what came of it."""
    from analyzers.errors import ExplicateError
    from analyzers.progress import Report
    from analyzers.saliency import SALIENCIES
    from analyzers.whole_text import whole_text
    from evals.continuation import Continuation, How
    from evals.continuation_compare import Comparison, read_prompts, run_continuation, run_prompts
    from explicate.continuation_page import FORMS
    from explicate.continuation_table import show
    from explicate.running import run_written

    if prompts is not None:
        _refuse({"TEXT": text is not None, "--target": target is not None}, "and --prompts exclude each other; give one of the two")
        # Before the methods that read a model are looked for, which imports torch.
        read_prompts(prompts)
    elif text is None:
        raise ExplicateError("--target is the continuation of a text: give the text, too")
    everything = compare or prompts is not None
    methods = chosen.methods or [*USUAL, *(SALIENCIES.all() if everything else ())]
    how = How(methods, operator=chosen.operator, unit=chosen.unit, most=chosen.budget, chat=chosen.chat, seed=chosen.seed)

    def work(report: Report) -> Continuation | Comparison:
        if prompts is not None:
            return run_prompts(chosen.model, prompts, how, dtype=chosen.dtype, device=chosen.device, report=report)
        texts = whole_text(text or ""), whole_text(target or "")
        return run_continuation(chosen.model, *texts, how, compare=compare, dtype=chosen.dtype, device=chosen.device, report=report)

    run_written(work, out, FORMS, show, usual="attribution.html", json=json)


def _check_numbers(dtype: str, device: str, dtypes: tuple[str, ...]) -> None:
    """Raise ExplicateError for a number format or a device that is none."""
    from analyzers.errors import ExplicateError

    if dtype not in dtypes:
        raise ExplicateError(f"--dtype {dtype!r} is no number format; choose one of {', '.join(dtypes)}")
    if DEVICE.fullmatch(device) is None:
        raise ExplicateError(f"--device {device!r} is no device; choose auto, cpu, cuda or mps")


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Raise ExplicateError for the first of these options that was given."""
    from analyzers.errors import ExplicateError

    for name, value in given.items():
        if value:
            raise ExplicateError(f"{name} {why}")
