"""What a pass writes; that it goes on where it was killed stands with each pass."""

import os
import stat
from pathlib import Path

import pytest
import torch

from analyzers.pass_folder import write_json, write_tensors


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_tensors_are_as_open_to_others_as_any_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / "tensors.safetensors", {"x": torch.zeros(2)})
        write_json(tmp_path / "note.json", {})
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("tensors.safetensors", "note.json")]
    assert modes == [0o666 & ~umask] * 2
