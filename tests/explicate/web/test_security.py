"""What gets past the guard of the pages: the token, hosts and origins, sizes, paths, and the headers of every answer."""

import hashlib
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from evals.database import Database
from explicate.web import security
from explicate.web.app import create_app
from explicate.web.assets import assets
from explicate.web.headers import HEADERS

TOKEN = "correct horse battery staple"
PAGES = ("/", "/compare", "/schedules", "/live", "/trends?group=a&name=b", "/api/runs", "/api/schedules", "/api/openapi.json", "/nothing")


@pytest.fixture
def guarded(store: Database) -> TestClient:
    """The pages of an empty database, for those who have the token."""
    return TestClient(create_app(store, token=TOKEN), base_url="https://pages.example", follow_redirects=False)


@pytest.mark.parametrize("path", PAGES)
def test_nothing_but_the_form_and_its_looks_is_seen_without_the_token(guarded: TestClient, path: str) -> None:
    answer = guarded.get(path)
    assert answer.status_code == 401
    if path.startswith("/api/"):
        assert set(answer.json()) == {"detail"}
        assert answer.headers["www-authenticate"] == "Bearer"
    else:
        assert 'action="/login"' in answer.text
        assert "No runs yet" not in answer.text
    looks = re.findall(r'(?:href|src)="(/static/[^"]+)"', guarded.get("/login").text)
    assert len(looks) >= 3
    assert all(guarded.get(each).status_code == 200 for each in looks)


@pytest.mark.parametrize(
    "given",
    [
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer ",
        "Bearer",
        "",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer té",
        f"Bearer {security.cookie_of(TOKEN)}",
    ],
)
def test_a_wrong_token_opens_nothing(guarded: TestClient, given: str) -> None:
    assert guarded.get("/api/runs", headers={b"authorization": given.encode()}).status_code == 401
    assert guarded.get("/api/runs", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("cookie", [TOKEN, "", "x", security.cookie_of(TOKEN + "x"), security.cookie_of(TOKEN)[:-1], '"\\777"'])
def test_a_wrong_cookie_opens_nothing(guarded: TestClient, cookie: str) -> None:
    assert guarded.get("/", headers={"cookie": f"{security.COOKIE}={cookie}"}).status_code == 401


def test_the_form_takes_the_token_and_goes_to_the_page_that_was_wanted(guarded: TestClient) -> None:
    asked = guarded.get("/schedules?x=1&y=%3Cb%3E")
    assert 'value="/schedules?x=1&amp;y=%3Cb%3E"' in asked.text
    wrong = guarded.post("/login", data={"token": "no", "to": "/schedules"})
    assert wrong.status_code == 401
    assert "not the token" in wrong.text
    assert "set-cookie" not in wrong.headers
    right = guarded.post("/login", data={"token": TOKEN, "to": "/schedules?x=1"})
    assert (right.status_code, right.headers["location"]) == (303, "/schedules?x=1")
    cookie = right.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"))
    assert TOKEN not in cookie
    assert guarded.get("/").status_code == 200
    assert guarded.post("/logout").status_code == 303
    assert guarded.get("/").status_code == 401


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "/\n/x", ""]
)
def test_signing_in_leads_to_these_pages_only(guarded: TestClient, to: str) -> None:
    assert guarded.post("/login", data={"token": TOKEN, "to": to}).headers["location"] == "/"
    assert guarded.get("/login", params={"to": to}).text.count('name="to" value="/"') == 1


