"""What an HTTP endpoint's failure means: try again, fail this request, or stop.

The SDKs behind langchain share no base class of errors, so an error is read by what it carries: an HTTP status, or a name that says
that the connection failed. An error that carries neither is not touched.
"""

import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from urllib.parse import urlsplit

from agents.retry import Transient
from analyzers.errors import ProviderError

REJECTED = "rejected"
OPENAI_URL = "https://api.openai.com/v1"
_SHORTEST_SECRET = 6
_PREFIX = re.compile(r"^Error code: \d+ - ")
"""What the openai package writes in front of every message."""
_UNREACHABLE = {"APIConnectionError", "TransportError", "ConnectionError"}
_TIMEOUT = {"APITimeoutError", "TimeoutException", "TimeoutError"}
_MALFORMED = {
    "APIResponseValidationError",
    "JSONDecodeError",
    "ValidationError",
    "KeyError",
    "IndexError",
    "TypeError",
    "AttributeError",
    "ValueError",
}


class Refused(Exception):
    """The endpoint will not answer this request, however often it is asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Endpoint:
    """Where a model is asked, named for the user without its key."""

    name: str
    """As the user wrote it: `openai:gpt-5-mini`."""
    url: str
    """Empty where only the provider's own package knows it."""
    variable: str
    """Environment variable of the key."""
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Endpoint({self})"

    def __str__(self) -> str:
        return f"{self.name!r} at {self.url}" if self.url else repr(self.name)

    def redact(self, text: str) -> str:
        """The text without any key."""
        for secret in self.secrets:
            # A shorter one is a placeholder that local servers are given, and may be an ordinary word.
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "[key]")
        return text

    def quote(self, text: str) -> str:
        """What the endpoint said, in one line of bounded length and without any key."""
        line = self.redact(" ".join(text.split()))
        return line if len(line) <= 240 else line[:240] + "..."


def checked_url(url: str) -> str:
    """A base URL without a trailing slash; raises ProviderError for what is none, or holds a password or a query."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        shown = re.sub(r"[^/\s]*@", "", url).partition("?")[0]
        raise ProviderError(f"{shown!r} is not a base URL; write for example http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ProviderError(
            f"the base URL of {parts.hostname!r} holds more than scheme, host, port and path; a key belongs into the environment"
        )
    return url.rstrip("/")


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        # An answer with a status of success that could not be read is a malformed one.
        if isinstance(status, int) and status >= 300:
            return status
    return None


def _retry_after(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    text = headers.get("retry-after")
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def fault(error: BaseException, endpoint: Endpoint) -> Transient | Refused | ProviderError | None:
    """What the error means; None for one that is not the endpoint's."""
    names = {kind.__name__ for kind in type(error).__mro__}
    status = _status(error)
    said = endpoint.quote(_PREFIX.sub("", str(error)))
    if status is None:
        if names & _TIMEOUT:
            return Transient(f"{endpoint} did not answer in time (a slow server needs more: --timeout)", about="request", taken=True)
        if names & _UNREACHABLE:
            cause = endpoint.quote(str(error.__cause__ or error))
            return Transient(f"{endpoint} cannot be reached ({cause})")
        if names & _MALFORMED:
            return Transient(f"{endpoint} did not answer as its API should ({type(error).__name__}: {said})", about="request", taken=True)
        return None
    if status == 401:
        return ProviderError(f"{endpoint} refused the key (401): put a valid one into {endpoint.variable}")
    if status in (402, 403) or (status == 429 and "insufficient_quota" in f"{error} {getattr(error, 'body', '')}"):
        return ProviderError(f"{endpoint} does not allow this ({status}: {said}): check what the key in {endpoint.variable} may use")
    if status in (404, 405) or status < 400:
        return ProviderError(
            f"{endpoint} is not there ({status}: {said}): check the model's name and --base-url, which usually ends in /v1"
        )
    if status in (408, 409, 425, 429) or status >= 500:
        asked = _retry_after(error)
        wait = "" if asked is None else f", asks to wait {asked:.0f} s"
        about = "request" if status in (408, 409, 500) else "endpoint"
        return Transient(
            f"{endpoint} answered {status}{wait} ({said})", retry_after=asked, about="request" if about == "request" else "endpoint"
        )
    return Refused(f"{REJECTED} ({status}): {said}")


class translated:  # noqa: N801 - reads as a clause: `with translated(endpoint)`
    """Raise what an endpoint's error means in its stead, without the error itself, whose request headers hold the key."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            meaning = fault(error, self._endpoint)
            if meaning is not None:
                raise meaning from None
