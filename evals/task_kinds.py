"""The two kinds of task file, told apart by the key that each must have, so that one in place of the other is called what it is."""

from collections.abc import Collection
from pathlib import Path
from types import MappingProxyType

from analyzers.errors import ExplicateError

KINDS = MappingProxyType(
    {
        "instruction": "a task that is asked as a question (by explicate audit, attribute, confidence and suite)",
        "template": "an in-context task (of explicate icl)",
    }
)
"""Of each kind the key that it has and the other one has not."""


def check_kind(path: Path, found: Collection[str], wanted: str, form: str) -> None:
    """Raise ExplicateError where the keys of a file are those of the other kind.

    wanted: the key of the kind that is wanted, and form: how it is written. A file that has it, or no key of either kind, may have
    anything else wrong with it.
    """
    for key, what in KINDS.items():
        if key in found and wanted not in found:
            raise ExplicateError(f"{str(path)!r} has {key!r}, so it is {what}; give {KINDS[wanted]}, with {form} in place of {key!r}")
