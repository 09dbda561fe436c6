"""`explicate edit`: write new facts into a model, and find out what else that changes."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def edit(
    model: Annotated[str, typer.Argument(help="A decoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    edits: Annotated[
        Path | None,
        typer.Option(
            help="The facts: JSON lines with prompt, subject, target_new and, if known, ground_truth, or records of CounterFact, zsRE "
            "or KnowEdit."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="Comma-separated: rome (one layer), memit (several layers, all facts at once), ft (fine-tuning within a bound), "
            "ice (told in the context: changes nothing). Of several only the first is made and saved; --evaluate measures all."
        ),
    ] = "rome",
    form: Annotated[str, typer.Option("--format", help="counterfact, zsre, knowedit or plain; auto: that of the first record.")] = "auto",
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Measure each edit by itself, beside controls.")] = False,
    sequential: Annotated[bool, typer.Option("--sequential", help="Measure the model after 1, 2, 5, 10, ... edits.")] = False,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Block whose MLP is changed, by its number, or trace: where causal tracing peaks over three or more true facts that the "
            "model knows; by default one at a fifth of the depth."
        ),
    ] = None,
    covariance: Annotated[
        str, typer.Option(help="Text that edits are to leave alone: an asset, a .txt, .md or .jsonl file, a folder of them, or hf:DATASET.")
    ] = "wikipedia-sample",
    tokens: Annotated[int, typer.Option(help="Of that text, in tokens.")] = 100_000,
    generate: Annotated[
        int | None,
        typer.Option(help="Tokens to write on: for fluency, by default 100 (0: none), or with --ask for an answer, by default 20."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Edits, drawn by seed; 0: all.", min=0)] = 0,
    load: Annotated[
        list[Path] | None,
        typer.Option(help="Folder with edits that -o has saved, for --ask and --export; may be repeated: one after the other."),
    ] = None,
    ask: Annotated[
        list[str] | None, typer.Option(help="A prompt to go on behind with the loaded edits and without; may be repeated.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="A new folder for the model with the loaded edits, which every command takes as a model.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder: deltas.safetensors (the edits), results.json and report.html.")
    ] = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Write new facts into a few weights of a model, measure what that changes beside controls, and take it back to the bit.

    What was made or measured is kept: the same command goes on where it was stopped.

    Example: explicate edit smollm2-135m --edits edits.jsonl --method rome,ft,ice --evaluate -o edited/
    """
    from analyzers.errors import ExplicateError
    from evals.editing.ask import run_ask
    from evals.editing.config import ANSWERED, GENERATED, AskConfig, EditConfig
    from evals.editing.run import run_edit
    from explicate.edit_page import check_folder, write_edited
    from explicate.edit_table import show_asked, show_edited
    from explicate.progress import bars
    from explicate.running import say, show_json

    if load or ask or export is not None:
        if not load:
            raise ExplicateError("--ask and --export are of saved edits; name their folder by --load")
        if edits is not None:
            raise ExplicateError("--edits writes new edits and --load asks about saved ones; give one of them")
        if evaluate or sequential or out is not None:
            raise ExplicateError("--evaluate, --sequential and --out are of new edits; with --load give --ask PROMPT or --export FOLDER")
        question = AskConfig(model, tuple(load), tuple(ask or ()), export, ANSWERED if generate is None else generate, dtype, device)
        with bars() as report:
            asked = run_ask(question, report=report)
        if json:
            show_json(asked.model_dump(mode="json"))
        else:
            show_asked(asked)
        return
    if edits is None:
        raise ExplicateError("nothing to edit: give --edits FILE, or --load FOLDER with --ask PROMPT")
    config = EditConfig(
        model,
        edits,
        tuple(dict.fromkeys(options.listed(method))),
        form=form,
        evaluate=evaluate,
        sequential=sequential,
        out=out,
        layer=layer,
        covariance=covariance,
        tokens=tokens,
        generate=GENERATED if generate is None else generate,
        limit=limit,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    if out is not None:
        check_folder(out)
    with bars() as report:
        found = run_edit(config, tell=say, report=report)
    page = None if out is None else write_edited(found, out)
    if json:
        show_json({**({} if page is None else {"report": str(page)}), **found.model_dump(mode="json")})
    else:
        show_edited(found, page)
