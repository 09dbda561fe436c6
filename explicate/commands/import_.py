"""`explicate import`: data of other tools as a run."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json, Seed


def import_(
    source: Annotated[Path, typer.Argument(help="File or folder that another tool wrote.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    format: Annotated[
        str | None, typer.Option(help="openai, neuronpedia, saedashboard, delphi or transluce; found out by content if left out.")
    ] = None,
    features: Annotated[str, typer.Option(help="Only the sites with these indices, such as 0-99,512.")] = "",
    tokenizer: Annotated[
        str | None, typer.Option(help="For data that holds token numbers and no text: the subject's tokenizer, a folder or a model's name.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Read activations and explanations that another tool wrote, and tell what is wrong with them.

    Example: explicate import batch-0.json --out runs/theirs
    """
    from evals.exchange.importing import import_run
    from explicate.import_table import show_imported
    from explicate.progress import bars
    from explicate.report import write_report
    from explicate.running import await_, present

    with bars() as report:
        work = import_run(source, out, format=format, features=features, tokenizer=tokenizer, seed=seed, report=report)
        results = await_(work)
    present(results, out, write_report, show_imported, json=json)
