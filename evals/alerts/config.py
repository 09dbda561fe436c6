"""Who is told when a suite's numbers move, and how."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_PERSON = r"^[^\s@<>,;]+@[^\s@<>,;]+$"
IMPLICIT_TLS = 465
"""Port on which mail servers encrypt from the first byte."""


class _Config(BaseModel):
    # What a user wrote is not repeated in a message: an address of a webhook can hold a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Webhook(_Config):
    """A JSON object is posted there, signed where a secret is named."""

    url: str | None = Field(default=None, repr=False)
    """http or https; many services put a secret into it, and then `url_env` is the better place."""
    url_env: str | None = Field(default=None, pattern=_VARIABLE)
    """Environment variable that holds the address."""
    secret_env: str | None = Field(default=None, pattern=_VARIABLE)
    """Environment variable that holds the key of the signature (HMAC-SHA256)."""
    allow_private: bool = False
    """Whether the address may be one of this machine or of a private network."""
    attempts: int = Field(default=4, ge=1, le=10)
    timeout_s: float = Field(default=10, gt=0, le=120)
    """Of one attempt, once the name is looked up."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None and (wrong := wrong_with(url)):
            raise ValueError(wrong)
        return url

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("give either url or url_env, the environment variable that holds it")
        return self


class Smtp(_Config):
    """A mail is sent through this server."""

    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    sender: str = Field(pattern=_PERSON)
    to: tuple[str, ...] = Field(min_length=1)
    user_env: str | None = Field(default=None, pattern=_VARIABLE)
    password_env: str | None = Field(default=None, pattern=_VARIABLE)
    """Environment variables that hold the name and the password to log in with; neither for a server that asks for none."""
    starttls: bool = True
    """Whether the connection is encrypted before anything is sent; port 465 is from its first byte."""
    timeout_s: float = Field(default=20, gt=0, le=120)

    @field_validator("to")
    @classmethod
    def _check_to(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        for one in to:
            if one.count("@") != 1 or any(character.isspace() or character in "<>,;" for character in one):
                raise ValueError("every address is written name@host")
        return to

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("user_env and password_env go together: give both or neither")
        if self.user_env is not None and not self.starttls and self.port != IMPLICIT_TLS:
            raise ValueError("a password is sent over an encrypted connection only: leave starttls = true, or leave out user_env")
        return self


class AlertConfig(_Config):
    """Where news go; nowhere by default."""

    markdown: Path | None = None
    """A summary of the comparison, for people; written anew by every comparison."""
    junit: Path | None = None
    """The same as JUnit XML, for continuous integration; written anew by every comparison."""
    file: Path | None = None
    """One JSON object a line, one line for every event; appended to."""
    webhook: Webhook | None = None
    smtp: Smtp | None = None


def wrong_with(url: str) -> str | None:
    """Why this cannot be the address of a webhook, in words that do not repeat it; None where it can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address; write https://host/path"
    if parts.scheme not in ("http", "https"):
        return "is neither http:// nor https://"
    if not host or any(ord(character) <= 32 or ord(character) >= 127 for character in url):
        return "is no address; write https://host/path without blanks (a host that is not ASCII as xn--...)"
    if parts.username is not None or parts.password is not None:
        return "has a name or password before its host; leave it out"
    return None
