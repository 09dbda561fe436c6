"""What went wrong, as a page for a reader and as JSON for a program; the traceback stays in the log."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from analyzers.errors import ExplicateError
from explicate.web.headers import HEADERS
from explicate.web.rendering import is_api, page

_TITLES = {404: "Not found", 401: "Not signed in", 413: "Too large", 500: "Something broke"}


def handle_errors(app: FastAPI) -> None:
    """Every error of a route becomes a page that says what to do, or JSON with `detail`."""

    def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = str(error.detail)
        if error.status_code == HTTPStatus.NOT_FOUND and said == HTTPStatus.NOT_FOUND.phrase:
            said = "There is no such page."
        said_as = answer(request, error.status_code, said)
        said_as.headers.update(error.headers or {})
        return said_as

    def of_request(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()[:5])
        return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, f"The address is not understood: {wrong}.")

    def of_user(request: Request, error: Exception) -> Response:
        return answer(request, HTTPStatus.CONFLICT, str(error))

    def unexpected(request: Request, error: Exception) -> Response:
        del error  # the server writes it into its log
        said = answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "This page could not be made. The log of `explicate view` says why.")
        # Such an error passes by the guard, which gives every other answer its headers.
        said.headers.update(HEADERS)
        return said

    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_request)
    app.add_exception_handler(ExplicateError, of_user)
    app.add_exception_handler(Exception, unexpected)


def answer(request: Request, status: int, said: str) -> Response:
    """The error as a page, or as JSON where a program asks."""
    if is_api(request):
        return JSONResponse({"detail": said}, status_code=status, headers={"www-authenticate": "Bearer"} if status == 401 else None)
    if status == HTTPStatus.UNAUTHORIZED:
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return page(request, "login.html", status=status, title="Sign in", wrong=False, to=wanted if request.method == "GET" else "/")
    return page(request, "error.html", status=status, title=_TITLES.get(status, "This did not work"), said=said, code=int(status))
