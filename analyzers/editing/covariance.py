"""Second moments of the keys of an MLP: what goes into its down-projection, over any text. What an edit must not disturb.

Source: Meng et al. 2022 (ROME), equation 2 and appendix E.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from analyzers.hooks import on_input, removed
from analyzers.influence.passages import Passage
from analyzers.mlps import decoder_blocks
from analyzers.padding import like_lengths, padded
from analyzers.pass_folder import alone, content_key, open_tensors, write_tensors
from analyzers.progress import Report, quiet
from analyzers.settings import settings
from analyzers.states.reading import bare_pass
from analyzers.text_model import TextModel

READING = "read keys"
RIDGE = 1e-3
"""Of the mean of the diagonal, added to it: of little text some directions have no key."""


def key_covariance(model: TextModel, layer: nn.Module, name: str, passages: Sequence[Passage], *, report: Report = quiet) -> Tensor:
    """float32 [input, input] mean of k kᵀ over the tokens of the passages but for what stands before every text.

    layer: a linear layer; name: what it is called, which names it on disk, where it is kept for the next edit of the same model.
    """
    told = {"keys": 1, "model": dict(model.identity), "layer": name, "text": content_key([passage.ids for passage in passages])}
    folder = settings().passes / "keys"
    path = folder / f"{content_key(told)}.safetensors"
    with alone(folder, report):
        if not path.exists():
            write_tensors(path, {"covariance": _covariance(model, layer, passages, report)})
    with open_tensors(path) as file:
        found: Tensor = file.get_tensor("covariance")
    return found.to(model.device)


def _covariance(model: TextModel, layer: nn.Module, passages: Sequence[Passage], report: Report) -> Tensor:
    first = decoder_blocks(model.model.base_model)[0]
    before = len(model.around[0])
    total: Tensor | None = None
    tokens = done = 0
    for batch in like_lengths([len(passage.ids) for passage in passages]):
        report(READING, done, len(passages))
        ids, mask = padded([passages[number].ids for number in batch])
        kept: list[Tensor] = []
        with removed(on_input(layer, first, lambda given, kept=kept: kept.append(given))):  # type: ignore[misc]
            bare_pass(model, ids, mask)
        mask[:, :before] = 0
        keys = kept[0][mask.bool().to(kept[0].device)].float()
        total = keys.T @ keys if total is None else total + keys.T @ keys
        tokens += len(keys)
        done += len(batch)
    report(READING, done, len(passages))
    assert total is not None
    return (total / tokens).cpu()


def against(covariance: Tensor, keys: Tensor) -> Tensor:
    """covariance^-1 keys [input, ...], the covariance held from below by a ridge."""
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), device=covariance.device)
    found: Tensor = torch.linalg.solve((covariance + ridge).double(), keys.double())
    return found.float()
