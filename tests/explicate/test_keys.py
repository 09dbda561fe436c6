"""A key is in nothing that is written or printed, even where an endpoint sends it back."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explicate import cli

KEY = "sk-secret-0123456789abcdefXYZ"


@pytest.fixture
def explicate(
    workplace: Path,
    server: Any,
    tiny_corpus: Path,
    tiny_checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """explicate("--json") labels with a key in the environment, and returns the exit code and all that was printed."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def run(*options: str) -> tuple[int, str]:
        arguments = ["label", str(tiny_checkpoint("llama")), "--sites", "L0.mlp.3,L1.mlp.7-", "--corpus", str(tiny_corpus)]
        arguments += ["--tokens", "9000", "--explainer", "openai:writer", "--simulator", "openai:reader", "--base-url", server.url]
        monkeypatch.setattr(sys, "argv", ["explicate", *arguments, "--out", "out", *options])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), "".join(capsys.readouterr())

    return run


def holding(folder: Path) -> list[Path]:
    """Files below a folder in which the key stands, as text or in a file name."""
    return [path for path in folder.rglob("*") if KEY in path.name or (path.is_file() and KEY.encode() in path.read_bytes())]


def test_a_key_that_is_sent_back_in_replies_is_nowhere(explicate: Callable[..., tuple[int, str]], server: Any, workplace: Path) -> None:
    def answer(body: dict[str, Any]) -> Any:
        reply = server.labeller(body)
        message = reply["choices"][0]["message"]
        if "levels" not in message["content"] and "zebra" not in message["content"]:
            message["content"] += f" and {KEY} Bearer {KEY}"
        return reply

    server.answer = answer
    code, said = explicate()
    assert code == 0
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY not in said
    assert holding(workplace) == []
    # The words around it are kept, so that it is seen that something was taken out.
    assert "[key]" in (workplace / "out" / "results.json").read_text("utf-8")
    code, said = explicate("--json")
    assert code == 0
    assert KEY not in said


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_a_key_that_is_sent_back_in_errors_is_nowhere(
    explicate: Callable[..., tuple[int, str]], server: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr("agents.retry._backoff", lambda state: 0.0)

    def answer(body: dict[str, Any]) -> Any:
        if "What are the marked tokens?" in str(body):
            return server.error(status, f"not with {KEY}, header 'Authorization: Bearer {KEY}'", headers={"x-request-id": KEY})
        return server.labeller(body)

    server.answer = answer
    code, said = explicate()
    # A request that the endpoint will not answer fails its site; anything else ends the run.
    assert code == (0 if status == 400 else 2)
    assert KEY not in said
    assert holding(workplace) == []
