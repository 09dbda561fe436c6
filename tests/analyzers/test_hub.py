"""The Hub's client against a small server that speaks as the Hub does, on this machine."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = {"step0": "0" * 40, "step8": "8" * 40}
"""Of org/grown, whose weights are the names of these."""
FILES = {
    "config.json": b'{"model_type": "x"}',
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "tf_model.h5": b"other",
    "onnx/a.json": b"",
}


class Hub(BaseHTTPRequestHandler):
    """Knows org/good, and org/grown by its revisions; org/broken breaks off in its weights, org/down is out of order."""

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
        model = path.removeprefix("/api/models/").partition("/revision/")[0]
        if path.startswith(("/api/models/org/grown", "/org/grown")):
            self.grown(path)
        elif model in ("org/good", "org/broken"):
            info = {"id": model, "sha": SHA, "siblings": [{"rfilename": name} for name in FILES]}
            self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        elif model.partition("/tree/")[0] in ("org/good", "org/broken"):
            tree = [{"type": "file", "path": name, "size": len(body), "oid": "0" * 40} for name, body in FILES.items()]
            self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
        elif path.startswith("/api/models/org/down"):
            self.answer(503)
        elif path.startswith("/api/models/org/gated"):
            self.answer(403, X_Error_Code="GatedRepo")
        elif path.startswith(f"/org/good/resolve/{SHA}/") or (path.startswith("/org/broken/resolve/") and path.endswith(".json")):
            body = FILES[path.rpartition("/")[2]]
            self.answer(200, body, ETag=f'"{hashlib.sha256(body).hexdigest()}"', X_Repo_Commit=SHA)
        else:
            self.answer(404, X_Error_Code="EntryNotFound" if "/resolve/" in path else "RepoNotFound")

    def grown(self, path: str) -> None:
        names = {**{name: name for name in REVISIONS}, **{sha: name for name, sha in REVISIONS.items()}}
        name = next((names[part] for part in path.split("/") if part in names), None)
        if name is None:
            self.answer(404, X_Error_Code="RevisionNotFound")
            return
        files = {"config.json": b"{}", "model.safetensors": name.encode(), "notes.msgpack": b"not wanted"}
        if "/tree/" in path:
            tree = [{"type": "file", "path": file, "size": len(body), "oid": "0" * 40} for file, body in files.items()]
            self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
        elif path.startswith("/api/"):
            info = {"id": "org/grown", "sha": REVISIONS[name], "siblings": [{"rfilename": file} for file in files]}
            self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        else:
            body = files[path.rpartition("/")[2]]
            self.answer(200, body, ETag=f'"{hashlib.sha256(body).hexdigest()}"', X_Repo_Commit=REVISIONS[name])

    do_HEAD = do_GET  # noqa: N815 - the name that the server looks for


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(code: str, endpoint: str, tmp_path: Path) -> str:
    """Run `code` with the Hub at `endpoint`, whose address its client reads once, when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "EXPLICATE_ASSETS": str(tmp_path / "assets")}
    for variable in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        environment.pop(variable, None)
    preamble = "from analyzers.errors import AssetError\nfrom analyzers.assets import model_source\n"
    result = subprocess.run([sys.executable, "-c", preamble + code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_model_is_fetched_once_and_found_again_without_the_hub(endpoint: str, tmp_path: Path) -> None:
    code = """
source = model_source("org/good")
print(source.source, source.revision, *sorted(path.name for path in source.path.iterdir()))
"""
    said = f"hub {SHA} config.json model.safetensors tokenizer.json"
    assert run(code, endpoint, tmp_path) == said
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert run(code, f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path) == said


def test_a_revision_is_named_behind_the_model_and_asked_for_once(endpoint: str, tmp_path: Path) -> None:
    code = """
for name in ("org/grown@step0", "org/grown@step8", "org/grown@step99"):
    try:
        source = model_source(name)
        weights = (source.path / "model.safetensors").read_text()
        print(source.name, source.source, source.revision, weights, *sorted(path.name for path in source.path.iterdir()))
    except AssetError as error:
        print(error)
"""
    wanted = [f"org/grown@{name} hub {sha} {name} config.json model.safetensors" for name, sha in REVISIONS.items()]
    *found, missing = run(code, endpoint, tmp_path).splitlines()
    assert found == wanted
    assert "no revision 'step99' of 'org/grown'" in missing
    # Where nobody answers: from the cache.
    *found, missing = run(code, "http://127.0.0.1:9", tmp_path).splitlines()
    assert found == wanted
    assert "cannot be reached" in missing


def test_what_the_hub_says_decides(endpoint: str, tmp_path: Path) -> None:
    code = """
for name in ("org/missing", "org/gated", "org/down", "two words", "org/broken"):
    try:
        print("found", model_source(name))
    except AssetError as error:
        print(str(error).replace(chr(10), "NEWLINE"))
"""
    missing, gated, down, malformed, broken = run(code, endpoint, tmp_path).splitlines()
    assert "has no model 'org/missing'" in missing
    assert "consent" in gated
    assert "cannot be reached" in down
    assert "'two words' is not a name" in malformed
    assert "broke off" in broken
    assert not any("NEWLINE" in line for line in (missing, gated, down, malformed, broken))


def test_an_asset_from_the_hub_is_whole_or_absent(endpoint: str, tmp_path: Path) -> None:
    code = """
from dataclasses import replace
from analyzers import asset_table
table = asset_table.assets()
asset_table._table = lambda: (replace(table[0], hub=HUB, wheels=()),)
try:
    source = model_source("smollm2-135m")
    print(source.source, source.revision, *sorted(path.name for path in source.path.iterdir()))
except AssetError as error:
    print(error)
"""
    assert "broke off" in run(code.replace("HUB", "'org/broken'"), endpoint, tmp_path)
    assert not (tmp_path / "assets" / "smollm2-135m").exists()
    assert (
        run(code.replace("HUB", "'org/good'"), endpoint, tmp_path) == f"hub {SHA} asset.json config.json model.safetensors tokenizer.json"
    )
