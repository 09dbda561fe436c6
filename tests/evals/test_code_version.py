"""Every source of the project counts for its version, and nothing else does."""

import shutil
from pathlib import Path

import pytest

from evals.code_version import PACKAGES, code_hash, hash_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_copy_has_the_same_hash_wherever_it_is(copy: Path) -> None:
    assert hash_of(copy) == code_hash()
    assert len(code_hash()) == 12
    (copy / "evals" / "__pycache__").mkdir()
    for other in ("evals/__pycache__/scores.cpython-311.pyc", "README.md", "explicate/templates/more.css"):
        (copy / other).write_text("other")
    assert hash_of(copy) == code_hash()


@pytest.mark.parametrize(
    "name", ["evals/scores.py", "agents/simulators/lexical.py", "prompts/marked_text.md", "prompts/marked_text.json", "agents/prices.toml"]
)
def test_a_changed_or_moved_source_has_another(copy: Path, name: str) -> None:
    before = hash_of(copy)
    path = copy / name
    path.rename(path.with_stem("other"))
    moved = hash_of(copy)
    path.with_stem("other").rename(path)
    assert hash_of(copy) == before
    path.write_bytes(path.read_bytes() + b" ")
    assert len({before, moved, hash_of(copy)}) == 3
