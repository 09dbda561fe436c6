"""Models that cannot be loaded: each is one line that names the folder."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from analyzers.engine import Engine
from analyzers.errors import ExplicateError
from analyzers.subject import Subject
from analyzers.text_model import TextModel

WEIGHTS = "model.safetensors"


def cut(name: str, keep: float) -> Callable[[Path], None]:
    """Only so much of a file arrived."""

    def harm(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(keep * len(content))])

    return harm


def configured(**changes: object) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return harm


def written(name: str, text: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        (folder / name).write_text(text)

    return harm


def pickled(keep: float) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
        (folder / WEIGHTS).unlink()
        cut("pytorch_model.bin", keep)(folder)

    return harm


def foreign(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(object, protocol=2))


HARMS: dict[str, Callable[[Path], None]] = {
    "weights cut off": cut(WEIGHTS, 0.5),
    "weights empty": cut(WEIGHTS, 0),
    "pickled weights cut off": pickled(0.5),
    "pickled weights empty": pickled(0),
    "pickled weights of something else": foreign,
    "index cut off": written(f"{WEIGHTS}.index.json", '{"weight_map": {'),
    "index of something else": written(f"{WEIGHTS}.index.json", "[]"),
    "configuration cut off": cut("config.json", 0.5),
    "configuration of something else": written("config.json", "[]"),
    "configuration of other weights": configured(hidden_size=64),
    "configuration of wrong kinds": configured(hidden_size="x"),
    "a quantiser that is not installed": configured(quantization_config={"quant_method": "gptq", "bits": 4}),
    "tokenizer cut off": cut("tokenizer.json", 0.5),
}


@pytest.mark.parametrize("load", [Subject.load, Engine.load, TextModel.load])
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_damaged_model_is_one_line_with_its_name(
    load: Callable[..., Any], harm: Callable[[Path], None], tiny_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_checkpoint("llama"), folder)
    harm(folder)
    with pytest.raises(ExplicateError) as caught:
        load(str(folder), device="cpu")
    assert repr(str(folder)) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(": ")