def test_tokens_are_compared_in_constant_time(guarded: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []
    compare = security.hmac.compare_digest

    def recording(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return compare(a, b)

    monkeypatch.setattr(security.hmac, "compare_digest", recording)
    guarded.get("/", headers={"authorization": "Bearer guess-one"})
    guarded.get("/", headers={"cookie": f"{security.COOKIE}=guess-two"})
    guarded.post("/login", data={"token": "guess-three"})
    assert [a for a, _ in compared] == [b"guess-one", b"guess-two", b"guess-three"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", "[::1", "10.0.0.1"])
def test_another_name_for_this_machine_reads_nothing_without_a_token(client: TestClient, host: str) -> None:
    assert client.get("/api/runs", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "LOCALHOST:1", "[::1]:8000", "[::1]"])
def test_this_machine_is_called_by_its_own_names(client: TestClient, host: str) -> None:
    assert client.get("/api/runs", headers={"host": host}).status_code == 200


def test_no_other_site_can_send_a_form(guarded: TestClient) -> None:
    form = {"token": TOKEN}
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert guarded.post("/login", data=form, headers=headers).status_code == 403
    for headers in ({"origin": "https://pages.example"}, {"sec-fetch-site": "same-origin"}, {}):
        assert guarded.post("/login", data=form, headers=headers).status_code == 303


def test_bodies_and_addresses_are_bounded(guarded: TestClient) -> None:
    assert guarded.post("/login", content=b"x" * (security.MAX_BODY + 1)).status_code == 413
    assert guarded.post("/login", content=b"x" * security.MAX_BODY).status_code == 401

    def parts() -> Iterator[bytes]:
        yield from [b"x" * 65_536] * 64

    sent = guarded.post("/login", content=parts())
    assert "content-length" not in sent.request.headers
    assert sent.status_code == 413
    for length in ("-1", "1e9", "99999999999", "abc"):
        assert guarded.post("/login", content=b"x", headers={"content-length": length}).status_code == 413
    assert guarded.get("/login?" + "q=" + "x" * security.MAX_QUERY).status_code == 414
    assert guarded.get("/" + "x" * security.MAX_QUERY).status_code == 414


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=99999999999", "page=x", "kind=other", "q=" + "x" * 201])
def test_a_query_that_is_not_understood_is_a_page_that_says_so(client: TestClient, query: str) -> None:
    answer = client.get(f"/?{query}")
    assert answer.status_code == 422
    assert "not understood" in answer.text
    assert "<h1>" in answer.text


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "offset=-1", "offset=99999999999"])
def test_programs_get_pages_of_bounded_size(client: TestClient, query: str) -> None:
    assert client.get(f"/api/runs?{query}").status_code == 422


TRAVERSALS = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd",
    "..\\..\\x",
    "%00",
    "a%00b",
    "....//",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_of_a_request_reaches_a_file(client: TestClient, tmp_path: Path, path: str) -> None:
    (tmp_path / "report.html").write_text("a secret", encoding="utf-8")
    for place in (f"/runs/{path}", f"/runs/{path}/report", f"/api/runs/{path}", f"/static/x/{path}", f"/static/{path}", f"/{path}"):
        answer = client.get(place)
        assert answer.status_code == 404, place
        assert "secret" not in answer.text
        assert "root:" not in answer.text


def test_every_answer_has_the_strict_headers(client: TestClient, label_run: Callable[..., Path], store: Database, tmp_path: Path) -> None:
    run = store.add_run(label_run(tmp_path / "run"))
    for path in ("/", f"/runs/{run}", "/nothing", "/?page=x", "/login", f"/api/runs/{run}", "/api/openapi.json", "/static/x/web.css"):
        answer = client.get(path)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, path
    policy = dict(part.split(" ", 1) for part in HEADERS["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"


def test_an_error_of_ours_is_a_page_without_its_reason_and_with_the_headers(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(store, "runs", broken)
    calm = TestClient(create_app(store), base_url="http://127.0.0.1", raise_server_exceptions=False)
    page, answer = calm.get("/"), calm.get("/api/runs")
    for each in (page, answer):
        assert each.status_code == 500
        assert "swordfish" not in each.text
        assert {name: each.headers.get(name) for name in HEADERS} == HEADERS
    assert "<h1>" in page.text
    assert answer.json()["detail"].startswith("This page could not be made")


def test_the_interactive_documents_that_would_load_from_elsewhere_are_off(client: TestClient) -> None:
    assert [client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 404]
    document = client.get("/api/openapi.json").json()
    assert document["paths"]
    assert all(path.startswith("/api/") for path in document["paths"])
    for path, methods in document["paths"].items():
        for method in methods.values():
            schema = method["responses"]["200"]["content"]["application/json"]["schema"]
            assert schema, path


def test_pages_name_nothing_of_another_host(client: TestClient, label_run: Callable[..., Path], store: Database, tmp_path: Path) -> None:
    run = store.add_run(label_run(tmp_path / "run"))
    for path in ("/", f"/runs/{run}", "/compare", "/schedules", "/login"):
        text = client.get(path).text
        assert re.findall(r'(?:href|src|action)="(?:[a-z]+:)?//[^"]*"', text) == []
        assert "<script>" not in text
        assert re.findall(r"<script[^>]*>[^<]", text) == []
        assert re.findall(r"\son[a-z]+=", text) == []


def test_the_script_of_others_is_the_one_whose_licence_stands_beside_it() -> None:
    folder = files("explicate") / "templates" / "web"
    script = hashlib.sha256((folder / "htmx.min.js").read_bytes()).hexdigest()
    note = (folder / "htmx.LICENSE.txt").read_text(encoding="utf-8")
    assert f"SHA-256 {script}\n" in note
    assert "Zero-Clause BSD" in note
    assert set(assets()) >= {"htmx.min.js", "web.css", "style.css"}
    assert not any(name.endswith((".txt", ".html")) for name in assets())
