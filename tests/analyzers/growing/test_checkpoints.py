"""Where checkpoints are: folders by their steps, and revisions of a Hub that speaks from this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from analyzers.errors import AssetError
from analyzers.growing.checkpoints import find_series, hub_series, step_of


def model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-1000", 1000),
        ("step_20", 20),
        ("step143000", 143000),
        ("OLMo-7B-step4000-tokens16B", 4000),
        ("global_step7", 7),
        ("0012", 12),
        ("run2-0300", 300),
        ("main", None),
    ],
)
def test_the_step_of_a_name(name: str, step: int | None) -> None:
    assert step_of(name) == step


def test_a_folder_is_read_by_steps_and_not_by_letters(tmp_path: Path) -> None:
    for name in ("checkpoint-1000", "checkpoint-20", "checkpoint-0", ".checkpoint-3"):
        model(tmp_path / name)
    (tmp_path / "logs7").mkdir()
    (tmp_path / "tokenizer").mkdir()
    (series,) = find_series(tmp_path)
    assert (series.name, series.steps) == (tmp_path.name, (0, 20, 1000))
    assert [checkpoint.name for checkpoint in series.checkpoints] == ["checkpoint-0", "checkpoint-20", "checkpoint-1000"]


def test_a_folder_for_each_seed(tmp_path: Path) -> None:
    for seed in (10, 2):
        for step in (0, 8):
            model(tmp_path / f"seed-{seed}" / f"step_{step}")
    (tmp_path / "empty").mkdir()
    assert [(series.name, series.steps) for series in find_series(tmp_path)] == [("seed-2", (0, 8)), ("seed-10", (0, 8))]


def test_what_is_no_series_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="there is no folder"):
        find_series(tmp_path / "none")
    with pytest.raises(AssetError, match="holds no checkpoint"):
        find_series(tmp_path)
    model(tmp_path / "step_1")
    with pytest.raises(AssetError, match="a single checkpoint, 'step_1'"):
        find_series(tmp_path)
    model(tmp_path / "checkpoint-1")
    with pytest.raises(AssetError, match="both of step 1"):
        find_series(tmp_path)
    with pytest.raises(AssetError, match="one model, no series"):
        find_series(_alone(tmp_path))


def _alone(tmp_path: Path) -> Path:
    model(tmp_path / "alone" / "inner")
    for each in (tmp_path / "alone" / "inner").iterdir():
        each.rename(tmp_path / "alone" / each.name)
    return tmp_path / "alone"


def test_revisions_are_put_in_order_and_need_a_step() -> None:
    series = hub_series("org/model", ["step1000", "step0", "step16"])
    assert series.steps == (0, 16, 1000)
    assert [checkpoint.revision for checkpoint in series.checkpoints] == ["step0", "step16", "step1000"]
    with pytest.raises(AssetError, match="'main' tells no step"):
        hub_series("org/model", ["step0", "main"])
    with pytest.raises(AssetError, match="a single checkpoint"):
        hub_series("org/model", ["step0"])


SHAS = {"step0": "0" * 40, "step8": "8" * 40}


class Hub(BaseHTTPRequestHandler):
    """Knows org/grown at two revisions, whose weights are their names."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        by_commit = {sha: name for name, sha in SHAS.items()}
        parts = path.strip("/").split("/")
        asked = next((part for part in parts if part in SHAS or part in by_commit), "")
        revision = by_commit.get(asked, asked)
        if not path.startswith(("/api/models/org/grown", "/org/grown")):
            self.answer(404, X_Error_Code="RepoNotFound")
        elif not revision:
            self.answer(404, X_Error_Code="RevisionNotFound")
        elif "tree" in parts:
            files = [{"type": "file", "path": name, "size": len(body), "oid": "0" * 40} for name, body in _files(revision).items()]
            self.answer(200, json.dumps(files).encode(), Content_Type="application/json")
        elif path.startswith("/api/"):
            info = {"id": "org/grown", "sha": SHAS[revision], "siblings": [{"rfilename": name} for name in _files(revision)]}
            self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        else:
            body = _files(revision)[parts[-1]]
            self.answer(200, body, ETag=f'"{hashlib.sha256(body).hexdigest()}"', X_Repo_Commit=SHAS[revision])

    do_HEAD = do_GET  # noqa: N815 - the name that the server looks for


def _files(revision: str) -> dict[str, bytes]:
    return {"config.json": b'{"model_type": "x"}', "model.safetensors": revision.encode(), "notes.msgpack": b"not wanted"}


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(endpoint: str, tmp_path: Path, *asked: tuple[str, str]) -> list[str]:
    """What each (model, revision) is, its weights or why not, with the Hub at `endpoint`, whose address its client reads once."""
    code = """
import json, sys
from analyzers.errors import AssetError
from analyzers.growing.revisions import revision_folder
for name, revision in json.loads(sys.argv[1]):
    try:
        folder = revision_folder(name, revision)
        print(folder.name, (folder / "model.safetensors").read_text(), *sorted(path.name for path in folder.iterdir()))
    except AssetError as error:
        print(error)
"""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf")}
    for variable in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        environment.pop(variable, None)
    done = subprocess.run([sys.executable, "-c", code, json.dumps(asked)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_revisions_of_the_hub_are_fetched_once_each(endpoint: str, tmp_path: Path) -> None:
    asked = [("org/grown", "step0"), ("org/grown", "step8")]
    wanted = [f"{SHAS[name]} {name} config.json model.safetensors" for name in SHAS]
    assert fetch(endpoint, tmp_path, *asked) == wanted
    # Where nobody answers: from the cache.
    *known, unknown = fetch("http://127.0.0.1:9", tmp_path, *asked, ("org/grown", "step16"))
    assert known == wanted
    assert "cannot be reached" in unknown
    missing, none = fetch(endpoint, tmp_path, ("org/grown", "step99"), ("org/none", "step0"))
    assert "no revision 'step99' of 'org/grown'" in missing
    assert "no model 'org/none'" in none
