"""Reads hidden states of every layer in one pass over texts, streamed to disk: in memory are the tokens of all texts and the states of
one batch.

States are taken by hooks from the blocks themselves: the last of transformers' `hidden_states` is normalised in most models.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.fresh_weights import fresh_weights
from analyzers.hooks import on_input, on_output, removed
from analyzers.loading import dtype_name
from analyzers.mlps import decoder_blocks
from analyzers.padding import like_lengths, padded
from analyzers.pass_folder import FORMAT, alone, content_key
from analyzers.progress import Report, quiet
from analyzers.settings import settings
from analyzers.states.pieces import POOLS, Piece, Pool, fingerprint
from analyzers.states.store import ROWS, STATES, States, layer_file, write_info
from analyzers.text_model import TextModel
from analyzers.whole_files import replaced

TOKENISING = "split texts into tokens"
READING = "read states"
KEEP_EVERY = 5.0
"""Seconds between notes of how far the reading is: as much is read again after it was killed."""
READING_VERSION = 2
"""Of what is read, so that states that were read otherwise are not taken for these."""
_DONE = "done.json"

Wanted = tuple[tuple[int, ...], tuple[tuple[int, tuple[int, ...]], ...]]
"""Of one piece the token ids, and (number, places of tokens) of each span."""


def read_states(
    model: TextModel, pieces: Sequence[Piece], *, pool: Pool = "mean", layers: Sequence[int] | None = None, report: Report = quiet
) -> States:
    """The states of all spans of the pieces at the given layers, by default all; opened where that was done before.

    A token belongs to a span if it covers one of its characters. A decoder reads every text behind its BOS, or else its EOS. Killed at
    any moment, the same call goes on where it was and ends with the same states. Raises SubjectError for a model whose blocks cannot be
    read, for a layer that it does not have, for states that are no numbers, for a decoder with the pool `start`, and where no span can
    be read; RunFolderError where the folder cannot be written.
    """
    wanted_layers = tuple(range(model.layers + 1)) if layers is None else tuple(sorted(set(layers)))
    check_layers(model, wanted_layers)
    if pool not in POOLS:
        raise SubjectError(f"no pool is called {pool!r}; choose one of {', '.join(POOLS)}")
    if pool == "start" and model.causal:
        raise SubjectError(f"{model.name!r} is a decoder, whose first token sees nothing of the text; choose the pool mean or last")
    configuration = {
        "format": FORMAT,
        "reading": READING_VERSION,
        "model": dict(model.identity),
        "pieces": fingerprint(pieces),
        "spans": sum(len(piece.spans) for piece in pieces),
        "pool": pool,
        "layers": list(wanted_layers),
    }
    folder = settings().passes / "states" / content_key(configuration)
    with alone(folder, report):
        if not (folder / STATES).exists():
            found = []
            for done, each in enumerate(wanted(model, pieces, pool)):
                report(TOKENISING, done, len(pieces))
                found.append(each)
            report(TOKENISING, len(pieces), len(pieces))
            if not any(spans for _, spans in found):
                raise SubjectError(f"no text can be read: {model.name} takes {model.limit} tokens; give shorter texts")
            width = _stream(model, found, wanted_layers, folder, report)
            write_info(folder, {**configuration, "width": width, "dtype": dtype_name(model.dtype)})
            (folder / _DONE).unlink(missing_ok=True)
    return States.open(folder)


def check_layers(model: TextModel, layers: Sequence[int]) -> None:
    """Raise SubjectError for a layer that the model does not have, and for none."""
    if not layers or not all(0 <= layer <= model.layers for layer in layers):
        told = ", ".join(map(str, layers)) or "none"
        raise SubjectError(f"layers {told}: {model.name} has 0-{model.layers}, of which 0 is what enters its first block")


def random_init(model: TextModel, seed: int) -> TextModel:
    """A model of the same configuration with fresh weights: the control that has learnt nothing."""
    known = {key: value for key, value in model.identity.items() if key in ("source", "revision")}
    return TextModel(
        fresh_weights(model.model, seed),
        model.tokenizer,
        name=f"{model.name} (random weights)",
        identity={**known, "weights": f"random, seed {seed}"},
    )


def wanted(model: TextModel, pieces: Sequence[Piece], pool: Pool) -> Iterator[Wanted]:
    """Of each piece what is read of it, a decoder's behind its BOS, or else its EOS; nothing where it is longer than the model takes."""
    number = 0
    for piece in pieces:
        first, number = number, number + len(piece.spans)
        prompt = model.begun(piece.text)
        if model.limit is not None and len(prompt) > model.limit:
            yield (), ()
            continue
        spans = []
        for place, span in enumerate(piece.spans, first):
            covering = prompt.covering(span)
            if covering:
                spans.append((place, tuple({"mean": covering, "first": covering[:1], "last": covering[-1:], "start": [0]}[pool])))
        yield prompt.ids, tuple(spans)


