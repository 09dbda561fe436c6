"""Files with a note of their kind: what is written is read, others are refused with the reason, and damage is never more than that."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from analyzers.errors import AssetError, SubjectError
from analyzers.noted_file import Note, NotedFile, check_model


class Recipe(Note):
    words: tuple[str, ...]
    share: float


KIND = NotedFile("a-recipe", Recipe, 2, "recipe of ours", "cook anew")
OTHER = NotedFile("a-score", Recipe, 2, "score", "play anew")
NOTE = Recipe(format=2, model={"name": "m"}, words=("a", "\u202e{text}"), share=0.25)
TENSORS = {"one": torch.arange(6.0).reshape(2, 3), "two": torch.tensor([4, 5])}


def test_what_is_written_is_read_and_only_by_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "recipe.safetensors"
    KIND.write(path, TENSORS, NOTE)
    note, tensors = KIND.read(path)
    assert note == NOTE
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], each) for name, each in TENSORS.items())
    KIND.check(path)
    assert KIND.is_at(path)
    assert not OTHER.is_at(path)
    for refuse in (OTHER.read, OTHER.check):
        with pytest.raises(AssetError, match=r"is no score \(it has no note 'a-score'\); save one with --save"):
            refuse(path)
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["note"]) == {"a-recipe": json.loads(NOTE.model_dump_json())}


def test_another_version_is_one_of_the_kind_that_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.safetensors"
    save_file(TENSORS, path, {"note": json.dumps({"a-recipe": {"format": 3, "whatever": None}})})
    assert KIND.is_at(path)
    for refuse in (KIND.read, KIND.check):
        with pytest.raises(AssetError, match="has format 3, and this version reads 2; cook anew"):
            refuse(path)


@pytest.mark.parametrize(
    "change", [{"words": "a"}, {"share": "0.25"}, {"share": float("nan")}, {"more": 1}, {"model": ["m"]}, {"format": 2.5}, {"format": True}]
)
def test_a_field_that_is_wrong_is_refused_in_one_line(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "recipe.safetensors"
    save_file(TENSORS, path, {"note": json.dumps({"a-recipe": {**json.loads(NOTE.model_dump_json()), **change}})})
    with pytest.raises(AssetError, match=rf"is no recipe of ours \(.*{next(iter(change))}") as error:
        KIND.read(path)
    assert "\n" not in str(error.value)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.sampled_from(["[" * 100_000, '{"a-recipe": ' * 100_000, '{"\\ud800": 1}', '{"a-recipe": {"format": 1' + "0" * 5000 + "}}"]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a-recipe", "format", "x"]), inner, max_size=2),
        ).map(json.dumps),
    )
)
def test_whatever_the_note_is_it_is_refused_and_breaks_nothing(tmp_path: Path, note: str) -> None:
    path = tmp_path / "recipe.safetensors"
    save_file(TENSORS, path, {"note": note})
    assert not KIND.is_at(path)
    for refuse in (KIND.read, KIND.check):
        with pytest.raises(AssetError, match="is no recipe of ours"):
            refuse(path)


@pytest.mark.parametrize("content", [None, b"", b"no tensors", b"\xff" * 100])
def test_what_is_no_file_of_tensors_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "recipe.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert not KIND.is_at(path)
    with pytest.raises(AssetError, match="is no recipe of ours"):
        KIND.read(path)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", "utf-8")
    with pytest.raises(AssetError, match=r"'.*recipe.safetensors' cannot be written \(Not a directory\); make room, or name another file"):
        KIND.write(tmp_path / "file" / "recipe.safetensors", TENSORS, NOTE)


def test_another_model_is_named_in_the_order_of_the_one_at_hand() -> None:
    check_model({"dtype": "float32", "name": "m"}, {"name": "m", "dtype": "float32"}, "it was cooked by", "cook anew")
    told = "it was cooked by m, float16, x and cannot be used with m, float32; load that model, or cook anew"
    with pytest.raises(SubjectError, match=f"^{told}$"):
        check_model({"more": "x", "dtype": "float16", "name": "m"}, {"name": "m", "dtype": "float32"}, "it was cooked by", "cook anew")


def test_a_hash_is_told_by_its_beginning() -> None:
    with pytest.raises(SubjectError, match=r"^made by m, a{12}… and cannot be used with m, b{12}…; load that model, or anew$"):
        check_model({"name": "m", "revision": "a" * 64}, {"name": "m", "revision": "b" * 64}, "made by", "anew")
