"""Mail through a small real server."""

import email
import logging
import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from analyzers.errors import Failed
from evals.alerts.config import Smtp
from evals.alerts.smtp import send
from evals.alerts.state import Event
from evals.comparison.results import Comparison

PASSWORD = "pa55-of-the-mail"


@dataclass
class MailServer:
    """As much of SMTP as a client needs, and what it heard."""

    port: int = 0
    offers: list[str] = field(default_factory=lambda: ["8BITMIME"])
    tls: ssl.SSLContext | None = None
    refuses: tuple[str, ...] = ()
    password: str = ""
    heard: list[str] = field(default_factory=list)
    """Commands; those before STARTTLS as they went over the wire."""
    mails: list[bytes] = field(default_factory=list)

    def mail(self) -> EmailMessage:
        assert len(self.mails) == 1
        read = email.message_from_bytes(self.mails[0], policy=default)
        assert isinstance(read, EmailMessage)
        return read


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    state = MailServer()

    class Handler(socketserver.BaseRequestHandler):
        def finish(self) -> None:
            self.request.close()

        def handle(self) -> None:
            stream = self.request.makefile("rwb")

            def say(*lines: str) -> None:
                stream.write("".join(f"{line}\r\n" for line in lines).encode())
                stream.flush()

            say("220 test")
            while line := stream.readline():
                command = line.decode().rstrip("\r\n")
                state.heard.append(command)
                word = command.upper().partition(" ")[0]
                if word == "EHLO":
                    say(*(f"250-{offer}" for offer in ["test", *state.offers]), "250 HELP")
                elif word == "STARTTLS" and state.tls is not None:
                    say("220 go on")
                    self.request = state.tls.wrap_socket(self.request, server_side=True)
                    stream = self.request.makefile("rwb")
                elif word == "AUTH":
                    import base64

                    given = base64.b64decode(command.split(" ")[2]).decode().split("\0")
                    say("235 ok" if given[1:] == ["robot", state.password] else f"535 wrong: {given[2]}")
                elif word == "RCPT" and any(one in command for one in state.refuses):
                    say("550 no such person")
                elif word == "DATA":
                    say("354 go on")
                    lines = []
                    while (part := stream.readline()) != b".\r\n":
                        lines.append(part.removeprefix(b".") if part.startswith(b"..") else part)
                    state.mails.append(b"".join(lines))
                    say("250 ok")
                elif word == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 ok" if word in ("MAIL", "RCPT", "RSET") else "502 unknown")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is no error here."""

    with Server(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def comparison(make_comparison: Callable[..., Comparison]) -> Comparison:
    return make_comparison()


@pytest.fixture
def encrypted(mail_server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailServer:
    """The server with a certificate for 127.0.0.1 that is trusted here."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    mail_server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    mail_server.tls.load_cert_chain(certificate, key)
    mail_server.offers = ["STARTTLS", "AUTH PLAIN"]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return mail_server


def config(server: MailServer, **fields: object) -> Smtp:
    plain = {"host": "127.0.0.1", "port": server.port, "sender": "explicate@example.org", "to": ["a@example.org", "b@example.org"]}
    return Smtp.model_validate({**plain, "starttls": False, **fields})


def test_a_mail_says_what_happened(mail_server: MailServer, comparison: Comparison, make_event: Callable[..., Event], hostile: str) -> None:
    events = [make_event(), make_event("recovered", of=hostile)]
    assert send(config(mail_server), "nightly\r\nBcc: evil@example.org", events, comparison) == "a@example.org, b@example.org"
    mail = mail_server.mail()
    assert mail["To"] == "a@example.org, b@example.org"
    assert mail["Bcc"] is None
    assert "1 regressed, 1 recovered" in mail["Subject"]
    body = mail.get_content()
    assert "comprehensiveness (self attribution) regressed: 0.5 [0.4, 0.6] -> 0.2 [0.1, 0.3]" in body
    assert "reviews: model: small -> other" in body
    assert "Run: runs/today" in body
    assert mail.get_content_type() == "text/plain"
    assert [line for line in mail_server.heard if line.upper().startswith("RCPT")] == ["rcpt TO:<a@example.org>", "rcpt TO:<b@example.org>"]


def test_it_logs_in_over_an_encrypted_connection(
    encrypted: MailServer,
    comparison: Comparison,
    make_event: Callable[..., Event],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    encrypted.password = PASSWORD
    smtp = config(encrypted, starttls=True, user_env="MAIL_USER", password_env="MAIL_PASSWORD")
    monkeypatch.setenv("MAIL_USER", "robot")
    monkeypatch.setenv("MAIL_PASSWORD", "an0ther")
    wrong = send(smtp, "nightly", [make_event()], comparison)
    assert wrong == Failed("smtp", f"127.0.0.1:{encrypted.port} answered 535 (SMTPAuthenticationError)")
    monkeypatch.setenv("MAIL_PASSWORD", "pä55")
    said = "could not be used: host, name and password can hold ASCII only"
    assert send(smtp, "nightly", [make_event()], comparison) == Failed("smtp", f"127.0.0.1:{encrypted.port} {said}")
    assert encrypted.mails == []
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    assert send(smtp, "nightly", [make_event()], comparison) == "a@example.org, b@example.org"
    assert "regressed" in encrypted.mail()["Subject"]
    commands = [line.split(" ")[0].upper() for line in encrypted.heard]
    assert commands.index("STARTTLS") < commands.index("AUTH")
    assert PASSWORD not in caplog.text + repr(smtp)
    assert "an0ther" not in caplog.text + repr(wrong)


def test_a_certificate_that_is_not_trusted_ends_it(
    encrypted: MailServer, comparison: Comparison, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "none.pem").write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    found = send(config(encrypted, starttls=True), "nightly", [make_event()], comparison)
    assert isinstance(found, Failed)
    assert "CERTIFICATE_VERIFY_FAILED" in found.reason
    assert encrypted.mails == []


def test_without_encryption_no_password_is_sent(
    mail_server: MailServer, comparison: Comparison, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_USER", "robot")
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    smtp = config(mail_server, starttls=True, user_env="MAIL_USER", password_env="MAIL_PASSWORD")
    found = send(smtp, "nightly", [make_event()], comparison)
    assert isinstance(found, Failed)
    assert "STARTTLS" in found.reason
    assert [line.split(" ")[0].upper() for line in mail_server.heard if not line.upper().startswith("QUIT")] == ["EHLO"]


def test_a_name_without_a_password_is_said(
    mail_server: MailServer, comparison: Comparison, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_USER", "robot")
    monkeypatch.delenv("MAIL_PASSWORD", raising=False)
    found = send(config(mail_server, starttls=True, user_env="MAIL_USER", password_env="MAIL_PASSWORD"), "n", [make_event()], comparison)
    assert found == Failed("smtp", "the environment variables MAIL_USER and MAIL_PASSWORD are not both set")
    assert mail_server.heard == []


@pytest.mark.parametrize(("refuses", "said", "mails"), [(("b@",), "refused 1 of 2 recipients", 1), (("a@", "b@"), "could not be used", 0)])
def test_recipients_that_are_refused(
    mail_server: MailServer,
    comparison: Comparison,
    make_event: Callable[..., Event],
    refuses: tuple[str, ...],
    said: str,
    mails: int,
) -> None:
    mail_server.refuses = refuses
    found = send(config(mail_server), "nightly", [make_event()], comparison)
    assert isinstance(found, Failed)
    assert said in found.reason
    assert len(mail_server.mails) == mails


def test_a_server_that_is_not_there(mail_server: MailServer, comparison: Comparison, make_event: Callable[..., Event]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = send(config(mail_server, port=taken.getsockname()[1]), "nightly", [make_event()], comparison)
    assert isinstance(found, Failed)
    assert "ConnectionRefusedError" in found.reason
