"""What is told of compressed demonstrations when they are saved, against whole passes and what their file answers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from analyzers.icl.prompts import Template, icl_prompt
from analyzers.text_model import TextModel
from evals.icl.config import IclConfig
from evals.icl.saving import answer_from, save_context
from evals.results import Failure, Value

FORM = "T: {text}\nA:{label}\n"
LABELS = ("red", "blue")
WORDS = ("river", "hills", "north", "town", "bank", "runs", "slowly", "it")


def config(folder: Path, model: Path, texts: dict[str, str]) -> IclConfig:
    task, rows = folder / "mine.toml", [json.dumps({"text": text, "gold": label}) for text, label in texts.items()]
    (folder / "items.jsonl").write_text("\n".join(rows), "utf-8")
    task.write_text(f'template = {json.dumps(FORM)}\nlabels = {list(LABELS)}\nitems = "items.jsonl"\n', "utf-8")
    return IclConfig(str(model), str(task), dtype="float32", device="cpu")


def test_loyalty_is_that_of_all_items_that_are_not_shown(tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    texts = {f"{word} {number}": LABELS[number % 2] for number, word in enumerate(WORDS)}
    asked_for, path = config(tmp_path, tiny_checkpoint("llama"), texts), tmp_path / "context.safetensors"
    saved = save_context(asked_for, path)
    left = [text for text in texts if text not in saved.shown]
    assert (len(saved.shown), len(left)) == (2, 6)
    model = TextModel.load(asked_for.model, dtype="float32", device="cpu")
    shown = [(text, LABELS.index(texts[text])) for text in saved.shown]
    same = []
    for text, answer in zip(left, answer_from(asked_for.model, path, left, dtype="float32", device="cpu").answers, strict=True):
        prompt = icl_prompt(model, Template(FORM, LABELS), shown, text)
        with torch.no_grad():
            logits = model.forward(torch.tensor([prompt.ids])).logits[0, -1, list(prompt.class_tokens)]
        same.append(LABELS[int(logits.argmax())] == answer.label)
    assert isinstance(saved.label_loyalty, Value)
    assert (saved.label_loyalty.value, saved.label_loyalty.n) == (np.mean(same), 6)
    for seconds in (saved.seconds_whole, saved.seconds_kept):
        assert isinstance(seconds, Value)
        assert 0 < seconds.low <= seconds.value <= seconds.high
        assert seconds.n == 6


def test_an_item_that_cannot_be_read_leaves_the_file_and_says_so(
    tiny_checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"it": "red", "a": "blue", "river " * 5000: "red"}
    monkeypatch.setattr("evals.icl.saving.demonstrations", lambda items, *_, **__: items[:2])
    path = tmp_path / "context.safetensors"
    saved = save_context(config(tmp_path, tiny_checkpoint("llama"), texts), path)
    assert path.is_file()
    for figure in (saved.label_loyalty, saved.seconds_whole, saved.seconds_kept):
        assert isinstance(figure, Failure)
        assert "tokens" in figure.reason