def _stream(model: TextModel, wanted: Sequence[Wanted], layers: Sequence[int], folder: Path, report: Report) -> int:
    """Write the files of all layers; the width of a state."""
    numbers = [number for number, (_, spans) in enumerate(wanted) if spans]
    batches = [[numbers[at] for at in batch] for batch in like_lengths([len(wanted[number][0]) for number in numbers])]
    rows = [np.array([place for number in batch for place, _ in wanted[number][1]]) for batch in batches]
    width: int = model.model.config.get_text_config().hidden_size
    done = _resume(folder, layers, [len(each) for each in rows], width * model.dtype.itemsize)
    total = sum(map(len, rows))
    before = sum(map(len, rows[:done]))
    noted = time.monotonic()
    with ExitStack() as files:
        written = {layer: files.enter_context(layer_file(folder, layer).open("ab")) for layer in layers}
        for number in range(done, len(batches)):
            found = _batch(model, [wanted[at] for at in batches[number]], layers)
            for layer, states in found.items():
                if not _finite(states):
                    raise SubjectError(
                        f"{model.name!r}: states of layer {layer} are not finite in {model.identity['dtype']!r}; load it with dtype float32"
                    )
                written[layer].write(_bytes(states))
            before += len(rows[number])
            report(READING, before, total)
            if time.monotonic() - noted > KEEP_EVERY:
                _note(folder, number + 1, written.values())
                noted = time.monotonic()
        _sync(written.values())
    with replaced(folder / ROWS) as temporary, temporary.open("wb") as file:
        np.save(file, np.concatenate(rows).astype(np.int64))
    return width


@torch.inference_mode()
def _batch(model: TextModel, wanted: Sequence[Wanted], layers: Sequence[int]) -> dict[int, Tensor]:
    """By layer [row, width] in the model's number format."""
    ids, mask = padded([list(ids) for ids, _ in wanted])
    places = [(text, at, row) for row, (text, tokens) in enumerate(_rows(wanted)) for at in tokens]
    text, token, row = torch.tensor(places, device=model.device).T
    counts = torch.bincount(row)[:, None]
    found: dict[int, Tensor] = {}

    def keep(layer: int, hidden: Tensor) -> None:
        if layer in layers:
            pooled = torch.zeros(len(counts), hidden.shape[-1], device=hidden.device).index_add_(0, row, hidden[text, token].float())
            found[layer] = (pooled / counts).to(model.dtype).cpu()

    with reading_layers(model, keep):
        bare_pass(model, ids, mask)
    return found


@torch.inference_mode()
def bare_pass(model: TextModel, ids: Tensor, mask: Tensor) -> None:
    """A forward pass without the head for language, which is the largest matrix of a small model; ids, mask [text, pos]."""
    cache = {"use_cache": False} if model.causal else {}
    model.model.base_model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), **cache)


def _rows(wanted: Sequence[Wanted]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Of each span of the texts of a batch its text's number and its tokens."""
    for number, (_, spans) in enumerate(wanted):
        for _, tokens in spans:
            yield number, tokens


@contextmanager
def reading_layers(model: TextModel, keep: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Within the context keep(layer, [text, pos, width]) sees every layer of every forward pass, layer 0 included.

    Raises SubjectError for a model without a list of alike blocks, and after a pass in which its blocks ran more or less often than it
    has layers.
    """
    blocks = list(dict.fromkeys(decoder_blocks(model.model.base_model)))  # some families run one block again and again
    ran = [0]

    def enters(hidden: Tensor) -> None:
        if ran[0] % model.layers == 0:
            keep(0, hidden)

    def leaves(hidden: Tensor) -> None:
        ran[0] += 1
        keep((ran[0] - 1) % model.layers + 1, hidden)

    handles = on_input(blocks[0], blocks[0], enters)
    for block in blocks:
        handles += on_output(block, blocks[0], leaves)
    with removed(handles):
        yield
    if ran[0] % model.layers:
        raise SubjectError(
            f"{model.name!r} ran {ran[0]} blocks where it has {model.layers} layers, so that its states cannot be told apart; choose "
            "a model that is one stack of blocks"
        )


def _finite(states: Tensor) -> bool:
    """Whether all are numbers: of their extremes, which are neither where one of them is not, in a tenth of the time of asking each."""
    return all(bool(extreme.isfinite()) for extreme in states.aminmax())


def _bytes(states: Tensor) -> bytes:
    plain = states.contiguous()
    return (plain.view(torch.uint16) if plain.dtype == torch.bfloat16 else plain).numpy().tobytes()


def _resume(folder: Path, layers: Sequence[int], rows: Sequence[int], row_bytes: int) -> int:
    """Batches that are whole on disk; what a killed reading wrote behind them is cut off."""
    note = folder / _DONE
    done = int(json.loads(note.read_text())["batches"]) if note.is_file() else 0
    paths = [layer_file(folder, layer) for layer in layers]
    for path in paths:
        path.touch()
    if min(path.stat().st_size for path in paths) < sum(rows[:done]) * row_bytes:  # one was removed or cut off
        done = 0
    for path in paths:
        os.truncate(path, sum(rows[:done]) * row_bytes)
    return done


def _note(folder: Path, batches: int, files: Iterable[IO[bytes]]) -> None:
    for file in files:
        file.flush()  # that outlives this process; should the machine stop, what is too short is read again
    with replaced(folder / _DONE) as temporary:
        temporary.write_text(json.dumps({"batches": batches}))


def _sync(files: Iterable[IO[bytes]]) -> None:
    for file in files:
        file.flush()
        os.fsync(file.fileno())
