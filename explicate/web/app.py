"""The server of the pages: routes, their guard, and an OpenAPI document of the JSON beside them."""

from collections.abc import Iterable

from fastapi import FastAPI

from evals.database import Database
from explicate.web import assets, compare, items, live, login, reliability, run, runs, schedules, site, sites, trends
from explicate.web.errors import handle_errors
from explicate.web.security import LOCAL, Guard

OPENAPI = "/api/openapi.json"


def create_app(database: Database, *, token: str | None = None, hosts: Iterable[str] = LOCAL) -> FastAPI:
    """The pages of a database.

    token: what a request must bring (as a cookie from the login form, or as a bearer); None where the server is bound to this machine,
    whose names are then `hosts`.
    """
    # The interactive documentation would load scripts from another host.
    app = FastAPI(title="explicate", openapi_url=OPENAPI, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.database = database
    app.state.token = token
    handle_errors(app)
    for part in (assets, login, runs, run, trends, compare, schedules, sites, site, items, reliability, live):
        app.include_router(part.router)
    app.add_middleware(Guard, token=token, hosts=tuple(hosts))
    return app
