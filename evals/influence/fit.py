"""Fit the factors of a model's curvature, by the model's and the text's names; the folder remembers what a query needs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from analyzers.corpus import documents, source_identity
from analyzers.errors import RunFolderError
from analyzers.progress import Report, quiet
from evals.influence.config import FitConfig
from evals.influence.results import Fitted
from evals.number_of import number_of, size_of

if TYPE_CHECKING:
    from analyzers.influence.kinds import Method


def run_fit(config: FitConfig, *, tell: Callable[[str], None], report: Report = quiet) -> Fitted:
    """Fit, or go on fitting. tell: a line of what it will take, before it begins. Raises ExplicateError for what the user can mend."""
    # What is misspelt or missing is told before a model is fetched and loaded.
    config.check()
    identity = source_identity(config.train, report=report)
    from analyzers.influence.fitting import fit, plan_fit
    from analyzers.influence.passages import drawn, passages
    from analyzers.influence.watching import watched
    from analyzers.text_model import TextModel

    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    modules = watched(model, config.modules)
    method: Method = "diagonal" if config.method == "diagonal" else "ekfac"
    plan = plan_fit(modules, method, config.memory)
    every = passages(model, documents(config.train, report=report), length=config.length, report=report)
    chosen = drawn(every, config.limit, config.seed)
    tokens = sum(len(passage.ids) - 1 for passage in chosen)
    reads = len(plan.shards) * (2 if method == "ekfac" else 1)
    tell(
        f"to fit: {number_of('passage', len(chosen))} of {len(every):,}, {tokens:,} tokens, {number_of('layer', len(modules))}, "
        f"in {number_of('shard', len(plan.shards))}, so that the text is read {number_of('time', reads)}; "
        f"up to {size_of(plan.memory)} of memory besides the model and a batch of text, {size_of(plan.disk)} on disk, twice that while it "
        "is fitted"
    )
    _check_room(config.folder, plan.disk)
    source = {
        "train": _absolute(config.train),
        "identity": identity,
        "length": str(config.length),
        "limit": "" if config.limit is None else str(config.limit),
        "seed": str(config.seed),
        "model": _absolute(config.model),
    }
    found = fit(
        model,
        chosen,
        config.folder,
        kind=config.modules,
        method=method,
        memory_gb=config.memory,
        seed=config.seed,
        source=source,
        report=report,
    )
    return Fitted(
        folder=str(config.folder),
        model=found.model,
        source=source,
        modules=found.kind,
        method=method,
        serves=list(found.methods),
        layers=list(found.shapes),
        passages=len(chosen),
        tokens=tokens,
        shards=len(plan.shards),
        memory_bytes=plan.memory,
        disk_bytes=plan.disk,
    )


def _absolute(name: str) -> str:
    """A path holds from wherever the factors are used; the name of an asset is none."""
    return str(Path(name).absolute()) if Path(name).exists() else name


def _check_room(folder: Path, disk: int) -> None:
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    made = sum(each.stat().st_size for each in folder.glob("*.safetensors")) if folder.is_dir() else 0
    free = shutil.disk_usage(there).free
    if free < 2 * disk - made:
        raise RunFolderError(
            f"{str(folder)!r}: the factors take {size_of(disk)}, twice that while they are fitted, and "
            f"{size_of(free)} are free; make room, or fit fewer layers (--modules) or the diagonal (--method diagonal)"
        )
