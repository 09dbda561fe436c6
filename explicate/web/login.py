"""The form that takes the token and sets the cookie which stands for it."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from explicate.web.rendering import fields, page
from explicate.web.security import COOKIE, cookie_of, same

router = APIRouter(include_in_schema=False)


@router.get("/login")
def login(request: Request) -> Response:
    """The form."""
    return page(request, "login.html", title="Sign in", wrong=False, to=inside(request.query_params.get("to", "/")))


@router.post("/login")
async def sign_in(request: Request) -> Response:
    """Set the cookie for the right token, and go to the page that was wanted."""
    given = await fields(request)
    token, to = request.app.state.token, inside(given.get("to", "/"))
    if token is None or not same(given.get("token", ""), token):
        return page(request, "login.html", status=HTTPStatus.UNAUTHORIZED, title="Sign in", wrong=token is not None, to=to)
    answer = RedirectResponse(to, HTTPStatus.SEE_OTHER)
    answer.set_cookie(COOKIE, cookie_of(token), httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/")
    return answer


@router.post("/logout")
def sign_out() -> Response:
    """Forget the cookie."""
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, path="/")
    return answer


def inside(to: str) -> str:
    """A path of these pages; the first page in place of what leads elsewhere."""
    clean = to.isprintable() and to.startswith("/") and not to.startswith(("//", "/\\")) and "\\" not in to
    return to if clean else "/"
