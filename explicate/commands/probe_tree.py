"""`explicate probe tree`: whether syntax trees can be read from hidden states."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def tree(
    model: Annotated[str, typer.Argument(help="A decoder or encoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    conllu: Annotated[str, typer.Option(help="Two CoNLL-U files with a comma between: to train on, and to test on.")],
    layers: Annotated[
        str,
        typer.Option(
            help="Such as 0-12 or 0,8,16, or all; by default every third, which takes some ten minutes with 1,000 sentences and 30 layers."
        ),
    ] = "",
    rank: Annotated[
        int | None, typer.Option(help="Rows of the maps; by default 64, or the width of the states if they are narrower.")
    ] = None,
    ranks: Annotated[
        str, typer.Option(help="Further ranks at the chosen layer, such as 1,4,16, or none; by default powers of two below the rank.")
    ] = "",
    limit: Annotated[int, typer.Option(help="Sentences to train on, drawn by seed; 0: all.", min=0)] = 1000,
    test: Annotated[int, typer.Option(help="Sentences to test on, drawn by seed; 0: all.", min=0)] = 500,
    out: options.Page = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Find out whether distances between hidden states are those of words in the syntax tree, beside what knows no syntax.

    Example: explicate probe tree smollm2-135m --conllu train.conllu,dev.conllu -o tree.html
    """
    from analyzers.errors import ExplicateError
    from evals.probes.tree_config import TreeConfig
    from evals.probes.tree_run import run_tree
    from explicate.running import run_written
    from explicate.tree_page import FORMS, show_tree

    try:
        more = None if not ranks else tuple(int(part) for part in options.listed(ranks) if part != "none")
    except ValueError:
        raise ExplicateError(f"--ranks {ranks!r}: give whole numbers, such as 1,4,16, or none") from None
    config = TreeConfig(
        model,
        tuple(Path(part) for part in options.listed(conllu)),
        layers=layers,
        rank=rank,
        ranks=more,
        limit=limit,
        test=test,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    run_written(partial(run_tree, config), out, FORMS, show_tree, usual="tree.html", json=json)
