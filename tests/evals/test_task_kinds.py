"""A task file of the other kind is called what it is, by both who read task files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import ExplicateError
from evals.icl.task import built_in as icl_tasks
from evals.icl.task import load_icl_task
from evals.task_kinds import KINDS, check_kind
from evals.tasks import built_in, load_task

REST = 'labels = ["yes", "no"]\nitems = "items.jsonl"\n'
WRITTEN = {"instruction": 'instruction = "Is it so?"\n' + REST, "template": 'template = "Q: {text}\\nA: {label}\\n"\n' + REST}


@pytest.mark.parametrize(("load", "wanted", "other"), [(load_task, "instruction", "template"), (load_icl_task, "template", "instruction")])
def test_each_reads_its_kind_and_names_the_other(load: Callable[[str], Any], wanted: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"text": "a", "label": "yes"}\n{"text": "b", "label": "no"}\n', "utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(WRITTEN[wanted], "utf-8")
    load(str(path))
    path.write_text(WRITTEN[other], "utf-8")
    with pytest.raises(ExplicateError) as error:
        load(str(path))
    said = str(error.value)
    assert said.startswith(f"{str(path)!r} has {other!r}, so it is {KINDS[other]}; give {KINDS[wanted]}, with {wanted} = ")
    assert "\n" not in said


def test_a_file_of_no_kind_and_one_of_both_pass() -> None:
    for found in ((), ("labels",), ("instruction", "template")):
        for wanted in KINDS:
            check_kind(Path("mine.toml"), found, wanted, "...")


def test_every_built_in_task_is_of_one_kind() -> None:
    folder = Path(__file__).parents[2] / "evals"
    for names, where, key in ((built_in(), "tasks", "instruction"), (icl_tasks(), "icl/tasks", "template")):
        assert names
        for name in names:
            lines = (folder / where / f"{name}.toml").read_text("utf-8").splitlines()
            assert [line.split(" = ")[0] for line in lines if line.split(" = ")[0] in KINDS] == [key]
