"""`explicate report`: draw a run's report again, or check its leak audit from the artefacts."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json


def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    leak_audit: Annotated[bool, typer.Option("--leak-audit", help="Check again that nothing scored was shown to the explainer.")] = False,
    json: Json = False,
) -> None:
    """Draw the report of a run, or re-check its leak audit.

    Example: explicate report runs/demo --leak-audit
    """
    from analyzers.errors import ExplicateError
    from explicate.report import read, write_report
    from explicate.running import show, show_json

    if leak_audit:
        from agents.untrusted import one_line
        from evals.leak_audit import audit

        found = audit(run)
        if json:
            show_json(found.model_dump(mode="json"))
        else:
            print(f"{'passed' if found.passed else 'FAILED'}: {found.checked:,} comparisons, largest overlap {found.largest_overlap:.0%}")
            for leak in found.leaks:
                print("  " + one_line(", ".join(f"{key} {value}" for key, value in leak.items())))
        if not found.passed:
            raise ExplicateError(f"{str(run)!r} leaks: {len(found.leaks)} scored or selecting excerpts were shown to an explainer")
        return
    artefacts = read(run)
    page = write_report(run)
    if json:
        show_json({"report": str(page), **artefacts.results.model_dump(mode="json")})
    else:
        show(artefacts.results, page)
