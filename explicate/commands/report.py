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
    """Draw the report of a run (label, import, audit, confidence or suite), or re-check its leak audit.

    Example: explicate report runs/demo --leak-audit
    """
    from analyzers.errors import ExplicateError
    from evals.run_folder import read_json
    from explicate.label_table import show
    from explicate.report import read, write_report
    from explicate.running import show_json

    manifest = run / "manifest.json"
    kind = read_json(manifest).get("command", "label") if manifest.exists() else "label"
    if leak_audit and kind not in ("label", "import"):
        raise ExplicateError(f"{str(run)!r} is no labelling run, but one of {kind!r}: only those have excerpts that could leak")
    if leak_audit:
        from agents.untrusted import one_line
        from evals.exchange.audit import audit_imported
        from evals.leak_audit import audit

        found = audit_imported(run) if kind == "import" else audit(run)
        if json:
            show_json(found.model_dump(mode="json"))
        else:
            print(f"{'passed' if found.passed else 'FAILED'}: {found.checked:,} comparisons, largest overlap {found.largest_overlap:.0%}")
            for leak in found.leaks:
                print("  " + one_line(", ".join(f"{key} {value}" for key, value in leak.items())))
        if not found.passed:
            raise ExplicateError(f"{str(run)!r} leaks: {len(found.leaks)} scored or selecting excerpts were shown to an explainer")
        return
    if kind == "audit":
        from evals.audit.results import AuditResults
        from evals.run_folder import read_results
        from explicate.audit_page import write_audit_page
        from explicate.audit_table import show_audit

        page, audited = write_audit_page(run), read_results(run, AuditResults)
        if json:
            show_json({"report": str(page), **audited.model_dump(mode="json")})
        else:
            show_audit(audited, page, paper_compat=any(row.paper_compat for row in audited.rows))
        return
    if kind == "confidence":
        from evals.confidence.results import ConfidenceResults
        from evals.run_folder import read_results
        from explicate.confidence_page import write_confidence_page
        from explicate.confidence_table import show_confidence

        page, measured = write_confidence_page(run), read_results(run, ConfidenceResults)
        if json:
            show_json({"report": str(page), **measured.model_dump(mode="json")})
        else:
            show_confidence(measured, page)
        return
    if kind == "suite":
        from evals.run_folder import read_results
        from evals.suites import SuiteResults
        from explicate.suite_page import write_suite_page
        from explicate.suite_table import show_suite

        page, ran = write_suite_page(run), read_results(run, SuiteResults)
        if json:
            show_json({"report": str(page), **ran.model_dump(mode="json")})
        else:
            show_suite(ran, run, page, None)
        return
    artefacts = read(run)
    page = write_report(run)
    if json:
        show_json({"report": str(page), **artefacts.results.model_dump(mode="json")})
    else:
        show(artefacts.results, page)
