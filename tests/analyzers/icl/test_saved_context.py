"""A compressed context in a file, against the same one in memory and against the whole prompt with the rest masked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analyzers.attention.door import attending, blocked
from analyzers.errors import AssetError, SubjectError
from analyzers.icl.compression import anchors
from analyzers.icl.prompts import Template, icl_prompt
from analyzers.icl.saved_context import KIND, SavedContext
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]
Tensors = dict[str, torch.Tensor]
Note = dict[str, Any]

REVIEWS = Template("Review: {text}\nSentiment:{label}\n", ("Negative", "Positive", "Mixed"))
SHOWN = [("the river rises in the hills", 1), ("slowly through", 0), ("it reaches the harbour", 2)]
TEXTS = ["the bank", "north of the town and runs"]


def made(tiny: tuple[Any, Any], name: str = "tiny") -> TextModel:
    return TextModel(*tiny, name=name, identity={"revision": "1"})


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_answers_as_before_and_as_the_masked_prompt(
    family: str, dtype: torch.dtype, tiny_model: Tiny, tmp_path: Path
) -> None:
    model, tokenizer = tiny_model(family)
    read = made((model.to(dtype), tokenizer))
    saved = SavedContext.of(read, REVIEWS, SHOWN)
    path = tmp_path / "context.safetensors"
    saved.save(path)
    loaded = SavedContext.load(path, read)
    assert (loaded.text, loaded.template, loaded.model) == (saved.text, REVIEWS, read.identity)
    found = loaded.logits(read, TEXTS)
    assert torch.equal(found, saved.logits(read, TEXTS))
    answered = loaded.answer(read, TEXTS)
    assert torch.allclose(answered.sum(1), torch.ones(2))
    for row, chances, text in zip(found, answered, TEXTS, strict=True):
        prompt = icl_prompt(read, REVIEWS, SHOWN, text)
        at = torch.zeros(len(prompt), len(prompt), dtype=torch.bool)
        at[prompt.query.start :, [place for place in range(prompt.query.start) if place not in anchors(prompt)]] = True
        mask = blocked(at, dtype)
        with torch.no_grad(), attending(read.model, masked=lambda _layer, mask=mask: mask):  # type: ignore[misc]
            expected = read.forward(torch.tensor([prompt.ids])).logits[0, -1].float()
        tolerance = 1e-4 if dtype == torch.float32 else 0.1
        assert torch.allclose(row, expected, atol=tolerance)
        assert torch.allclose(chances, expected[list(prompt.class_tokens)].softmax(0), atol=tolerance)


def test_another_model_is_refused(tiny_model: Tiny, tmp_path: Path) -> None:
    saved = SavedContext.of(made(tiny_model("llama")), REVIEWS, SHOWN)
    saved.save(tmp_path / "context.safetensors")
    with pytest.raises(SubjectError, match="was read by tiny, 1, float32 and cannot be used with other"):
        saved.answer(made(tiny_model("llama"), "other"), TEXTS)
    with pytest.raises(SubjectError, match="was read by tiny, 1, float32 and cannot be used with other"):
        SavedContext.load(tmp_path / "context.safetensors", made(tiny_model("llama"), "other"))


def check_beside_the_whole(model: TextModel, template: Template, shown: list[tuple[str, int]], path: Path) -> None:
    """By themselves the demonstrations are read otherwise than before a query; what is saved of them answers as the masked prompt."""
    saved = SavedContext.of(model, template, shown)
    saved.save(path)
    loaded = SavedContext.load(path, model)
    for text in TEXTS:
        prompt = icl_prompt(model, template, shown, text)
        assert (*model.tokens.start, *model.tokens.encode(saved.text)) != prompt.ids[: prompt.query.start]
        at = torch.zeros(len(prompt), len(prompt), dtype=torch.bool)
        at[prompt.query.start :, [place for place in range(prompt.query.start) if place not in anchors(prompt)]] = True
        mask = blocked(at, torch.float32)
        with torch.no_grad(), attending(model.model, masked=lambda _layer, mask=mask: mask):  # type: ignore[misc]
            expected = model.forward(torch.tensor([prompt.ids])).logits[0, -1].float()
        assert torch.allclose(loaded.logits(model, [text])[0], expected, atol=1e-3)


def test_a_template_whose_end_merges_with_the_query_is_saved(tiny_model: Tiny, tmp_path: Path) -> None:
    # The last space is of the token of the query's first word.
    form = Template("{text} is the:{label} ", ("Negative", "Positive"))
    check_beside_the_whole(made(tiny_model("llama")), form, [("it", 0), ("a", 1)], tmp_path / "context.safetensors")


@pytest.mark.slow
def test_a_template_that_ends_with_an_empty_line_is_saved_of_a_real_model(tmp_path: Path) -> None:
    # Two line breaks are one token at the end of a text, and two before a word.
    model = TextModel.load("smollm2-135m", device="cpu", dtype="float32")
    form = Template("Review: {text}\nSentiment: {label}\n\n", ("negative", "positive"))
    check_beside_the_whole(model, form, [("I liked it.", 1), ("It was dull.", 0)], tmp_path / "context.safetensors")


def test_a_query_that_changes_how_the_demonstrations_are_read_is_refused(tiny_model: Tiny) -> None:
    model = made(tiny_model("llama"))
    saved = SavedContext.of(model, Template("{text} is the:{label} t", ("Negative", "Positive")), [("it", 0), ("a", 1)])
    saved.logits(model, ["it"])
    with pytest.raises(SubjectError, match=r"with 'he bank is the:' behind them; end the template with one line break"):
        saved.logits(model, ["it", "he bank"])  # with " t" before it that is one token, " the"


@pytest.mark.parametrize("content", [b"", b"no tensors at all", None])
def test_a_file_that_is_no_context_is_refused(content: bytes | None, tiny_model: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    if content is None:
        save_file({"keys.0": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(AssetError, match="is no context that was saved"):
        SavedContext.load(path, made(tiny_model("llama")))


def told(**changes: Any) -> Callable[[Tensors, Note], object]:
    return lambda _tensors, note: note.update(changes)


def with_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors, Note], object]:
    return lambda tensors, _note: tensors.update({name: change(tensors[name]).contiguous()})


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (told(format="1"), "format"),
        (told(format=2), "has format 2, and this version reads 1"),
        (told(length="40"), "length"),
        (told(length=10**30), "length|positions|text"),
        (told(length=3), "positions are not ascending ones, up to the last, of a context of 3 tokens"),
        (told(length=4000), "not ascending ones, up to the last, of a context of 4000 tokens"),
        (told(text=None), "text"),
        (told(text="another one"), "tokens are not those of its text"),
        (told(labels="Positive"), "labels"),
        (told(labels=["Positive"]), "at least two labels"),
        (told(form="no places"), "needs {text} once"),
        (told(model={"name": 1}), "model"),
        (told(model=None), "model"),
        (told(surplus=1), "surplus"),
        (lambda tensors, _note: tensors.pop("keys.2"), "not those of 3 layers"),
        (lambda tensors, _note: tensors.update({"keys.3": torch.zeros(1)}), "not those of 3 layers"),
        (lambda tensors, _note: tensors.pop("ids"), "not those of 3 layers"),
        (with_tensor("ids", lambda ids: ids[1:]), "not as many whole numbers"),
        (with_tensor("ids", lambda ids: ids + 1), "tokens are not those of its text"),
        (with_tensor("ids", lambda ids: ids.float()), "not as many whole numbers"),
        (with_tensor("positions", lambda places: places[None]), "not as many whole numbers"),
        (with_tensor("positions", lambda places: places.flip(0)), "not ascending"),
        (with_tensor("positions", lambda places: places - 1), "not ascending"),
        (with_tensor("keys.1", lambda keys: keys[:, 1:]), "keys of layer 1 are not"),
        (with_tensor("values.1", lambda values: values[:1]), "values of layer 1 are not"),
        (with_tensor("values.0", lambda values: values[..., 1:]), "values of layer 0 are not"),
        (with_tensor("keys.0", lambda keys: keys[0]), "keys of layer 0 are not"),
        (with_tensor("keys.0", lambda keys: keys.double()), "keys of layer 0 are not"),
        (with_tensor("keys.0", lambda keys: keys / 0), "keys of layer 0 are not"),
    ],
)
def test_a_file_that_was_changed_is_refused(damage: Callable[[Tensors, Note], object], why: str, tiny_model: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model, path = made(tiny_model("llama")), tmp_path / "context.safetensors"
    saved = SavedContext.of(model, REVIEWS, SHOWN)
    saved.save(path)
    tensors = load_file(path)
    note: Note = {
        "format": 1,
        "model": model.identity,
        "length": saved.context.length,
        "form": REVIEWS.form,
        "labels": list(REVIEWS.labels),
        "text": saved.text,
    }
    save_file(tensors, path, {"note": json.dumps({KIND: note})})
    assert torch.equal(SavedContext.load(path, model).logits(model, TEXTS), saved.logits(model, TEXTS))
    damage(tensors, note)
    save_file(tensors, path, {"note": json.dumps({KIND: note})})
    with pytest.raises(AssetError, match=why) as error:
        SavedContext.load(path, model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "note", ["", "[]", "null", '"text"', "{", f'{{"{KIND}": []}}', "[" * 200_000, f'{{"{KIND}": ' * 100_000, '{"\\ud800": 1}']
)
def test_a_note_that_is_none_is_refused(note: str, tiny_model: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "context.safetensors"
    save_file({"ids": torch.zeros(1)}, path, {"note": note})
    with pytest.raises(AssetError, match="is no context that was saved"):
        SavedContext.load(path, made(tiny_model("llama")))
