"""`explicate probe place`: whether hidden states say where or when entities are."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def place(
    model: Annotated[str, typer.Argument(help="A decoder or encoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    csv: Annotated[
        Path | None, typer.Option(help="A .csv or .tsv file of entities, a column each for names and targets; by default some 150 cities.")
    ] = None,
    target: Annotated[
        str, typer.Option(help="Latitude and longitude as LATITUDE,LONGITUDE, or one column of numbers, years or ISO dates.")
    ] = "",
    name: Annotated[str, typer.Option(help="The column with the entities' names.")] = "name",
    template: Annotated[
        str, typer.Option(help='The text that is read, {name} being the entity: "What are the lat/lon coordinates of {name}".')
    ] = "{name}",
    split: Annotated[
        str, typer.Option(help="auto: the column is_test says who tests, where there is one; drawn: a fifth is drawn.")
    ] = "auto",
    hold_out: Annotated[
        str | None, typer.Option(help="A column, such as country, whose groups are also held out as wholes: each is predicted unseen.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Rounds in which groups are held out; by default 5, or as many as there are groups.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Entities, drawn by seed; 0: all.", min=0)] = 5000,
    mlp: Annotated[bool, typer.Option("--mlp", help="Also a small network on every layer, to see what is there but not linear.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file to write: .html (a page with the map), or .json.")] = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Find out whether places or dates can be read off hidden states of names, beside what knows nothing, and draw the map.

    Example: explicate probe place smollm2-135m --hold-out country -o map.html
    """
    from evals.probes.place import PlaceConfig, run_place
    from explicate.place_page import FORMS
    from explicate.place_table import show_place
    from explicate.running import run_written

    config = PlaceConfig(
        model,
        csv,
        target=tuple(options.listed(target)),
        name=name,
        template=template,
        split=split,
        hold_out=hold_out,
        folds=folds,
        limit=limit,
        mlp=mlp,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    run_written(partial(run_place, config), out, FORMS, show_place, usual="map.html", json=json)
