"""`explicate grow`: how what a model knows grew over the checkpoints of its training."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def grow(
    checkpoints: Annotated[
        str | None,
        typer.Argument(
            help="A folder of checkpoints called by their steps (checkpoint-1000, step_1000), or of one such folder for each seed; with "
            "--revisions a name on the Hugging Face Hub; with --train the folder to train into."
        ),
    ] = None,
    probes: Annotated[str, typer.Option(help="Comma-separated: pos and tree, and of decoders next-token, minimal-pairs and facts.")] = (
        "pos,tree,next-token,minimal-pairs,facts"
    ),
    revisions: Annotated[str, typer.Option(help="Of organisation/model on the Hub, such as step0,step1000,step143000.")] = "",
    train: Annotated[
        str | None, typer.Option(help="Train a small model here first, on a .txt, .md or .jsonl file, a folder of them, or hf:DATASET.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="How long to train each seed; 10 where neither this nor --steps is given.")] = None,
    steps: Annotated[int | None, typer.Option(help="How many steps to train, in place of --minutes.")] = None,
    seeds: Annotated[int, typer.Option(help="How many models to train, with seeds from --seed on.")] = 1,
    conllu: Annotated[
        str | None,
        typer.Option(
            help="CoNLL-U for pos, tree and next-token: a file, of which a part tests, or two with a comma between. By default a sample."
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Minimal pairs as in BLiMP: .jsonl with sentence_good and sentence_bad, or a folder of them. By default a sample."
        ),
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option(
            help='Facts: .jsonl with {"prompt", "target", "relation"}, a relation as .json, or a folder of them. By default a sample.'
        ),
    ] = None,
    depth: Annotated[float, typer.Option(help="Which layer pos and tree read, as a share of all layers.")] = 0.5,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Sentences to train probes on, as many to test on, pairs and facts, at most, drawn by seed; 0: all. "
            "By default 400, 300, 1000 and 1000.",
            min=0,
        ),
    ] = None,
    out: options.Page = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Probe every checkpoint of a training: when parts of speech, syntax, the next token, minimal pairs and facts grew, and in which order.

    What was measured is kept: the same command goes on where it was stopped, in training, too.

    Example: explicate grow ./checkpoints --probes pos,tree,facts,minimal-pairs -o growth.html
    """
    from evals.growing.config import GrowConfig
    from evals.growing.run import run_grow
    from explicate.growth_page import FORMS
    from explicate.growth_table import show_grown
    from explicate.running import run_written

    config = GrowConfig(
        checkpoints,
        tuple(dict.fromkeys(options.listed(probes))),
        revisions=tuple(options.listed(revisions)),
        train=train,
        minutes=minutes,
        steps=steps,
        seeds=seeds,
        conllu=tuple(Path(part) for part in options.listed(conllu or "")),
        pairs=pairs,
        facts=facts,
        depth=depth,
        limit=limit,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    run_written(partial(run_grow, config), out, FORMS, show_grown, usual="growth.html", json=json)
