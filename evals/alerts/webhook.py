"""Events posted as JSON to an address, signed, and tried again where that may help.

The body is signed by HMAC-SHA256 over the value of `X-Explicate-Timestamp` (seconds since 1970), a full stop and the body; the header
`X-Explicate-Signature` is `sha256=` and the hexadecimal digits. Every try of one delivery has the same `X-Explicate-Delivery`.
"""

import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tenacity import RetryError, Retrying, retry_if_result, stop_after_attempt, wait_exponential_jitter

from agents.untrusted import one_line
from analyzers.errors import Failed
from evals.alerts.config import Webhook, wrong_with
from evals.alerts.state import Event
from evals.alerts.targets import addresses_of
from evals.alerts.wording import headline, provenance, sentence
from evals.comparison.results import Comparison

MOST_EVENTS = 100
"""That are sent; the rest are counted."""
LONGEST_WAIT = 60.0
"""Seconds that a server may ask to wait."""
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})

Sleep = Callable[[float], None]


class _Transient(Failed):
    """A try that failed now and may succeed later."""


def post(webhook: Webhook, suite: str, events: Sequence[Event], comparison: Comparison, *, sleep: Sleep = time.sleep) -> str | Failed:
    """Post the events; returns where they went, without the path, which can hold a secret, or why they did not get there."""
    url = webhook.url if webhook.url_env is None else os.environ.get(webhook.url_env, "")
    if not url:
        return Failed("webhook", f"the environment variable {webhook.url_env} that url_env names is not set")
    wrong = wrong_with(url)
    if wrong is not None:
        return Failed("webhook", f"what the environment variable {webhook.url_env} holds {wrong}")
    secret = None if webhook.secret_env is None else os.environ.get(webhook.secret_env, "")
    if secret == "":
        return Failed(
            "webhook", f"the environment variable {webhook.secret_env} that secret_env names is not set; nothing was sent unsigned"
        )
    body = json.dumps(payload(suite, events, comparison)).encode("ascii")
    delivery = hashlib.sha256("".join(event.id for event in events).encode()).hexdigest()[:32]
    target = urlsplit(url)

    def once() -> str | Failed:
        return _post(webhook, target, body, _headers(body, delivery, secret))

    tries = Retrying(
        sleep=sleep,
        stop=stop_after_attempt(webhook.attempts),
        wait=wait_exponential_jitter(initial=1, max=30, jitter=1),
        retry=retry_if_result(lambda result: isinstance(result, _Transient)),
    )
    try:
        return tries(once)
    except RetryError as given_up:
        last: Failed = given_up.last_attempt.result()
        return Failed(last.stage, f"{last.reason}; given up after {webhook.attempts} tries")


def payload(suite: str, events: Sequence[Event], comparison: Comparison) -> dict[str, Any]:
    """What is posted; `text` is for chats that show that and nothing else."""
    sent = events[:MOST_EVENTS]
    lines = [headline(suite, events), *(sentence(event) for event in sent)]
    return {
        "schema_version": 1,
        "suite": suite,
        "run": comparison.run,
        "baseline": comparison.baseline,
        "events": [event.model_dump(mode="json") for event in sent],
        "events_left_out": len(events) - len(sent),
        "provenance": [change.model_dump(mode="json") for change in comparison.provenance[:MOST_EVENTS]],
        "text": "\n".join([*lines, *(provenance(change) for change in comparison.provenance[:MOST_EVENTS])]),
    }


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Value of the header of that name."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _headers(body: bytes, delivery: str, secret: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "explicate", "X-Explicate-Delivery": delivery}
    if secret is None:
        return headers
    timestamp = str(int(time.time()))
    return {**headers, "X-Explicate-Timestamp": timestamp, "X-Explicate-Signature": signature(secret, timestamp, body)}


def _post(webhook: Webhook, target: SplitResult, body: bytes, headers: Mapping[str, str]) -> str | Failed:
    host = target.hostname or ""
    port = target.port or (443 if target.scheme == "https" else 80)
    where = f"{target.scheme}://{host}:{port}"
    addresses = addresses_of(host, port, allow_private=webhook.allow_private)
    if isinstance(addresses, Failed):
        return addresses
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    connection = _Pinned(host, port, addresses, webhook.timeout_s, ssl.create_default_context() if target.scheme == "https" else None)
    # A server that sends a byte now and then would outlast any time limit of one read.
    limit = threading.Timer(webhook.timeout_s, connection.abort)
    limit.daemon = True
    limit.start()
    try:
        connection.request("POST", path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        status, asked = answer.status, answer.getheader("Retry-After", "")
    except ssl.SSLCertVerificationError as error:
        return Failed("webhook", f"{where} has no certificate that is trusted: {one_line(error.verify_message)}")
    except (OSError, http.client.HTTPException) as error:
        # Not in its own words: they can repeat what was sent.
        late = f" within {webhook.timeout_s:g} s" if connection.aborted or isinstance(error, TimeoutError) else ""
        return _Transient("webhook", f"{where} did not answer{late} ({type(error).__name__})")
    finally:
        limit.cancel()
        connection.close()
    if 200 <= status < 300:
        return where
    if 300 <= status < 400:
        return Failed("webhook", f"{where} answered {status}, a redirect, which is not followed; give the address that it leads to")
    if status in _AGAIN and not (asked.isdecimal() and float(asked) > LONGEST_WAIT):
        return _Transient("webhook", f"{where} answered {status}")
    return Failed("webhook", f"{where} answered {status}")


class _Pinned(http.client.HTTPConnection):
    """A connection to addresses that were checked, whatever a name server says meanwhile; it uses no proxy."""

    def __init__(self, host: str, port: int, addresses: Sequence[str], timeout: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=timeout)
        self.default_port = 80 if tls is None else 443
        self._addresses, self._seconds, self._tls = addresses, timeout, tls
        self.aborted = False

    def connect(self) -> None:
        raw = self._connected()
        try:
            self.sock = raw if self._tls is None else self._tls.wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise

    def _connected(self) -> socket.socket:
        last: OSError = ConnectionError("no address")
        for address in self._addresses:
            try:
                return socket.create_connection((address, self.port), self._seconds)
            except OSError as error:
                last = error
        raise last

    def abort(self) -> None:
        """End it from another thread."""
        self.aborted = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
