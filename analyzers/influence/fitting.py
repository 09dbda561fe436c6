"""Fits the factors of a model's curvature on training text: once, on disk, within a bound of memory, and on again where it was killed.

`factors.json` is written last. Until then `checkpoint.safetensors` holds the sums of the pass that runs. Labels are drawn by seed and
passage alone, so that a fit that was killed ends with the same factors.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analyzers.errors import RunFolderError, SubjectError
from analyzers.influence.curvature import Basis, Covariances
from analyzers.influence.factors import BASIS, FACTORS, KEYS, Factors
from analyzers.influence.kinds import METHODS, Method
from analyzers.influence.passages import Passage
from analyzers.influence.watching import Traces, shapes, traces, watched
from analyzers.padding import like_lengths
from analyzers.pass_folder import (
    CHECKPOINT,
    FORMAT,
    alone,
    content_key,
    open_tensors,
    read_checkpoint,
    read_json,
    write_json,
    write_tensors,
)
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

BATCH_TOKENS = 1024
"""Of a pass: the probabilities of all tokens of the vocabulary at each are in memory."""
KEEP_EVERY = 60.0
"""Seconds between two notes of the sums; what took less than a tenth of them is made again rather than kept."""
MEMORY_GB = 4.0
"""For factors, besides the model and one batch."""


@dataclass(frozen=True)
class Plan:
    """What a fit does, told before it begins."""

    shards: tuple[tuple[str, ...], ...]
    """Layers that are fitted together; each shard reads the text twice."""
    memory: int
    """Bytes of the largest shard while it is fitted"""
    disk: int
    """Bytes of all factors"""


def plan_fit(modules: Mapping[str, nn.Module], method: Method, memory_gb: float = MEMORY_GB) -> Plan:
    """As few shards as the memory allows. SubjectError where one layer alone does not fit in it."""
    costs = {name: _floats(shape, method) * 4 for name, shape in shapes(modules).items()}
    most = int(memory_gb * 1e9)
    heaviest = max(costs, key=lambda name: costs[name])
    if costs[heaviest] > most:
        raise SubjectError(
            f"the factors of {heaviest!r} alone take {costs[heaviest] / 1e9:.2g} GB, more than --memory {memory_gb:g}; raise it"
        )
    shards: list[list[str]] = [[]]
    for name, cost in costs.items():
        if sum(costs[each] for each in shards[-1]) + cost > most:
            shards.append([])
        shards[-1].append(name)
    return Plan(tuple(map(tuple, shards)), max(sum(costs[name] for name in shard) for shard in shards), sum(costs.values()))


def _floats(shape: tuple[int, int], method: Method) -> int:
    outputs, inputs = shape
    return outputs * inputs if method == "diagonal" else 2 * outputs * inputs + outputs**2 + inputs**2


def fit(
    model: TextModel,
    passages: Sequence[Passage],
    folder: Path,
    *,
    kind: str = "mlp",
    method: Method = "ekfac",
    memory_gb: float = MEMORY_GB,
    seed: int = 0,
    source: Mapping[str, str] | None = None,
    report: Report = quiet,
) -> Factors:
    """Fit, or go on fitting, or open what was fitted already.

    method: "ekfac", which serves "kfac" too, or "diagonal". source: what the passages are of, kept beside the factors. Raises SubjectError
    for a model without such layers or with figures that are not finite, RunFolderError for a folder of another fit.
    """
    if method not in KEYS:
        raise SubjectError(f"method {method!r} needs no fit or is none; fit {' or '.join(KEYS)}, of {', '.join(METHODS)}")
    modules = watched(model, kind)
    plan = plan_fit(modules, method, memory_gb)
    told = {
        "format": FORMAT,
        "model": dict(model.identity),
        "kind": kind,
        "method": method,
        "seed": seed,
        "source": dict(source or {}),
        "passages": len(passages),
        "tokens": sum(len(passage.ids) - 1 for passage in passages),
        "text": content_key([passage.ids for passage in passages]),
        "layers": [[name, *shape] for name, shape in shapes(modules).items()],
        "shards": {name: f"shard-{number}.safetensors" for number, shard in enumerate(plan.shards) for name in shard},
    }
    with alone(folder, report):
        if (folder / FACTORS).exists():
            kept = read_json(folder / FACTORS)
            _check_same(folder, kept, told)
            return Factors(folder, kept)
        begun = folder / "begun.json"
        if begun.exists():
            _check_same(folder, read_json(begun), told)
        else:
            write_json(begun, told)
        fitting = _Fitting(model, passages, folder, method, seed, report)
        for number, shard in enumerate(plan.shards):
            if not (folder / f"shard-{number}.safetensors").exists():
                fitting.shard(number, {name: modules[name] for name in shard}, len(plan.shards))
        write_json(folder / FACTORS, told)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        begun.unlink()
    return Factors.open(folder)


def sampled(seed: int, numbers: Sequence[int]) -> Callable[[Tensor, Tensor], Tensor]:
    """Labels drawn from the model's own probabilities, as the curvature asks for; numbers [sequence] of the passages of a batch.

    Each passage draws by its own number, whatever else is in the batch.
    """

    def draw(logits: Tensor, said: Tensor) -> Tensor:
        uniform = np.stack([np.random.default_rng([seed, number]).random(said.shape[1]) for number in numbers])
        reached = logits.softmax(-1).cumsum(-1)
        target = torch.from_numpy(uniform).to(reached) * reached[..., -1]
        return torch.searchsorted(reached, target[..., None])[..., 0].clamp(max=logits.shape[-1] - 1)

    return draw


@dataclass
class _Fitting:
    model: TextModel
    passages: Sequence[Passage]
    folder: Path
    method: Method
    seed: int
    report: Report

    def shard(self, number: int, modules: Mapping[str, nn.Module], shards: int) -> None:
        """Two passes over the text, or for the diagonal one, and a file."""
        of = f" {number + 1} of {shards}" if shards > 1 else ""
        turned = self._eigenvectors(number, modules, of) if self.method == "ekfac" else {}
        bases = {name: Basis(*(turned[f"{name}.{key}"] for key in BASIS)) for name in modules} if turned else {}
        values = {name: torch.zeros(size, device=self.model.device) for name, size in shapes(modules).items()}

        def square(name: str, each: Traces) -> None:
            values[name] += bases[name].squares(each) if bases else each.squares()

        held = {f"{name}.values": each for name, each in values.items()}
        self._pass(number, "eigenvalues", held, modules, square, f"fit eigenvalues{of}")
        found = turned | {name: each.div_(len(self.passages)) for name, each in held.items()}
        self._write(self.folder / f"shard-{number}.safetensors", found)
        self._basis(number).unlink(missing_ok=True)

    def _eigenvectors(self, number: int, modules: Mapping[str, nn.Module], of: str) -> dict[str, Tensor]:
        """Of the covariances of all layers; kept in a file of their own until the shard is whole."""
        path = self._basis(number)
        if path.exists():
            with open_tensors(path) as file:
                return {name: file.get_tensor(name).to(self.model.device) for name in file.keys()}  # noqa: SIM118 - not a dict
        began = time.monotonic()
        tokens = sum(len(passage.ids) - 1 for passage in self.passages)
        sums = {name: Covariances.none(size, self.model.device) for name, size in shapes(modules).items()}
        held = {f"{name}.{key}": getattr(each, key) for name, each in sums.items() for key in ("inputs", "errors")}
        self._pass(number, "covariances", held, modules, lambda name, each: sums[name].add(each), f"fit covariances{of}")
        held.clear()
        found: dict[str, Tensor] = {}
        for done, name in enumerate(modules):
            self.report(f"find eigenvectors{of}", done, len(modules))
            try:
                basis = sums.pop(name).basis(tokens, len(self.passages))
            except ArithmeticError as error:
                raise self._not_finite(f"{name!r}: {error}") from error
            found |= {f"{name}.{key}": getattr(basis, key) for key in BASIS}
        self.report(f"find eigenvectors{of}", len(modules), len(modules))
        if time.monotonic() - began > KEEP_EVERY / 10:
            self._write(path, found)
        return found

    def _basis(self, number: int) -> Path:
        return self.folder / f"basis-{number}.safetensors"

    def _write(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        broken = [name for name, each in tensors.items() if not each.isfinite().all()]
        if broken:
            raise self._not_finite(f"{broken[0]!r} is not finite")
        write_tensors(path, {name: each.cpu().contiguous() for name, each in tensors.items()})

    def _not_finite(self, what: str) -> SubjectError:
        return SubjectError(f"{what} in {self.model.identity.get('dtype')!r}; fit with --dtype float32 into another folder")

    def _pass(
        self,
        shard: int,
        stage: str,
        sums: Mapping[str, Tensor],
        modules: Mapping[str, nn.Module],
        count: Callable[[str, Traces], None],
        what: str,
    ) -> None:
        """Count every batch in, from where the same pass was left."""
        batches = list(like_lengths([len(passage.ids) for passage in self.passages], BATCH_TOKENS))
        done = self._resume(shard, stage, sums)
        noted = time.monotonic()
        counted = sum(map(len, batches[:done]))
        self.report(what, counted, len(self.passages))
        for at in range(done, len(batches)):
            batch = batches[at]
            texts = [self.passages[number].ids for number in batch]
            for name, each in traces(self.model, modules, texts, sampled(self.seed, batch)).items():
                count(name, each)
            counted += len(batch)
            self.report(what, counted, len(self.passages))
            if time.monotonic() - noted > KEEP_EVERY:
                self._note(shard, stage, at + 1, sums)
                noted = time.monotonic()
        if time.monotonic() - noted > KEEP_EVERY / 10:
            self._note(shard, stage, len(batches), sums)

    def _note(self, shard: int, stage: str, batches: int, sums: Mapping[str, Tensor]) -> None:
        write_tensors(
            self.folder / CHECKPOINT,
            {name: each.cpu() for name, each in sums.items()},
            {"shard": shard, "stage": stage, "batches": batches},
        )

    def _resume(self, shard: int, stage: str, sums: Mapping[str, Tensor]) -> int:
        """Batches that were counted in already."""
        kept = read_checkpoint(self.folder)
        if kept is None:
            return 0
        tensors, note = kept
        # One that ended, of an earlier shard or of this one's covariances, is told apart here.
        if (note["shard"], note["stage"]) != (shard, stage):
            return 0
        for name, total in sums.items():
            total.copy_(tensors[name])
        return int(note["batches"])


def _check_same(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            brief = key if key in ("layers", "shards", "text", "source", "model") else f"{key} {found.get(key)!r}, not {value!r}"
            raise RunFolderError(f"{str(folder)!r} holds a fit with another {brief}; name another folder")
