"""The page of a run, which is one file without external requests, under a name of its own."""

import shutil
from pathlib import Path

from analyzers.errors import RunFolderError
from analyzers.whole_files import replaced
from evals.exports import EXPORTS
from evals.exports.places import target_file
from evals.metrics.folder import kind_of

PAGE = "report.html"


@EXPORTS.add("html")
def export_html(run: Path, out: str | None) -> list[str]:
    """NAME.html in the current folder, where nothing else is said."""
    kind_of(run)
    page = run / PAGE
    if not page.is_file():
        raise RunFolderError(f"{str(run)!r} has no {PAGE}; draw it by `explicate report {run}`")
    path = target_file(run, out, ".html")
    with replaced(path) as temporary:
        shutil.copyfile(page, temporary)
    return [str(path)]
