"""What every page needs: its template, the database, a run by its id, a form's fields, and errors that are pages or JSON."""

from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import Depends, HTTPException, Path, Request
from fastapi.responses import HTMLResponse

from evals.database import Database
from evals.database.rows import RunRow
from explicate.pages import environment
from explicate.shaded_words import visible
from explicate.web.assets import address

MAX_TEXT = 200
"""Characters of a search or a filter."""
MAX_PAGE = 200
"""Rows of a page at most."""
MAX_OFFSET = 10_000_000
"""Rows that can be left out at most."""
_MAX_FIELDS = 100
"""Of a form."""


def database(request: Request) -> Database:
    """The database that the pages are of."""
    found: Database = request.app.state.database
    return found


Store = Annotated[Database, Depends(database)]
"""A route's parameter: the database."""


def known_run(database: Store, run_id: Annotated[str, Path(max_length=MAX_TEXT)]) -> RunRow:
    """The run of the route's `run_id`; raises HTTPException 404, which becomes a page."""
    found = database.run(run_id)
    if found is None:
        raise HTTPException(404, "There is no run of this id; it may have been taken out of the database.")
    return found


Run = Annotated[RunRow, Depends(known_run)]
"""A route's parameter: the run that `{run_id}` in its path names."""


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template of templates/web, with every value escaped; a name that the template does not know is an error."""
    loaded = environment().get_template(f"web/{template}")
    text = loaded.render(
        asset=address,
        here=request.scope["path"],
        path_with=lambda **changes: path_with(request, **changes),
        visible=visible,
        signed_in=request.app.state.token is not None,
        **values,
    )
    return HTMLResponse(text, status_code=status)


def path_with(request: Request, **changes: object) -> str:
    """This page's path and query with some parameters changed; None or "" takes one out."""
    query = {**request.query_params, **changes}
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    path: str = request.scope["path"]
    return path + (f"?{urlencode(kept)}" if kept else "")


async def fields(request: Request) -> dict[str, str]:
    """The fields of a form that was sent as browsers do (the last of those with one name); raises HTTPException 400 for another body."""
    try:
        found = parse_qs((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise HTTPException(400, "The form cannot be read.") from None
    return {name: values[-1] for name, values in found.items()}


def is_api(request: Request) -> bool:
    """Whether a program asks, that wants JSON in place of a page."""
    path: str = request.scope["path"]
    return path.startswith("/api/")
