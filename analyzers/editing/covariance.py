"""Second moments of the keys of an MLP: what goes into its down-projection, over any text. What an edit must not disturb.

Source: Meng et al. 2022 (ROME), equation 2 and appendix E.1.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from analyzers.hooks import on_input, removed
from analyzers.influence.passages import Passage
from analyzers.mlps import decoder_blocks
from analyzers.padding import like_lengths, padded
from analyzers.pass_folder import CHECKPOINT, alone, content_key, open_tensors, read_checkpoint, write_tensors
from analyzers.progress import Report, quiet
from analyzers.settings import settings
from analyzers.states.reading import bare_pass
from analyzers.text_model import TextModel

READING = "read keys"
RIDGE = 1e-3
"""Of the mean of the diagonal, added to it: of little text some directions have no key."""
KEEP_EVERY = 30.0
"""Seconds between notes of how far the reading is: as much is read again after it was killed."""
_FORMAT = 2


def key_covariances(
    model: TextModel, layers: Mapping[str, nn.Module], passages: Sequence[Passage], *, report: Report = quiet
) -> dict[str, Tensor]:
    """By layer float32 [input, input] mean of k kᵀ over the tokens of the passages but for what stands before every text.

    layers: linear layers by what they are called, which names them on disk, where they are kept for the next edit of the same model.
    The text is read once for all of them that are not there yet. Killed at any moment, the same call goes on where it was.
    """
    text = content_key([passage.ids for passage in passages])
    folder = settings().passes / "keys"
    told = {name: {"keys": _FORMAT, "model": dict(model.identity), "layer": name, "text": text} for name in layers}
    paths = {name: folder / f"{content_key(each)}.safetensors" for name, each in told.items()}
    missing = {name: layer for name, layer in layers.items() if not paths[name].exists()}
    if missing:
        # A folder of its own: what is read for some layers is no beginning of what is read for others, and nobody waits who reads those.
        making = folder / content_key([told[name] for name in sorted(missing)])
        with alone(making, report):
            if not all(paths[name].exists() for name in missing):
                for name, covariance in _covariances(model, missing, passages, making, report).items():
                    write_tensors(paths[name], {"covariance": covariance})
                (making / CHECKPOINT).unlink(missing_ok=True)
    found = {}
    for name, path in paths.items():
        with open_tensors(path) as file:
            found[name] = file.get_tensor("covariance").to(model.device)
    return found


def _covariances(
    model: TextModel, layers: Mapping[str, nn.Module], passages: Sequence[Passage], folder: Path, report: Report
) -> dict[str, Tensor]:
    """Sums and how many batches are in them are noted in the folder now and then."""
    first = decoder_blocks(model.model.base_model)[0]
    before = len(model.around[0])
    batches = list(like_lengths([len(passage.ids) for passage in passages]))
    kept = read_checkpoint(folder)
    totals, begun, tokens = ({}, 0, 0) if kept is None else (kept[0], int(kept[1]["batches"]), int(kept[1]["tokens"]))
    totals = {name: total.to(model.device) for name, total in totals.items()}
    noted = time.monotonic()
    for number in range(begun, len(batches)):
        report(READING, sum(map(len, batches[:number])), len(passages))
        ids, mask = padded([passages[place].ids for place in batches[number]])
        given: list[tuple[str, Tensor]] = []
        handles = [handle for name, layer in layers.items() for handle in on_input(layer, first, partial(_keep, given, name))]
        with torch.inference_mode(), removed(handles):
            bare_pass(model, ids, mask)
        mask[:, :before] = 0
        for name, entering in given:
            keys = entering[mask.bool().to(entering.device)].float()
            totals[name] = keys.T @ keys if name not in totals else totals[name] + keys.T @ keys
        tokens += int(mask.sum())
        if time.monotonic() - noted > KEEP_EVERY:
            write_tensors(folder / CHECKPOINT, _on_cpu(totals), {"batches": number + 1, "tokens": tokens})
            noted = time.monotonic()
    report(READING, len(passages), len(passages))
    return {name: total / tokens for name, total in _on_cpu(totals).items()}


def _keep(given: list[tuple[str, Tensor]], name: str, entering: Tensor) -> None:
    given.append((name, entering))


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.contiguous().cpu() for name, each in tensors.items()}


def against(covariance: Tensor, keys: Tensor) -> Tensor:
    """covariance^-1 keys [input, ...], the covariance held from below by a ridge."""
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), device=covariance.device)
    found: Tensor = torch.linalg.solve((covariance + ridge).double(), keys.double())
    return found.float()
