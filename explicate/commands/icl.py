"""`explicate icl`: how a model learns a task from the examples in its context."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options

OF_DEMONSTRATIONS = ("task", "shots", "items", "seed")
"""Options that say which demonstrations are read."""
OF_ANALYSES = ("analyses", "n", "seeds")
"""Options that only the analyses have."""


def icl(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A decoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    task: Annotated[
        str, typer.Option(help="sentiment, topic, a TOML file of your own, or with --items the paper's trec or sst2.")
    ] = "sentiment",
    shots: Annotated[int, typer.Option(help="Demonstrations of each label before a query.")] = 1,
    analyses: Annotated[str, typer.Option(help="Comma-separated; see docs/results.md for what each measures.")] = "flow,isolate",
    items: Annotated[
        str | None, typer.Option(help="A .jsonl, .csv or .tsv file, hf:DATASET, or a text file with a label and a text in each line.")
    ] = None,
    n: Annotated[int, typer.Option("--n", help="How many items to ask about; 0: all that are not shown.", min=0)] = 50,
    seeds: Annotated[int, typer.Option(help="Draws of demonstrations; every item is asked about behind each of them.", min=1)] = 3,
    out: options.Page = None,
    save: Annotated[Path | None, typer.Option(help="Only compress the demonstrations, to this .safetensors file.")] = None,
    load: Annotated[Path | None, typer.Option(help="Answer --ask from such a file; the model reads no demonstration again.")] = None,
    ask: Annotated[list[str] | None, typer.Option(help="A text that is answered from --load; may be given again.")] = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Analyse how a model answers from examples in its context: what its label words gather, and what the answer takes from them.

    Example: explicate icl smollm2-135m --task sentiment --shots 2 --analyses flow,isolate
    """
    from analyzers.errors import ExplicateError
    from analyzers.whole_text import whole_text
    from evals.icl.config import IclConfig
    from evals.icl.run import run_icl
    from evals.icl.saving import answer_from, save_context
    from explicate.icl_page import FORMS
    from explicate.icl_table import show_answers, show_icl, show_saved
    from explicate.progress import bars
    from explicate.running import run_written, show_json

    if (save, load).count(None) == 0 or (out is not None and (save or load) is not None):
        raise ExplicateError("--save, --load and --out do different things; give one of them")
    if load is None and ask:
        raise ExplicateError("--ask is answered from compressed demonstrations; give their file with --load")
    if save is not None:
        _refuse(context, OF_ANALYSES, "is for the analyses, and --save only compresses demonstrations; leave it out")
    if load is not None:
        _refuse(
            context, OF_DEMONSTRATIONS + OF_ANALYSES, "is not for --load, which answers behind the demonstrations in the file; leave it out"
        )
        with bars() as report:
            answered = answer_from(model, load, [whole_text(each) for each in ask or ()], dtype=dtype, device=device, report=report)
        if json:
            show_json(answered.model_dump(mode="json"))
        else:
            show_answers(answered)
        return
    config = IclConfig(
        model,
        task,
        analyses=tuple(dict.fromkeys(options.listed(analyses))),
        shots=shots,
        items=items,
        n=n,
        seeds=seeds,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    if save is not None:
        with bars() as report:
            saved = save_context(config, save, report=report)
        if json:
            show_json(saved.model_dump(mode="json"))
        else:
            show_saved(saved)
        return
    run_written(partial(run_icl, config), out, FORMS, show_icl, usual="icl.html", json=json)


def _refuse(context: typer.Context, options: Sequence[str], why: str) -> None:
    """Raise ExplicateError for the first of these options that was given, rather than ignore it."""
    from analyzers.errors import ExplicateError

    for name in options:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ExplicateError(f"--{name} {why}")
