"""`explicate probe view`: hidden states in the plane."""

from functools import partial
from pathlib import Path
from typing import Annotated, cast

import typer

from explicate.commands import options


def view(
    model: Annotated[str, typer.Argument(help="A decoder or encoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    task: Annotated[
        str, typer.Option(help="How words of a treebank are labelled: pos, xpos, deprel, or a feature such as Number.")
    ] = "pos",
    conllu: Annotated[
        str, typer.Option(help="CoNLL-U files, comma-separated, whose words are shown; by default a sample that is built in.")
    ] = "",
    csv: Annotated[Path | None, typer.Option(help="In place of words the texts of a .csv, .tsv or .jsonl file.")] = None,
    name: Annotated[str | None, typer.Option(help="Its column with the texts; not needed where it has a usual name.")] = None,
    label: Annotated[str, typer.Option(help="Its column with labels or numbers, or two with a comma between: LATITUDE,LONGITUDE.")] = "",
    text: Annotated[list[str] | None, typer.Option(help="In place of these the words of a text; may be given again.")] = None,
    layers: Annotated[str, typer.Option("--layers", "--layer", help="Such as 8 or 0,8,16; by default the middle one.")] = "",
    limit: Annotated[int, typer.Option(help="Points to show, drawn by seed; directions are fitted to as many others.", min=1)] = 1000,
    pool: Annotated[
        str | None,
        typer.Option(help="Which tokens: mean, first, last, or of an encoder start; by default mean of words and last of texts."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file to write: .html (the views), or .json (all figures).")] = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Draw hidden states in the plane: principal components, the plane of a probe, and t-SNE, with what each keeps of who is near whom.

    Example: explicate probe view smollm2-135m --task pos --layers 0,15,30 -o view.html
    """
    from analyzers.states.pieces import Pool
    from analyzers.whole_text import whole_text
    from evals.probes.view import run_view
    from evals.probes.view_config import ViewConfig
    from explicate.probe_view_page import FORMS
    from explicate.probe_view_table import show_view
    from explicate.running import run_written

    config = ViewConfig(
        model,
        task=task,
        conllu=tuple(Path(part) for part in options.listed(conllu)),
        csv=csv,
        name=name,
        label=tuple(options.listed(label)),
        text=tuple(whole_text(each) for each in text or ()),
        layers=layers,
        limit=limit,
        pool=cast("Pool | None", pool),
        seed=seed,
        dtype=dtype,
        device=device,
    )
    run_written(partial(run_view, config), out, FORMS, show_view, usual="view.html", json=json)
