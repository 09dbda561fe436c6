"""Edits in KnowEdit's form from published relations: a landmark is moved to another country, and what follows is that country's capital,
currency and language.

`python -m evals.editing.composed FOLDER > edits.jsonl`, FOLDER with the relations' files (Hernandez et al. 2024), such as
landmark_in_country.json. `explicate edit --edits edits.jsonl` then measures portability, too.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzers.errors import CorpusError, ExplicateError

_PATH = Path(__file__).with_name("composed.json")
NEIGHBOURS = 2
"""Other subjects of the same old object, which an edit is to leave as they are."""


class _Sample(BaseModel):
    model_config = ConfigDict(extra="ignore")
    subject: str = Field(min_length=1)
    object: str = Field(min_length=1)


class _Relation(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str
    prompt_templates: list[str] = Field(min_length=1)
    prompt_templates_zs: list[str] = Field(min_length=1)
    samples: list[_Sample] = Field(min_length=1)

    @property
    def objects(self) -> dict[str, str]:
        return {each.subject: each.object for each in self.samples}


@dataclass(frozen=True)
class Composed:
    """The relations of a folder, and how they follow from one another."""

    first: _Relation
    then: tuple[_Relation, ...]
    hop: str
    """Names the first relation's object by its subject, which stands for {}."""


def read_composed(folder: Path) -> Composed:
    """Raises CorpusError for a file that is not there or is no relation."""
    told = json.loads(_PATH.read_text(encoding="utf-8"))
    return Composed(_relation(folder, told["first"]), tuple(_relation(folder, name) for name in told["then"]), told["hop"])


def records(given: Composed, *, seed: int = 0) -> list[dict[str, Any]]:
    """One edit for each subject whose object all further relations tell something of; its new object, drawn by seed, is another of
    these of which nothing follows that follows of the old one: that would be said without the edit."""
    tables = [relation.objects for relation in given.then]
    objects = sorted({each.object for each in given.first.samples if all(each.object in table for table in tables)})
    if len(objects) < 2:
        raise CorpusError(f"{given.first.name!r} and the relations behind it share {len(objects)} of their subjects; two are needed")
    rng = np.random.default_rng(seed)
    found = []
    for subject, true in given.first.objects.items():
        if true not in objects:
            continue
        possible = [each for each in objects if not any(table[each] == table[true] for table in tables) and each != true]
        if not possible:
            continue
        new = str(rng.choice(possible))
        others = [each for each, where in given.first.objects.items() if where == true and each != subject]
        near = rng.permutation(others).tolist()[:NEIGHBOURS]
        found.append(_record(given, tables, subject, true, new, near))
    if not found:
        raise CorpusError(f"of all objects of {given.first.name!r} the same follows; give relations of which something else does")
    return found


def _record(given: Composed, tables: Sequence[dict[str, str]], subject: str, true: str, new: str, near: Sequence[str]) -> dict[str, Any]:
    prompt, *_ = given.first.prompt_templates
    whole = given.hop.format(subject)
    pairs = list(zip(given.then, tables, strict=True))
    return {
        "id": subject,
        "prompt": prompt.format(subject),
        "subject": subject,
        "target_new": new,
        "ground_truth": true,
        "rephrase": [each.format(subject) for each in given.first.prompt_templates_zs if each != prompt],
        "portability": {then.name: [_asked(then.prompt_templates[0].format(whole), table[new])] for then, table in pairs},
        "locality": {
            given.first.name: [_asked(prompt.format(each), true) for each in near],
            **{then.name: [_asked(then.prompt_templates[0].format(true), table[true])] for then, table in pairs},
        },
    }


def _asked(prompt: str, answer: str) -> dict[str, str]:
    return {"prompt": prompt[:1].upper() + prompt[1:], "ground_truth": answer}


def _relation(folder: Path, name: str) -> _Relation:
    path = folder / f"{name}.json"
    if not path.is_file():
        raise CorpusError(f"there is no file {str(path)!r}; give the folder with the relations' files")
    try:
        return _Relation.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CorpusError(f"{str(path)!r} is no relation: {error.errors()[0]['msg']}; give the file as it was published") from None


def main() -> int:
    """Write the edits, one a line, to standard output; what is wrong in one line to standard error."""
    parser = argparse.ArgumentParser(prog="python -m evals.editing.composed", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        found = records(read_composed(given.folder), seed=given.seed)
    except ExplicateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for record in found:
        print(json.dumps(record, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
