"""What a base URL may be."""

import pytest

from agents.providers.faults import checked_url
from analyzers.errors import ProviderError


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "https://x.example/v1", "http://[::1]:8000/v1", "http://localhost"])
def test_a_base_url_stays_as_it_is_but_for_a_last_slash(url: str) -> None:
    assert checked_url(url) == checked_url(f"{url}/") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://::1]/v1",
        "http://x:99999/v1",
        "http://x:port/v1",
        "http://x:0",
        "http://",
        "x/v1",
        "http://me:sk-secret@[::1/v1",
        "me:sk-secret@x",
    ],
)
def test_what_is_no_url_is_one_plain_line_without_a_password(url: str) -> None:
    with pytest.raises(ProviderError, match="is not a base URL; write for example http://127") as caught:
        checked_url(url)
    assert "\n" not in str(caught.value)
    assert "sk-secret" not in str(caught.value)
