"""What every request passes before a route sees it: its size, its host, its origin, its token; and the headers of every answer.

Middleware of plain ASGI, so that a body is counted while it arrives, and refused before it is kept.
"""

import hashlib
import hmac
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from explicate.web.errors import answer
from explicate.web.headers import HEADERS

MAX_BODY = 256 * 1024
"""Bytes of a request's body."""
MAX_QUERY = 4096
"""Bytes of a path with its query."""
COOKIE = "explicate"
LOCAL = ("127.0.0.1", "localhost", "[::1]")
"""Hosts that a browser on this machine names."""

_OPEN = ("/static/", "/login")
"""What can be had without the token: how the login form looks, and that form."""


class Guard:
    """Refuses what is too large, comes from another site, or brings no token where one is needed.

    token: None where whoever reaches the server may read it, which is then bound to this machine; hosts: names that a request may call
    the server by, which keeps another site from reading pages by a name of its own that resolves to this machine.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Iterable[str] = LOCAL) -> None:
        self.app = app
        self._token = token
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope)
        refused = self._refusal(request)
        if refused is not None:
            await answer(request, *refused)(scope, receive, with_headers)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large())
            return message

        await self.app(scope, counted, with_headers)

    def _refusal(self, request: Request) -> tuple[int, str] | None:
        """Status and reason; None for a request that may pass."""
        headers = request.headers
        # The path that is routed by: that of `request.url` follows what the client names as its host.
        path: str = request.scope["path"]
        if "\0" in path or b"%00" in request.scope["query_string"]:
            return HTTPStatus.NOT_FOUND, "There is no such page."
        if len(request.scope.get("raw_path") or b"") + len(request.scope["query_string"]) > MAX_QUERY:
            return HTTPStatus.REQUEST_URI_TOO_LONG, f"The address is longer than {MAX_QUERY:,} bytes."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large()
        if self._token is None and _host(headers) not in self._hosts:
            known = ", ".join(sorted(self._hosts))
            return HTTPStatus.MISDIRECTED_REQUEST, f"The pages are to be had under the names {known} only, or with a token."
        if request.method not in ("GET", "HEAD") and not _same_site(headers):
            return HTTPStatus.FORBIDDEN, "This was sent by a page of another site."
        if self._token is not None and not path.startswith(_OPEN) and not allowed(headers, self._token):
            return HTTPStatus.UNAUTHORIZED, "A token is needed: sign in, or send it as `Authorization: Bearer TOKEN`."
        return None


def allowed(headers: Headers, token: str) -> bool:
    """Whether a request brings the token itself as a bearer, or the cookie that stands for it."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return same(given.strip(), token)
    # Forgiving as browsers are: what other servers of this host keep there must not hide ours.
    return same(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""), cookie_of(token))


def same(given: str, expected: str) -> bool:
    """Compare in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def cookie_of(token: str) -> str:
    """What the cookie holds: whoever reads it does not know the token, and another token makes it void."""
    return hmac.new(token.encode(), b"explicate view, signed in", hashlib.sha256).hexdigest()


def _host(headers: Headers) -> str:
    """The host that a request names, in lower case and without its port."""
    named = headers.get("host", "").lower()
    return named[: named.find("]") + 1] if named.startswith("[") else named.split(":")[0]


def _same_site(headers: Headers) -> bool:
    """Whether no other site's page has sent this: browsers say so, programs need not."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _too_large() -> str:
    return f"What was sent is larger than {MAX_BODY // 1024} KiB."
