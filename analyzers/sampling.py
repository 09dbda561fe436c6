"""One streaming pass over a corpus: for every neuron and both sides the excerpts that show it best, moments and firing counts.

The blocks of a split stand in random order, so that one running top-k gives every stratum: the best of the first 16 blocks sample the
loudest quarter, the best of the first 80 the loudest 5 %, and the best of all are the loudest. A split is finished and written before
the next begins.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from analyzers.errors import CorpusError, SubjectError
from analyzers.evidence import SPLITS, Split
from analyzers.kept import Batch, KeptSplit, SampleSettings, prefixed
from analyzers.moments import RunningMoments
from analyzers.pass_folder import (
    CHECKPOINT,
    FORMAT,
    RESULT,
    alone,
    beside,
    check_same,
    read_checkpoint,
    read_json,
    write_json,
    write_tensors,
)
from analyzers.progress import Report, quiet
from analyzers.store import ActivationStore

if TYPE_CHECKING:
    from analyzers.blocks import Blocks
    from analyzers.subject import Subject


def sample(
    subject: "Subject",
    blocks: "Blocks",
    folder: Path,
    *,
    batch: int = 16,
    settings: SampleSettings | None = None,
    report: Report = quiet,
) -> ActivationStore:
    """Run the subject once over all blocks and keep what `ActivationStore` reads, in `folder`.

    Killed at any moment, the same call goes on at the last checkpoint and ends with the same bytes; a finished folder is only opened.
    batch: blocks a forward pass. Raises CorpusError for a split without blocks or blocks too short to have a middle, SubjectError for
    activations that are not finite, RunFolderError for a folder of another configuration or one that cannot be written.
    """
    settings = settings or SampleSettings()
    check_enough(blocks, settings)
    configuration = {
        "format": FORMAT,
        "subject": subject.identity,
        "blocks": blocks.fingerprint,
        "batch": batch,
        "settings": settings.as_json(),
    }
    with alone(folder, report):
        if (folder / RESULT).exists():
            check_same(folder, read_json(folder / RESULT), configuration)
        else:
            with torch.inference_mode():
                _Pass(subject, blocks, folder, batch, settings, configuration, report).run()
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return ActivationStore.open(folder)


def check_enough(blocks: "Blocks", settings: SampleSettings) -> None:
    """Raise CorpusError for a split without blocks, and for blocks too short to have a middle."""
    for split in SPLITS:
        if blocks.count(split) == 0:
            raise CorpusError(
                f"the corpus is too short: no text is left for its split {split!r}; give a longer one, or one of more documents"
            )
    if blocks.excerpt_tokens <= 2 * settings.margin:
        raise CorpusError(
            f"excerpts of {blocks.excerpt_tokens!r} tokens leave nothing between margins of {settings.margin}; "
            f"choose more than {2 * settings.margin}"
        )


class _Pass:
    """One run of `sample`: where it stands, and what it has kept until there."""

    def __init__(
        self,
        subject: "Subject",
        blocks: "Blocks",
        folder: Path,
        batch: int,
        settings: SampleSettings,
        configuration: dict[str, Any],
        report: Report,
    ) -> None:
        self.subject, self.blocks, self.folder, self.batch = subject, blocks, folder, batch
        self.settings, self.configuration, self.report = settings, configuration, report
        self.moments = RunningMoments(subject.neurons, subject.device)
        self.tokens = {split: int(blocks.lengths(split, 0, blocks.count(split)).sum()) for split in SPLITS}

    def run(self) -> None:
        tensors, note = read_checkpoint(self.folder) or ({}, {**self.configuration, "split": SPLITS[0], "done": 0})
        check_same(self.folder, note, self.configuration)
        if tensors:
            self.moments.restore(tensors)
        for split in SPLITS[SPLITS.index(note["split"]) :]:
            kept = KeptSplit(
                self.subject.neurons,
                self.settings.kept[split],
                self.blocks.count(split),
                self.blocks.excerpt_tokens,
                self.subject.dtype,
                self.subject.device,
            )
            done = note["done"] if split == note["split"] else 0
            if done:
                kept.restore(tensors)
            tensors.clear()
            self._run_split(split, kept, done)
        self._write_moments()
        write_json(self.folder / RESULT, self._result())

    def _run_split(self, split: Split, kept: KeptSplit, done: int) -> None:
        count, settings = self.blocks.count(split), self.settings
        before = sum(self.tokens[earlier] for earlier in SPLITS[: SPLITS.index(split)]) + int(self.blocks.lengths(split, 0, done).sum())
        for number, (first, stop) in enumerate(settings.cuts(count, self.batch)):
            if stop <= done:
                continue
            batch, ids = self._batch(split, first, stop)
            self._forward(kept, batch, ids)
            if stop == min(settings.q95_blocks, count):
                kept.snapshot_q95()
            if stop == min(settings.q75_blocks, count):
                kept.snapshot_q75()
            before += sum(batch.lengths)
            self.report("sample", before, sum(self.tokens.values()))
            if (number + 1) % settings.checkpoint_batches == 0 and stop < count:
                self._checkpoint(split, stop, kept.tensors)
        finished = kept.finish()
        for layer, sums in enumerate(self.moments.sums):
            # Moments rest on some blocks only, and what was kept comes from any.
            if not all(
                found.isfinite().all() for found in (sums, *(finished[f"{layer}.{kind}"] for kind in ("value", "window", "random")))
            ):
                raise SubjectError(
                    f"{self.subject.name!r}: activations of layer {layer} are not finite in {self.subject.identity['dtype']!r}; "
                    "load it with dtype float32"
                )
        write_tensors(self.folder / f"{split}.safetensors", finished)
        if split == SPLITS[0]:
            # The share of tokens beyond bounds is counted on other text than the bounds were taken from.
            self.moments.freeze()
        following = SPLITS.index(split) + 1
        if following < len(SPLITS):
            self._checkpoint(SPLITS[following], 0, {})

    def _batch(self, split: Split, first: int, stop: int) -> tuple[Batch, Tensor]:
        margin, prefix, device = self.settings.margin, self.subject.prefix, self.subject.device
        batch = Batch.of(self.blocks, split, first, stop, prefix=len(prefix), margin=margin, device=device)
        return batch, prefixed(self.blocks, split, first, stop, prefix)

    def _forward(self, kept: KeptSplit, batch: Batch, ids: Tensor) -> None:
        counted = [number for number in range(len(batch.lengths)) if (batch.first + number) % self.settings.moments_every == 0]
        self.moments.count(sum(batch.lengths[number] for number in counted))

        def read(layer: int, activations: Tensor) -> None:
            kept.absorb(layer, activations, batch)
            for number in counted:
                self.moments.add(layer, activations[number, batch.prefix : batch.prefix + batch.lengths[number]])

        with self.subject.capture(read):
            # Without a mask: padding stands on the right, where a causal model does not look.
            self.subject.forward(ids)

    def _checkpoint(self, split: Split, done: int, kept: dict[str, Tensor]) -> None:
        write_tensors(self.folder / CHECKPOINT, {**kept, **self.moments.state()}, {**self.configuration, "split": split, "done": done})

    def _write_moments(self) -> None:
        tensors: dict[str, Tensor] = {}
        for layer in range(self.subject.layers):
            tensors[f"{layer}.mean"] = self.moments.mean(layer)
            tensors[f"{layer}.variance"] = self.moments.variance(layer)
            tensors[f"{layer}.fired"] = self.moments.fired[layer].to(torch.int64)
        write_tensors(self.folder / "moments.safetensors", tensors)

    def _result(self) -> dict[str, Any]:
        def splits(split: Split) -> dict[str, int]:
            count, kept = self.blocks.count(split), self.settings.kept[split]
            return {
                "blocks": count,
                "tokens": self.tokens[split],
                "q95_blocks": min(self.settings.q95_blocks, count),
                "q75_blocks": min(self.settings.q75_blocks, count),
                "random": min(kept.random, count),
            }

        return {
            **self.configuration,
            "neurons": list(self.subject.neurons),
            "tokens": sum(self.tokens.values()),
            "moments_tokens": self.moments.tokens,
            "firing_tokens": self.moments.firing_tokens,
            "blocks_folder": beside(self.blocks.folder, self.folder),
            "splits": {split: splits(split) for split in SPLITS},
        }
