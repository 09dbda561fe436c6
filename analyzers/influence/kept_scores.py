"""Scores on disk while they are computed, so that a query that was killed goes on, and until the next one of the same factors is answered.

A folder a question; in it a folder for every pass over the passages, with what is known so far, which is noted now and then.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

from analyzers.influence.passages import Passage
from analyzers.influence.scoring import Known, batched
from analyzers.pass_folder import CHECKPOINT, FORMAT, alone, read_checkpoint, write_json, write_tensors
from analyzers.progress import Report

KEEP_EVERY = 60.0
"""Seconds between two notes of a pass."""
ANSWERED = "answered.json"


def answered(folder: Path) -> bool:
    """Whether all passes of a question are known."""
    return (folder / ANSWERED).exists()


@contextmanager
def question(folder: Path, report: Report) -> Iterator[None]:
    """Hold the folder of a question until it is answered.

    The scores of other questions in the same place that were answered before are removed then.
    """
    from filelock import FileLock

    with alone(folder, report):
        yield
        write_json(folder / ANSWERED, {"format": FORMAT})
        for other in folder.parent.iterdir():
            if other != folder and answered(other):
                # What another process holds, or may alone remove, stays: it is being asked again, or lost to nobody but the disk.
                with suppress(OSError), FileLock(other / "lock", timeout=0):
                    # Its folder stays with its lock, for whoever waits for that.
                    (other / ANSWERED).unlink()
                    for scores in other.glob(f"*/{CHECKPOINT}"):
                        scores.unlink()


def known_in(folder: Path, passages: Sequence[Passage]) -> Known | None:
    """What was noted last of a pass over these passages, if anything was. RunFolderError where it is damaged."""
    found = read_checkpoint(folder)
    if found is None:
        return None
    tensors, note = found
    by_layer, tokens, kept = (tensors[name].numpy() for name in ("by_layer", "by_token", "kept"))
    done = [number for batch in batched(passages)[: note["batches"]] for number in batch]
    ends = np.cumsum([len(passages[number].ids) - 1 for number in done])
    rows = dict(zip(done, np.split(tokens, ends[:-1], axis=1), strict=True))
    return Known(by_layer, [rows.get(number, tokens[:, :0]) for number in range(len(passages))], kept, note["batches"])


def noting(folder: Path, passages: Sequence[Passage]) -> Callable[[Known], None]:
    """Takes what is known of a pass, and writes it where that is due or all is known. RunFolderError or OSError where that fails."""
    batches = batched(passages)
    noted = time.monotonic()

    def note(known: Known) -> None:
        nonlocal noted
        if known.batches < len(batches) and time.monotonic() - noted < KEEP_EVERY:
            return
        rows = [known.by_token[number] for batch in batches[: known.batches] for number in batch]
        tensors = {"by_layer": known.by_layer, "by_token": np.concatenate(rows, axis=1), "kept": known.kept}
        folder.mkdir(exist_ok=True)
        write_tensors(
            folder / CHECKPOINT,
            {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in tensors.items()},
            {"batches": known.batches},
        )
        noted = time.monotonic()

    return note
