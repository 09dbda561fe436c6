"""Hidden states: equal to what a plain forward pass gives, whatever the batch, the pool, the family, and however often it was killed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.errors import SubjectError
from analyzers.states import reading
from analyzers.states.pieces import Piece, Pool
from analyzers.states.reading import random_init, read_states
from analyzers.states.store import States, layer_file
from analyzers.text_model import TextModel

FAMILIES = ("llama", "gpt2", "gpt_neox", "opt", "gemma2", "bert", "roberta", "albert", "distilbert")
TEXTS = ("the cat sat on the mat", "a dog", "one two three four five six seven", "the end")


@pytest.fixture(autouse=True)
def _own_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path / "passes"))


@pytest.fixture
def load(tiny_checkpoint: Callable[[str], Path]) -> Callable[..., TextModel]:
    return lambda family, dtype="float32": TextModel.load(str(tiny_checkpoint(family)), dtype=dtype)


def words(text: str) -> Piece:
    """A span for every word."""
    ends = np.cumsum([len(word) + 1 for word in text.split(" ")])
    return Piece(text, tuple((int(end) - len(word) - 1, int(end) - 1) for end, word in zip(ends, text.split(" "), strict=True)))


def naive(model: TextModel, piece: Piece, pool: Pool) -> np.ndarray[Any, Any]:
    """[span, layer, width] by transformers' own hidden states, text by text; the last one is normalised and left out."""
    prompt = model.prompt(piece.text)
    begins = [model.tokenizer.bos_token_id] if model.causal and prompt.spans[0] is not None else []
    with torch.no_grad():
        out = model.model.base_model(torch.tensor([[*begins, *prompt.ids]]), output_hidden_states=True)
    hidden = torch.stack(out.hidden_states)[:, 0, len(begins) :].float().numpy()
    rows = []
    for start, end in piece.spans:
        at = [place for place, span in enumerate(prompt.spans) if span is not None and any(start <= c < end for c in range(*span))]
        chosen = {"mean": at, "first": [at[0]], "last": [at[-1]], "start": [0]}[pool]
        rows.append(hidden[:, chosen].mean(1))
    return np.stack(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_a_plain_pass(family: str, load: Callable[..., TextModel]) -> None:
    model = load(family)
    pieces = [words(text) for text in TEXTS]
    found = read_states(model, pieces)
    wanted = np.concatenate([naive(model, piece, "mean") for piece in pieces])
    assert found.layers == tuple(range(model.layers + 1))
    assert found.left_out == 0
    assert found.rows.tolist() == list(range(len(wanted)))
    # Of an encoder, which normalises within its blocks, the last one is the block's own, too.
    for layer in range(model.layers + (0 if model.causal else 1)):
        np.testing.assert_allclose(found.layer(layer), wanted[:, layer], atol=2e-5)
    if model.causal and family != "opt":
        assert not np.allclose(found.layer(model.layers), wanted[:, -1], atol=1e-3)


@pytest.mark.parametrize(("family", "pool"), [("gpt2", "first"), ("gpt2", "last"), ("bert", "last"), ("bert", "start")])
def test_pools(family: str, pool: Pool, load: Callable[..., TextModel]) -> None:
    model = load(family)
    pieces = [words(text) for text in TEXTS]
    wanted = np.concatenate([naive(model, piece, pool) for piece in pieces])
    np.testing.assert_allclose(read_states(model, pieces, pool=pool).layer(1), wanted[:, 1], atol=2e-5)


def test_the_last_layer_is_not_normalised(load: Callable[..., TextModel]) -> None:
    model = load("gpt2")
    piece = Piece.whole(TEXTS[0])
    last = read_states(model, [piece], pool="last", layers=[model.layers]).layer(model.layers)
    normed = model.model.transformer.ln_f(torch.from_numpy(last))
    np.testing.assert_allclose(normed.detach().numpy()[0], naive(model, piece, "last")[0, -1], atol=2e-5)


def test_bfloat16_states_are_kept_exactly(load: Callable[..., TextModel]) -> None:
    model = load("llama", "bfloat16")
    piece = words(TEXTS[0])
    found = read_states(model, [piece], pool="last")
    np.testing.assert_array_equal(found.layer(1), naive(model, piece, "last")[:, 1])


def test_a_second_reading_runs_no_pass(load: Callable[..., TextModel], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("gpt2")
    pieces = [words(text) for text in TEXTS]
    first = read_states(model, pieces)
    monkeypatch.setattr(reading, "_batch", lambda *_: pytest.fail("read again"))
    again = read_states(model, pieces)
    assert again.folder == first.folder
    np.testing.assert_array_equal(again.layer(2), first.layer(2))


def test_killed_at_any_batch_it_goes_on_and_ends_with_the_same_states(
    load: Callable[..., TextModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = load("gpt2")
    pieces = [words(text) for text in TEXTS * 3]
    monkeypatch.setattr(reading, "like_lengths", lambda lengths: ([at] for at in range(len(lengths))))
    monkeypatch.setattr(reading, "KEEP_EVERY", 0.0)
    whole = read_states(model, pieces)
    monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path / "others"))
    real = reading._batch
    calls: list[int] = []

    class KilledError(Exception):
        pass

    def dies(*given: Any) -> Any:
        calls.append(1)
        if len(calls) in (2, 6, 7):
            raise KilledError
        return real(*given)

    monkeypatch.setattr(reading, "_batch", dies)
    for _ in range(3):
        with pytest.raises(KilledError):
            read_states(model, pieces)
        (folder,) = (tmp_path / "others" / "states").iterdir()
        with layer_file(folder, 0).open("ab") as file:
            file.write(b"half a row")  # what was written after the last note
    again = read_states(model, pieces)
    assert len(calls) == len(pieces) + 3, "nothing that was noted is read again"
    assert again.rows.tolist() == whole.rows.tolist()
    for layer in whole.layers:
        np.testing.assert_array_equal(again.layer(layer), whole.layer(layer))


def test_a_file_that_was_lost_is_read_again_from_the_start(
    load: Callable[..., TextModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = load("gpt2")
    pieces = [words(text) for text in TEXTS]
    whole = read_states(model, pieces)
    monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path / "others"))
    monkeypatch.setattr(reading, "like_lengths", lambda lengths: ([at] for at in range(len(lengths))))
    monkeypatch.setattr(reading, "KEEP_EVERY", 0.0)
    real, calls = reading._batch, iter(range(3))

    def dies(*given: Any) -> Any:
        next(calls)
        return real(*given)

    monkeypatch.setattr(reading, "_batch", dies)
    with pytest.raises(StopIteration):
        read_states(model, pieces)
    monkeypatch.setattr(reading, "_batch", real)
    (folder,) = (tmp_path / "others" / "states").iterdir()
    layer_file(folder, 1).unlink()
    np.testing.assert_allclose(read_states(model, pieces).layer(1), whole.layer(1), atol=2e-5)


def test_what_cannot_be_read_is_left_out_and_counted(load: Callable[..., TextModel]) -> None:
    model = load("bert")
    assert model.limit is not None
    long = "the cat " * model.limit
    found = read_states(model, [words("a dog"), Piece(long, ((0, 3), (4, 7))), Piece("the end", ((0, 3), (3, 3)))])
    assert found.rows.tolist() == [0, 1, 4]
    assert found.left_out == 3
    with pytest.raises(SubjectError, match="no text can be read"):
        read_states(model, [Piece.whole(long)])


def test_refusals(load: Callable[..., TextModel]) -> None:
    model = load("gpt2")
    with pytest.raises(SubjectError, match=f"has 0-{model.layers}, of which 0"):
        read_states(model, [Piece.whole("a")], layers=[model.layers + 1])
    with pytest.raises(SubjectError, match="is a decoder"):
        read_states(model, [Piece.whole("a")], pool="start")
    with pytest.raises(ValueError, match="layer 0 was not read"):
        read_states(model, [Piece.whole("a")], layers=[1]).layer(0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("strange", [float("nan"), float("inf"), float("-inf")])
def test_states_that_are_no_numbers_are_refused(dtype: str, strange: float, load: Callable[..., TextModel]) -> None:
    model = load("gpt2", dtype)
    assert read_states(model, [Piece.whole("a b")]).left_out == 0
    with torch.no_grad():
        model.model.transformer.h[0].mlp.c_proj.bias[3] = strange
    with pytest.raises(SubjectError, match="states of layer 1 are not finite"):
        read_states(model, [Piece.whole("b")])


def test_every_step_tells_how_far_it_is(load: Callable[..., TextModel]) -> None:
    told: list[tuple[str, int, int]] = []
    read_states(load("gpt2"), [words(text) for text in TEXTS], report=lambda *step: told.append(step))
    assert [step for step in told if step[0] == reading.TOKENISING] == [(reading.TOKENISING, done, 4) for done in range(5)]
    assert told[-1] == (reading.READING, 17, 17)


def test_fresh_weights_are_another_model(load: Callable[..., TextModel]) -> None:
    model = load("bert")
    one, two, other = (random_init(model, seed) for seed in (1, 1, 2))
    states = [read_states(each, [words(TEXTS[0])]).layer(1) for each in (model, one, two, other)]
    np.testing.assert_array_equal(states[1], states[2])
    assert not np.allclose(states[0], states[1])
    assert not np.allclose(states[1], states[3])
    assert one.identity["weights"] == "random, seed 1"


def test_a_damaged_folder_is_told(load: Callable[..., TextModel]) -> None:
    from analyzers.errors import RunFolderError

    found = read_states(load("gpt2"), [words(TEXTS[0])])
    layer_file(found.folder, 1).write_bytes(b"x")
    layer_file(found.folder, 2).unlink()
    for layer in (1, 2):
        with pytest.raises(RunFolderError, match="damaged"):
            found.layer(layer)
    (found.folder / "rows.npy").unlink()
    with pytest.raises(RunFolderError, match="damaged"):
        States.open(found.folder)
    info = json.loads((found.folder / "states.json").read_text())
    (found.folder / "states.json").write_text(json.dumps({**info, "format": 0}))
    with pytest.raises(RunFolderError, match="another version"):
        States.open(found.folder)
