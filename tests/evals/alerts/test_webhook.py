"""A webhook against a real server: signed, tried again, led nowhere it may not go, and silent about its secrets."""

import hashlib
import hmac
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import pytest

from analyzers.errors import Failed
from evals.alerts import webhook as module
from evals.alerts.config import Webhook
from evals.alerts.state import Event
from evals.alerts.targets import addresses_of, refusal
from evals.alerts.webhook import MOST_EVENTS, post
from evals.comparison.results import Comparison

SECRET = "k3y-of-the-signature"
PATH = "/services/T0P-S3CR3T-PATH?token=als0-s3cr3t"


@dataclass
class Receiver:
    """A server that answers with these statuses in turn, and what it was sent."""

    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{PATH}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append((self.path, dict(self.headers.items()), body))
            status, headers = receiver.statuses.pop(0) if receiver.statuses else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            receiver.requests.append((self.path, {}, b"GET"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def comparison(make_comparison: Callable[..., Comparison]) -> Comparison:
    return make_comparison()


def send(webhook: Webhook, events: list[Event], comparison: Comparison) -> tuple[str | Failed, list[float]]:
    """What came of it, and the waits between the tries."""
    waits: list[float] = []
    return post(webhook, "nightly", events, comparison, sleep=waits.append), waits


def test_it_is_signed_and_tried_until_it_arrives(
    receiver: Receiver,
    comparison: Comparison,
    make_event: Callable[..., Event],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    receiver.statuses = [(500, {}), (500, {})]
    webhook = Webhook(url=receiver.url(), secret_env="HOOK_SECRET", allow_private=True)
    found, waits = send(webhook, [make_event()], comparison)
    assert found == f"http://127.0.0.1:{receiver.port}"
    assert len(receiver.requests) == 3
    assert len(waits) == 2
    assert 1 <= waits[0] < waits[1] + 1
    assert {path for path, _, _ in receiver.requests} == {PATH}
    assert len({headers["X-Explicate-Delivery"] for _, headers, _ in receiver.requests}) == 1
    for _, headers, body in receiver.requests:
        signed = headers["X-Explicate-Timestamp"].encode() + b"." + body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(headers["X-Explicate-Signature"], f"sha256={expected}")
        assert headers["Content-Type"] == "application/json"
    sent = json.loads(receiver.requests[-1][2])
    assert sent["suite"] == "nightly"
    assert Event.model_validate(sent["events"][0]) == make_event()
    assert "comprehensiveness (self attribution) regressed" in sent["text"]
    assert "model: small -> other" in sent["text"]
    everything = caplog.text + repr(webhook) + repr(found)
    assert not any(secret in everything for secret in (SECRET, "S3CR3T", "s3cr3t"))


@pytest.mark.parametrize(
    ("statuses", "tries", "said"),
    [
        ([(503, {})] * 9, 3, "answered 503; given up after 3 tries"),
        ([(404, {})], 1, "answered 404"),
        ([(429, {"Retry-After": "3600"})], 1, "answered 429"),
        ([(429, {"Retry-After": "\xb2"})] * 3, 3, "answered 429; given up after 3 tries"),
    ],
)
def test_what_does_not_arrive_is_said_without_secrets(
    receiver: Receiver,
    comparison: Comparison,
    make_event: Callable[..., Event],
    statuses: list[tuple[int, dict[str, str]]],
    tries: int,
    said: str,
) -> None:
    receiver.statuses = statuses
    found, _ = send(Webhook(url=receiver.url(), allow_private=True, attempts=3), [make_event()], comparison)
    assert isinstance(found, Failed)
    assert found.reason == f"http://127.0.0.1:{receiver.port} {said}"
    assert len(receiver.requests) == tries


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, comparison: Comparison, make_event: Callable[..., Event], status: int) -> None:
    receiver.statuses = [(status, {"Location": receiver.url()})]
    found, _ = send(Webhook(url=receiver.url(), allow_private=True), [make_event()], comparison)
    assert isinstance(found, Failed)
    assert "redirect" in found.reason
    assert len(receiver.requests) == 1


def test_a_server_that_is_not_there(comparison: Comparison, make_event: Callable[..., Event], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        webhook = Webhook(url=f"http://127.0.0.1:{taken.getsockname()[1]}{PATH}", allow_private=True, attempts=2)
        found, waits = send(webhook, [make_event()], comparison)
    assert isinstance(found, Failed)
    assert "did not answer (ConnectionRefusedError); given up after 2 tries" in found.reason
    assert len(waits) == 1
    assert "s3cr3t" not in (found.reason + caplog.text).lower()


def test_a_server_that_drips_is_left(comparison: Comparison, make_event: Callable[..., Event]) -> None:
    over = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            while not over.wait(0.02):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        found, _ = send(Webhook(url=url, allow_private=True, attempts=1, timeout_s=0.3), [make_event()], comparison)
        over.set()
        thread.join()
    assert isinstance(found, Failed)
    assert "did not answer within 0.3 s" in found.reason


def test_the_address_can_be_in_the_environment(
    receiver: Receiver, comparison: Comparison, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = Webhook(url_env="HOOK", allow_private=True)
    for value, said in (("", "HOOK that url_env names is not set"), ("ftp://s3cr3t", "HOOK holds is neither http:// nor https://")):
        monkeypatch.setenv("HOOK", value)
        found, _ = send(webhook, [make_event()], comparison)
        assert isinstance(found, Failed)
        assert said in found.reason
        assert "s3cr3t" not in found.reason
    monkeypatch.setenv("HOOK", receiver.url())
    assert send(webhook, [make_event()], comparison)[0] == f"http://127.0.0.1:{receiver.port}"
    assert "X-Explicate-Signature" not in receiver.requests[0][1]


def test_nothing_is_sent_unsigned_that_should_be_signed(
    receiver: Receiver, comparison: Comparison, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    webhook = Webhook(url=receiver.url(), secret_env="HOOK_SECRET", allow_private=True)
    found, _ = send(webhook, [make_event()], comparison)
    assert isinstance(found, Failed)
    assert "HOOK_SECRET" in found.reason
    assert receiver.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_this_machine_is_not_spoken_to(receiver: Receiver, comparison: Comparison, make_event: Callable[..., Event], host: str) -> None:
    found, waits = send(Webhook(url=receiver.url(host)), [make_event()], comparison)
    assert isinstance(found, Failed), host
    assert receiver.requests == []
    assert waits == []


def test_a_name_that_leads_to_a_private_address_is_refused(
    comparison: Comparison, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        # The first is public, the second is not: both are looked at.
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("93.184.215.14", "10.1.2.3")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found, _ = send(Webhook(url="https://hooks.example/x"), [make_event()], comparison)
    assert isinstance(found, Failed)
    assert found.reason.startswith("'hooks.example' is 10.1.2.3, an address of this machine or of a private network")


def test_it_connects_to_what_was_checked(
    receiver: Receiver, comparison: Comparison, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that answers otherwise the second time changes nothing: the name is not looked up again."""
    real, asked = socket.getaddrinfo, []

    def resolve(host: str, port: int, *args: Any, **named: Any) -> list[Any]:
        asked.append(host)
        return real("127.0.0.1" if host == "hooks.example" else host, port, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found, _ = send(Webhook(url=receiver.url("hooks.example"), allow_private=True), [make_event()], comparison)
    assert found == f"http://hooks.example:{receiver.port}"
    assert asked == ["hooks.example", "127.0.0.1"]
    assert receiver.requests[0][1]["Host"] == f"hooks.example:{receiver.port}"


def test_a_proxy_of_the_environment_is_not_used(
    receiver: Receiver, comparison: Comparison, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(send(Webhook(url=receiver.url(), allow_private=True), [make_event()], comparison)[0], str)


PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
]
NEVER = ["169.254.169.254", "169.254.1.1", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "168.63.129.16", "100.100.100.200"]
NEVER += ["192.0.0.192", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1"]
PUBLIC = ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_unless_meant(address: str) -> None:
    assert refusal(ip_address(address), allow_private=False)
    assert refusal(ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_always_refused(address: str) -> None:
    assert refusal(ip_address(address), allow_private=False)
    assert refusal(ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not_refused(address: str) -> None:
    assert refusal(ip_address(address), allow_private=False) is None


def test_an_unknown_host_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = addresses_of("no.example", 443, allow_private=False)
    assert isinstance(found, Failed)
    assert "'no.example' is not known" in found.reason


def test_many_events_are_bounded(comparison: Comparison, make_event: Callable[..., Event]) -> None:
    sent = module.payload("nightly", [make_event()] * (MOST_EVENTS + 7), comparison)
    assert len(sent["events"]) == MOST_EVENTS
    assert sent["events_left_out"] == 7
    assert sent["text"].startswith("nightly: 107 regressed")
