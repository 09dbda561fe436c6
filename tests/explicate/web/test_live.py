"""A text run live: activations as the model itself gives them, only allowed models, one at a time, and no request of another site."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from analyzers.errors import SubjectError
from analyzers.read_text import read_text
from analyzers.sites import Site
from analyzers.subject import Subject
from evals.database import Database
from explicate.web import live, live_subject
from explicate.web.live_subject import WAITING, LiveSubject, on_this_machine

TEXT = "The old bridge went on and on."


@pytest.fixture(autouse=True)
def fresh(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No model is held from another test."""
    monkeypatch.setattr(live, "_SUBJECT", LiveSubject())
    return


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path]) -> Path:
    return tiny_checkpoint("llama")


@pytest.fixture
def run(store: Database, label_run: Callable[..., Path], tmp_path: Path, model: Path) -> str:
    return store.add_run(label_run(tmp_path / "labels", subject=str(model)))


def _naive(model: Path, text: str, site: Site) -> list[float]:
    """Activations by a hook of our own on the one module, token by token of the text."""
    import torch

    subject = Subject.load(str(model), dtype="float32")
    seen: list[Any] = []
    hook = subject.projections[site.layer].register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    ids = [*subject.prefix, *subject.encode(text)]
    with torch.no_grad():
        subject.model(torch.tensor([ids]))
    hook.remove()
    values = seen[-1].reshape(len(ids), -1)[len(subject.prefix) :, site.index] * site.sign
    return [max(float(value), 0.0) for value in values]


