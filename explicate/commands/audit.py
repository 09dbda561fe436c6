"""`explicate audit`: whether a model's explanations of itself hold when its input is perturbed."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json, Seed


def audit(
    replay: Annotated[Path, typer.Option(help="File of recorded answers, JSON or JSONL rows of {text, label, confidence, explanation}.")],
    paper_compat: Annotated[
        bool, typer.Option("--paper-compat", help="Show beside each figure what published code makes of the same answers.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder; the same command with the same folder writes it again.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Check recorded explanations of a model by what leaving out words did to its answers; asks no model.

    Example: explicate audit --replay answers.jsonl --out runs/audit
    """
    from evals.audit.replay import replay as audited
    from explicate.audit_page import write_audit_page
    from explicate.audit_table import show_audit
    from explicate.running import show_json

    folder = out or Path("runs") / f"audit-{replay.name.split('.')[0][:50] or 'recording'}"
    results = audited(replay, folder, seed=seed)
    page = write_audit_page(folder)
    if json:
        show_json(results.model_dump(mode="json"))
    else:
        show_audit(results, page, paper_compat=paper_compat)
