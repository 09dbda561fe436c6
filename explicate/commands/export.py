"""`explicate export`: a run in the formats of others."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of any kind.")],
    format: Annotated[
        str,
        typer.Option(
            help="parquet or csv (one row a number), html (the page), inspect (.eval logs), mlflow (runs); of labels also neuronpedia, "
            "openai or saelens."
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            help="File or folder to write; for mlflow an SQLite file or the address of a server. By default in the current folder."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write a run in another format: a table, one page, logs of Inspect, runs of MLflow, or the files of other tools.

    Example: explicate export runs/nightly --format csv --out nightly.csv
    """
    from evals.exports import EXPORTS
    from explicate.running import plain, show_json

    written = EXPORTS.get(format)(run, out)
    if json:
        show_json({"format": format, "written": written})
    else:
        from rich.console import Console

        for each in written:
            Console().print(plain(each), soft_wrap=True, highlight=False)