def test_the_activations_are_those_of_a_hook_on_the_module(client: TestClient, run: str, model: Path) -> None:
    answer = client.post("/api/live", json={"text": TEXT, "run": run, "sites": ["L2.mlp.9-", "L0.mlp.3"]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert "".join(found["tokens"]) == TEXT
    assert [each["label"] for each in found["sites"]] == ["L2.mlp.9-", "L0.mlp.3"]
    for each in found["sites"]:
        expected = _naive(model, TEXT, Site.parse(each["label"]))
        assert each["activations"] == pytest.approx(expected, abs=1e-5)
        assert each["largest"] == pytest.approx(max(expected), abs=1e-5)
        assert max(expected) > 0
    assert found["sites"][0]["explanation"] == "words of towns, such as bridge"
    assert found["sites"][0]["largest_known"] == 6.0


def test_where_no_site_is_named_the_loudest_of_the_run_come_first(client: TestClient, run: str) -> None:
    found = client.post("/api/live", json={"text": TEXT, "run": run}).json()
    assert found["n_read"] == 4
    shares = [each["largest"] / each["largest_known"] for each in found["sites"]]
    assert shares == sorted(shares, reverse=True)
    assert {each["label"] for each in found["sites"]} == {"L0.mlp.3", "L0.mlp.3-", "L1.mlp.7", "L2.mlp.9-"}


def test_weights_that_are_not_those_of_the_run_are_named(
    store: Database, client: TestClient, run: str, label_run: Callable[..., Path], tmp_path: Path, model: Path
) -> None:
    assert client.post("/api/live", json={"text": TEXT, "run": run}).json()["changed"] is True
    revision = Subject.load(str(model)).identity["revision"]
    same = store.add_run(label_run(tmp_path / "same", subject=str(model), revision=revision))
    assert client.post("/api/live", json={"text": TEXT, "run": same}).json()["changed"] is False


def test_the_form_shows_the_text_shaded_and_keeps_what_was_written(client: TestClient, run: str) -> None:
    text = "</textarea><script>alert(1)</script>\r\n went on"
    page = client.post("/live", data={"subject": f"run:{run}", "sites": "L0.mlp.3, L2.mlp.9-", "text": text})
    assert page.status_code == 200
    assert page.text.count('class="reads') == 3  # two sites, and the loudest of both
    assert "<script>alert" not in page.text
    assert "&lt;/textarea&gt;&lt;script&gt;" in page.text
    assert f'value="run:{run}" selected' in page.text
    assert 'value="L0.mlp.3, L2.mlp.9-"' in page.text
    assert "--a:" in page.text


def test_the_model_is_loaded_once(client: TestClient, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, load = [], Subject.load

    def counted(name: str, **options: Any) -> Subject:
        loaded.append(name)
        return load(name, **options)

    monkeypatch.setattr(Subject, "load", counted)
    for _ in range(3):
        assert client.post("/api/live", json={"text": TEXT, "run": run, "sites": ["L0.mlp.3"]}).status_code == 200
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"run": "none"}, 404),
        ({"model": "/etc"}, 422),
        ({"model": "../../assets"}, 422),
        ({"model": "smollm2-135m"}, 422),  # known, and not cached here
        ({"model": "gpt2", "run": "none"}, 422),
        ({}, 422),
    ],
)
def test_only_runs_and_cached_models_are_read(
    client: TestClient, fields: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Subject, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert client.post("/api/live", json={"text": TEXT, "sites": ["L0.mlp.3"], **fields}).status_code == status
    kind, _, name = next((f"{kind}:{name}" for kind, name in fields.items()), "").partition(":")
    page = client.post("/live", data={"subject": f"{kind}:{name}", "sites": "L0.mlp.3", "text": TEXT})
    assert page.status_code in (404, 422)


def test_a_folder_is_no_model_unless_a_run_was_made_with_it(client: TestClient, model: Path, tmp_path: Path) -> None:
    assert client.post("/api/live", json={"text": TEXT, "sites": ["L0.mlp.3"], "model": str(model)}).status_code == 422
    assert on_this_machine(str(model)) == str(model)
    assert on_this_machine(str(tmp_path)) is None
    assert on_this_machine("smollm2-135m") is None
    assert on_this_machine("nobody/nothing") is None


def test_a_subject_that_is_not_here_is_not_fetched(
    store: Database, client: TestClient, label_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.hub.find", lambda *_: pytest.fail("the Hub was asked"))
    away = store.add_run(label_run(tmp_path / "away", subject="smollm2-135m"))
    answer = client.post("/api/live", json={"text": TEXT, "run": away})
    assert answer.status_code == 409
    assert "not on this machine" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("text", "sites", "said"),
    [
        ("", "L0.mlp.3", "empty"),
        ("word " * 300, "L0.mlp.3", "shorten it to 256"),
        ("x" * 2001, "L0.mlp.3", "2,001 characters"),
        (TEXT, "L0.mlp.99", "neurons 0-47"),
        (TEXT, "L7.mlp.1", "layers 0-2"),
        (TEXT, "the first one", "is not a site"),
        (TEXT, " ".join(["L0.mlp.3"] * 65), "at most 64"),
        (TEXT, "x" * 41, "at most 64"),
    ],
)
def test_what_cannot_be_read_is_said_above_the_form(client: TestClient, run: str, text: str, sites: str, said: str) -> None:
    page = client.post("/live", data={"subject": f"run:{run}", "sites": sites, "text": text})
    assert page.status_code == 422
    assert said in page.text
    assert 'role="alert"' in page.text
    assert 'class="reads' not in page.text
    answer = client.post("/api/live", json={"text": text, "run": run, "sites": sites.replace(",", " ").split()})
    assert answer.status_code in (409, 422)


def test_a_page_of_another_site_cannot_run_anything(client: TestClient, run: str) -> None:
    body = {"subject": f"run:{run}", "sites": "L0.mlp.3", "text": TEXT}
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/live", data=body, headers=headers).status_code == 403
        assert client.post("/api/live", json={"text": TEXT, "run": run}, headers=headers).status_code == 403
    assert client.post("/live", data=body, headers={"origin": "http://127.0.0.1"}).status_code == 200


def test_one_text_at_a_time_and_only_so_many_wait(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, started, go, inside, most = LiveSubject(), threading.Semaphore(0), threading.Event(), [0], [0]

    def slow(*_: Any, **__: Any) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        started.release()
        go.wait()
        inside[0] -= 1

    monkeypatch.setattr("analyzers.read_text.read_text", slow)
    ask = lambda: subject.read(str(model), "float32", TEXT, [Site.parse("L0.mlp.3")])  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(WAITING)]
    for each in threads:
        each.start()
    started.acquire()
    while subject._places._value:  # type: ignore[attr-defined]
        time.sleep(0.01)
    with pytest.raises(HTTPException) as refused:
        ask()
    assert refused.value.status_code == 503
    go.set()
    for each in threads:
        each.join()
    assert most == [1]
    ask()  # the places are free again


def test_the_event_loop_goes_on_while_a_text_is_read(client: TestClient, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, go, read = threading.Event(), threading.Event(), live_subject.LiveSubject.read

    def held(*arguments: Any) -> Any:
        reading.set()
        assert go.wait(60)
        return read(*arguments)

    monkeypatch.setattr(live_subject.LiveSubject, "read", held)
    answers = []
    with client:  # one event loop for all requests
        asking = threading.Thread(target=lambda: answers.append(client.post("/api/live", json={"text": TEXT, "run": run}).status_code))
        asking.start()
        assert reading.wait(60)
        assert client.get("/live").status_code == 200
        assert answers == []
        go.set()
        asking.join()
    assert answers == [200]


def test_a_reading_refuses_what_is_not_finite(model: Path) -> None:
    import torch

    subject = Subject.load(str(model), dtype="float32")
    with torch.no_grad():
        subject.projections[0].weight.fill_(float("nan"))
    with pytest.raises(SubjectError, match="not finite"):
        read_text(subject, TEXT, [Site.parse("L1.mlp.3")], longest=100)


def test_a_browser_reads_a_text(run: str, browse: Callable[..., Any], tmp_path: Path) -> None:
    page = browse(f"/live?run={run}")
    page.get_by_label("Text, up to").fill(TEXT)
    page.get_by_role("button", name="Read").click()
    page.locator("#read").wait_for()
    assert page.locator(".reads").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.screenshot(path=tmp_path / "live.png")
    assert page.trouble() == []
