"""Events by mail."""

import os
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid

from analyzers.errors import Failed
from evals.alerts.config import IMPLICIT_TLS, Smtp
from evals.alerts.state import Event
from evals.alerts.wording import headline, provenance, sentence
from evals.comparison.results import Comparison

_SUBJECT = 200
"""Characters."""


def send(smtp: Smtp, suite: str, events: Sequence[Event], comparison: Comparison) -> str | Failed:
    """Send one mail with all events; returns to whom it went, or why it did not."""
    login = None
    if smtp.user_env is not None and smtp.password_env is not None:
        login = os.environ.get(smtp.user_env, ""), os.environ.get(smtp.password_env, "")
        if not all(login):
            return Failed("smtp", f"the environment variables {smtp.user_env} and {smtp.password_env} are not both set")
    where = f"{smtp.host}:{smtp.port}"
    try:
        with _connect(smtp) as server:
            if login is not None:
                server.login(*login)
            refused = server.send_message(message(smtp, suite, events, comparison))
    except ssl.SSLError as error:
        return Failed("smtp", f"{where}: no encrypted connection could be made ({error.reason or type(error).__name__})")
    except smtplib.SMTPResponseException as error:
        # Not in the server's own words: they can repeat what was sent.
        return Failed("smtp", f"{where} answered {error.smtp_code} ({type(error).__name__})")
    except smtplib.SMTPNotSupportedError:
        return Failed("smtp", f"{where} offers no STARTTLS, or no way to log in; nothing was sent")
    except UnicodeError:
        # Nor in Python's: they repeat what could not be sent.
        return Failed("smtp", f"{where} could not be used: host, name and password can hold ASCII only")
    except (OSError, smtplib.SMTPException) as error:
        return Failed("smtp", f"{where} could not be used ({type(error).__name__})")
    if refused:
        return Failed("smtp", f"{where} refused {len(refused)} of {len(smtp.to)} recipients; the others were sent the mail")
    return ", ".join(smtp.to)


def message(smtp: Smtp, suite: str, events: Sequence[Event], comparison: Comparison) -> EmailMessage:
    """The mail."""
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = smtp.sender, ", ".join(smtp.to)
    mail["Subject"] = _plain(f"explicate: {headline(suite, events)}"[:_SUBJECT])
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=smtp.sender.partition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    lines = [sentence(event) for event in events]
    if comparison.provenance:
        lines += ["", "What else changed:", *(provenance(change) for change in comparison.provenance)]
    lines += ["", f"Run: {comparison.run}", f"Baseline: {comparison.baseline}", ""]
    mail.set_content("\n".join(_plain(line) for line in lines))
    return mail


def _connect(smtp: Smtp) -> smtplib.SMTP:
    if smtp.port == IMPLICIT_TLS:
        return smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=smtp.timeout_s, context=ssl.create_default_context())
    server = smtplib.SMTP(smtp.host, smtp.port, timeout=smtp.timeout_s)
    try:
        if smtp.starttls:
            server.starttls(context=ssl.create_default_context())
    except BaseException:
        server.close()
        raise
    return server


def _plain(line: str) -> str:
    return line.encode("utf-8", "replace").decode("utf-8")
