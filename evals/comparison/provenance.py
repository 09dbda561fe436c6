"""What made the numbers of two runs and is not the same: prompts, model revision, code version, configuration, items."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.comparison.results import ProvenanceChange
from evals.metrics import Items, Key
from evals.metrics.folder import tasks_of
from evals.run_folder import read_json

_NO_ORIGIN = frozenset({"format", "command", "pass"})
"""What manifests hold besides: the name of a sampling pass follows from the subject, the corpus and the configuration."""
_OF_SUITE = frozenset({"version", "code", "packages"})
"""All other keys of a suite's manifest are those of its tasks again."""


def provenance(baseline: Path, run: Path, before: Mapping[Key, Items], after: Mapping[Key, Items]) -> list[ProvenanceChange]:
    """By task; what changed in the same way in all of several tasks stands there once, without a task.

    before, after: the items of the metrics of both.
    """
    old, new = dict(tasks_of(baseline)), dict(tasks_of(run))
    both = [task for task in new if task in old]
    changes = [change for task in both for change in _of_task(task, old[task], new[task])]
    changes += [change for task in both if (change := _of_items(task, before, after)) is not None]
    if "" not in new:
        one, other = (_flat({key: read_json(each / "manifest.json").get(key) for key in _OF_SUITE}) for each in (baseline, run))
        changes += _changes("", one, other)
    counts = Counter(_said(change) for change in changes if change.task)
    shared = {said for said, count in counts.items() if count == len(both) > 1}
    once = [ProvenanceChange(task="", what=what, before=one, after=other) for what, one, other in sorted(shared)]
    own = [change for change in changes if _said(change) not in shared]
    return [*once, *own]


def _of_task(task: str, before: Path, after: Path) -> Iterator[ProvenanceChange]:
    return _changes(task, *(_flat(read_json(folder / "manifest.json")) for folder in (before, after)))


def _changes(task: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[ProvenanceChange]:
    for what in dict.fromkeys((*before, *after)):
        if before.get(what) != after.get(what):
            yield ProvenanceChange(task=task, what=what, before=before.get(what, ""), after=after.get(what, ""))


def _of_items(task: str, before: Mapping[Key, Items], after: Mapping[Key, Items]) -> ProvenanceChange | None:
    """All items of the task that any metric is of."""
    old, new = ({key for (of, _, _), items in known.items() if of == task for key in items.keys} for known in (before, after))
    if old == new:
        return None
    return ProvenanceChange(task=task, what="items", before=str(len(old)), after=f"{len(new)}, of which {len(old & new)} are the same")


def _said(change: ProvenanceChange) -> tuple[str, str, str]:
    return change.what, change.before, change.after


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Of nested mappings by `model.revision` and the like; what a manifest says besides where its numbers come from is left out."""
    found: dict[str, str] = {}
    for key, inner in value.items():
        if not above and key in _NO_ORIGIN:
            continue
        if isinstance(inner, Mapping):
            found |= _flat(inner, f"{above}{key}.")
        elif isinstance(inner, list):
            found[f"{above}{key}"] = ", ".join(map(str, inner))
        elif inner is not None:
            found[f"{above}{key}"] = str(inner)
    return found
