"""Models that cannot be loaded: each is one line that names the folder."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from analyzers.engine import Engine
from analyzers.errors import ExplicateError, SubjectError
from analyzers.subject import Subject
from analyzers.text_model import TextModel

WEIGHTS = "model.safetensors"
LOADERS = [Subject.load, Engine.load, TextModel.load]


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


@pytest.mark.parametrize("load", LOADERS)
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


# Weights that are not there, which transformers draws at random.


@pytest.fixture
def lacking(tmp_path: Path) -> Callable[..., Path]:
    """lacking(model, tokenizer, "lm_head"): its folder without the weights whose names begin so."""

    def build(model: Any, tokenizer: Any, *without: str) -> Path:
        folder = tmp_path / "lacking"
        for part in (model, tokenizer):
            part.save_pretrained(folder)
        whole = load_file(folder / WEIGHTS)
        kept = {name: weight for name, weight in whole.items() if not name.startswith(without)}
        assert len(kept) < len(whole)
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
        return folder

    return build


@pytest.mark.parametrize("load", LOADERS)
def test_no_layer_is_drawn_at_random(load: Callable[..., Any], lacking: Callable[..., Path], tiny_model: Callable[..., Any]) -> None:
    folder = lacking(*tiny_model("llama"), "model.layers.1.mlp")
    with pytest.raises(SubjectError, match=r"has no weights for all of a .*language model \(.* lacks model\.layers\.1\.mlp\.") as caught:
        load(str(folder), device="cpu")
    assert repr(str(folder)) in str(caught.value)
    assert "and 1 more" in str(caught.value)


def test_no_head_is_drawn_at_random(lacking: Callable[..., Path], tiny_model: Callable[..., Any]) -> None:
    folder = lacking(*tiny_model("llama", tie_word_embeddings=False), "lm_head")
    for load in (Subject.load, Engine.load):
        with pytest.raises(SubjectError, match=r"lacks lm_head\.weight\).*; choose one that was trained to write and saved whole"):
            load(str(folder), device="cpu")
    headless = TextModel.load(str(folder), device="cpu", dtype="float32")
    ids = headless.prompt("the river").ids
    output = headless.forward(torch.tensor([ids]))
    with pytest.raises(SubjectError, match="has no head for language"):
        headless.logits(output)
    whole, _ = tiny_model("llama", tie_word_embeddings=False)
    assert torch.equal(output.last_hidden_state, whole.model(input_ids=torch.tensor([ids])).last_hidden_state)


@pytest.mark.parametrize("load", LOADERS)
def test_a_head_that_is_tied_lacks_nothing(load: Callable[..., Any], tiny_model: Callable[..., Any], tmp_path: Path) -> None:
    model, tokenizer = tiny_model("llama", tie_word_embeddings=True)
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    assert not any(name.startswith("lm_head") for name in load_file(tmp_path / WEIGHTS))
    read = load(str(tmp_path), device="cpu", dtype="float32").model
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(read(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_an_encoder_is_asked_for_no_answer(
    family: str, lacking: Callable[..., Path], masked_model: Callable[..., Any], tmp_path: Path
) -> None:
    model, tokenizer = masked_model(family)
    model.eval()
    for part in (model, tokenizer, model.base_model):
        part.save_pretrained(tmp_path / ("body" if part is model.base_model else "whole"))
    tokenizer.save_pretrained(tmp_path / "body")
    for folder in (tmp_path / "whole", tmp_path / "body"):
        for load in (Subject.load, Engine.load):
            with pytest.raises(SubjectError, match=rf"{folder.name}' is an encoder \(\w+\), which continues no text"):
                load(str(folder), device="cpu")
    ids = torch.tensor([tokenizer("the river")["input_ids"]])
    assert TextModel.load(str(tmp_path / "whole"), device="cpu").logits(model(input_ids=ids)).shape[-1] == len(tokenizer)
    # What says that it has a head, and has none, is read without one.
    for folder in (tmp_path / "body", lacking(model, tokenizer, "cls." if family == "bert" else "lm_head.")):
        headless = TextModel.load(str(folder), device="cpu", dtype="float32")
        output = headless.forward(ids)
        assert torch.allclose(output.last_hidden_state, model.base_model(input_ids=ids).last_hidden_state, atol=1e-6)
        with pytest.raises(SubjectError, match="has no head for language"):
            headless.logits(output)
