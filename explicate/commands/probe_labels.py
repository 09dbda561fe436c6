"""`explicate probe MODEL`: which labels of words and sentences can be read from hidden states."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def labels(
    model: Annotated[str, typer.Argument(help="A decoder or encoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    task: Annotated[
        str | None,
        typer.Option(
            help="Of words: pos, xpos, deprel, or a feature such as Number; of sentences: sentence-length, tree-depth, bigram-shift, "
            "tense, subject-number, object-number, coordination-inversion. By default pos; with --items any name."
        ),
    ] = None,
    conllu: Annotated[
        str | None,
        typer.Option(
            help="CoNLL-U: a file, of which a part tests, or two with a comma between, to train on and to test on. By default a sample."
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(
            help='In place of a treebank: .jsonl with {"text", "spans": [[start, end]], "labels"} a line, or a .tsv or .txt of SentEval.'
        ),
    ] = None,
    control: Annotated[bool, typer.Option("--control", help="Also train on control labels, drawn for each word: selectivity.")] = False,
    mdl: Annotated[bool, typer.Option("--mdl", help="Also tell how short the labels' online code gets: mdl_compression.")] = False,
    probe: Annotated[str, typer.Option(help="logistic, mlp (one hidden layer of 50), or both, the second as a curve.")] = "logistic",
    random_init: Annotated[
        bool, typer.Option("--random-init/--no-random-init", help="Probe the same model with random weights, too, which takes as long.")
    ] = True,
    pool: Annotated[
        str, typer.Option(help="The tokens of a word or sentence that are read: mean, first, last, or an encoder's start.")
    ] = "mean",
    limit: Annotated[
        int | None,
        typer.Option(
            help="Texts that train at most, and as many that test, drawn by seed; 0: all. By default 500, of sentence tasks 1000.", min=0
        ),
    ] = None,
    test_share: Annotated[float, typer.Option(help="Of a single file, the share of its documents or sentences that tests.")] = 0.2,
    out: options.Page = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Find out which labels of words or sentences can be read from the states of each layer, beside what knows no context or no language.

    With --control --mdl and 500 sentences a model of 30 layers takes some ten minutes on two cores.

    Example: explicate probe labels smollm2-135m --task pos --conllu train.conllu,dev.conllu --control --mdl -o probe.html
    """
    from typing import cast

    from analyzers.states.pieces import Pool
    from evals.probes.labels import run_labels
    from evals.probes.labels_config import LabelsConfig, Probes
    from explicate.labels_page import FORMS, show_labels
    from explicate.running import run_written

    config = LabelsConfig(
        model,
        task,
        conllu=tuple(Path(part) for part in options.listed(conllu or "")),
        items=items,
        pool=cast(Pool, pool),
        probe=cast(Probes, probe),
        control=control,
        mdl=mdl,
        random_init=random_init,
        test_share=test_share,
        limit=limit,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    run_written(partial(run_labels, config), out, FORMS, show_labels, usual="probe.html", json=json)
