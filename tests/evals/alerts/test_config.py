"""What a suite may say of its alerts."""

from typing import Any

import pytest
from pydantic import ValidationError

from evals.alerts.config import AlertConfig, Smtp, Webhook, wrong_with

MAIL: dict[str, Any] = {"host": "mail.example", "sender": "a@example.org", "to": ["b@example.org"]}


@pytest.mark.parametrize("url", ["https://example.org", "http://example.org:8080/a?b=c", "https://[2001:db8::1]/x", "http://127.0.0.1/"])
def test_addresses_of_webhooks(url: str) -> None:
    assert Webhook(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/topsecret",
        "file:///topsecret",
        "javascript:topsecret",
        "https:///topsecret",
        "topsecret",
        "https://user:topsecret@example.org/",
        "https://topsecret@example.org/",
        "https://exa mple.org/topsecret",
        "https://example.org/topsecret\r\nX-Injected: 1",
        "https://example.org:port/topsecret",
        "https://example.org:99999/topsecret",
        "https://[::1/topsecret",
        "https://ex\u00e4mple.org/topsecret",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    assert wrong_with(url)
    with pytest.raises(ValidationError) as refused:
        AlertConfig.model_validate({"webhook": {"url": url}})
    assert "topsecret" not in str(refused.value)


def test_an_address_is_in_no_repr() -> None:
    config = AlertConfig(webhook=Webhook(url="https://example.org/topsecret"))
    assert "topsecret" not in repr(config) + str(config)


@pytest.mark.parametrize(
    "webhook", [{}, {"url": "https://a.example", "url_env": "HOOK"}, {"url_env": "not a name"}, {"url": "https://a.example", "secret": "x"}]
)
def test_a_webhook_has_one_address_and_no_other_keys(webhook: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Webhook.model_validate(webhook)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"to": []}, "at least 1"),
        ({"to": ["b@example.org\nBcc: c@example.org"]}, "name@host"),
        ({"to": ["b@example.org", "c"]}, "name@host"),
        ({"sender": "a@example.org\nBcc: c@example.org"}, "pattern"),
        ({"user_env": "U"}, "go together"),
        ({"user_env": "U", "password_env": "P", "starttls": False}, "encrypted connection only"),
        ({"port": 0}, "greater than or equal to 1"),
    ],
)
def test_mail_that_cannot_be_meant_is_refused(change: dict[str, Any], said: str) -> None:
    Smtp.model_validate(MAIL)
    with pytest.raises(ValidationError, match=said):
        Smtp.model_validate(MAIL | change)


def test_a_password_may_go_over_a_connection_encrypted_from_the_start() -> None:
    assert Smtp.model_validate(MAIL | {"port": 465, "user_env": "U", "password_env": "P", "starttls": False}).port == 465
