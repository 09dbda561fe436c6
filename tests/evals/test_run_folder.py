"""What a run folder remembers of how it was made, and what it refuses to go on with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import RunFolderError
from evals import run_folder
from evals.run_folder import RunFolder, parquet_rows, read_parquet, write_parquet


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "manifest.json").read_text("utf-8"))
    return found


def test_what_was_recorded_must_be_the_same_when_the_run_goes_on(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", "label", {"seed": 0}) as folder:
        folder.record({"version": "1", "pass": "abc"})
    with RunFolder(tmp_path / "run", "label", {"seed": 0}) as folder:
        folder.record({"version": "1", "prompts": {"explainer": "e"}})
        before = manifest(tmp_path / "run")
        with pytest.raises(RunFolderError, match="was begun with version '1', now it is '2'"):
            folder.record({"version": "2"})
    assert manifest(tmp_path / "run") == before == folder.manifest
    assert before["pass"] == "abc"
    assert before["prompts"] == {"explainer": "e"}


def test_what_may_differ_is_kept_as_the_last_command_found_it(tmp_path: Path) -> None:
    for numpy in ("2.0", "2.1"):
        with RunFolder(tmp_path / "run", "label", {}) as folder:
            folder.record({"version": "1"}, latest={"packages": {"numpy": numpy}})
        assert manifest(tmp_path / "run")["packages"] == {"numpy": numpy}


@pytest.mark.parametrize("count", [0, 1, 3, 4, 10])
def test_rows_are_written_and_read_some_at_a_time(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    monkeypatch.setattr(run_folder, "ROWS", 3)
    rows = [{"a": number, "b": [str(number)] if number % 2 else None} for number in range(count)]
    schema = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.string()))])
    made = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal made
        for row in rows:
            made += 1
            yield row

    write_parquet(tmp_path / "x.parquet", counted(), schema)
    assert made == count
    assert read_parquet(tmp_path / "x.parquet", ("a", "b")) == rows
    assert read_parquet(tmp_path / "x.parquet", ["b"]) == [{"b": row["b"]} for row in rows]
    if count:
        write_parquet(tmp_path / "y.parquet", rows)
        assert read_parquet(tmp_path / "y.parquet", ["a", "b"]) == rows


def test_a_table_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [{"a": 1}])
    with pytest.raises(RunFolderError, match=r"x.parquet' cannot be read \(it has no column b\)"):
        list(parquet_rows(tmp_path / "x.parquet", ("a", "b")))
    with pytest.raises(RunFolderError, match="there is no such file"):
        list(parquet_rows(tmp_path / "none.parquet", ("a",)))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RunFolderError, match="cannot be read"):
        list(parquet_rows(tmp_path / "x.parquet", ("a",)))
