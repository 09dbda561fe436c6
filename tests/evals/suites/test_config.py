"""Reading a suite's file: what is right is read as its commands would, and what is wrong is named with its line and key."""

import json
import tomllib
from pathlib import Path

import pytest

from analyzers.errors import ExplicateError
from evals.audit.config import AuditConfig
from evals.confidence.config import ConfidenceConfig
from evals.label_config import LabelConfig
from evals.suites import load_suite
from evals.suites.config import EXAMPLE
from evals.tasks.task import load_task

GOOD = """name = "mine"
[limits]
calls = 5
[thresholds."df_*"]
minimum_effect = 0.1
[[task]]
name = "a"
kind = "audit"
model = "m"
n = 3
persona = ["you"]
beside = ["occlusion", "lime"]
[[task]]
name = "b"
kind = "label"
subject = "s"
sites = ["L0.mlp.1"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_options_are_those_of_the_commands(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path, GOOD))
    audit, label = suite.tasks
    asked, items = load_task("sentiment")
    assert audit.config == AuditConfig.asking(
        asked, items, model="m", example=None, task="sentiment", n=3, personas=("you",), methods=("occlusion", "lime")
    )
    assert label.config == LabelConfig.checked(subject="s", sites=("L0.mlp.1",))
    assert (suite.limits.calls, suite.thresholds["df_*"].minimum_effect) == (5, 0.1)


def test_the_example_is_a_suite_of_all_kinds() -> None:
    suite = load_suite(EXAMPLE)
    assert [type(task.config) for task in suite.tasks] == [LabelConfig, AuditConfig, ConfidenceConfig]


def test_limits_and_thresholds_do_not_decide_results(tmp_path: Path) -> None:
    one = load_suite(written(tmp_path, GOOD)).decides()
    assert load_suite(written(tmp_path, GOOD.replace("calls = 5", "calls = 6").replace("0.1", "0.2"))).decides() == one
    assert load_suite(written(tmp_path, GOOD.replace("n = 3", "n = 4"))).decides() != one


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.jsonl").write_text(json.dumps({"text": "good film", "gold": "positive"}) + "\n")
    path = written(tmp_path / "there", GOOD.replace("n = 3", 'items = "mine.jsonl"'))
    monkeypatch.chdir(tmp_path)
    (task, _) = load_suite(path).tasks
    assert task.items is not None
    assert [item.text for item in task.items] == ["good film"]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('name = "mine"', 'nam = "mine"', 1, "did you mean 'name'"),
        ("[limits]", "[limit]", 2, "did you mean 'limits'"),
        ("calls = 5", "cals = 5", 3, "limits.cals: there is no such key; did you mean 'calls'"),
        ("calls = 5", "calls = -1", 3, "limits.calls: '-1'"),
        ("minimum_effect = 0.1", "minimal_effect = 0.1", 5, "minimal_effect"),
        ("n = 3", "nn = 3", 10, "unknown key 'nn'; did you mean 'n'"),
        ("n = 3", 'n = "many"', 10, "task.0.n: 'many'"),
        ('persona = ["you"]', 'persona = ["someone"]', 6, "someone"),
        ('persona = ["you"]', 'personas = ["you"]', 11, "did you mean 'persona'"),
        ('kind = "audit"', 'kid = "audit"', 8, "did you mean 'kind'"),
        ('kind = "audit"', 'kind = "audits"', 8, "did you mean 'audit'"),
        ('kind = "audit"\nmodel = "m"', 'kind = "audit"', 6, "needs the option 'model'"),
        ('name = "b"', 'name = "A"', 14, "another task's name"),
        ('name = "b"', 'name = "../b"', 14, "is no name"),
        ('name = "b"', "", 13, "is no name"),
        ('sites = ["L0.mlp.1"]', 'sites = ["L0.mpl.1"]', 13, "L0.mpl.1"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ExplicateError, match=rf"suite\.toml' line {line}: ") as caught:
        load_suite(written(tmp_path, GOOD.replace(old, new)))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", 'name = "x"', 'name = "x"\ntask = 3', "name = ", 'name = "x"\n[task]\nname = "a"'])
def test_a_suite_without_tasks_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ExplicateError, match=r"no tasks|not TOML"):
        load_suite(written(tmp_path, text))


def test_a_file_that_is_not_there_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ExplicateError, match="explicate suite init"):
        load_suite(tmp_path / "none.toml")


def test_an_address_with_a_secret_is_not_repeated(tmp_path: Path) -> None:
    text = GOOD.replace("[[task]]", '[alerts.webhook]\nurl = "ftp://token-1234@example.org"\n[[task]]', 1)
    with pytest.raises(ExplicateError, match=r"alerts\.webhook") as caught:
        load_suite(written(tmp_path, text))
    assert "token-1234" not in str(caught.value)


def test_the_example_is_toml_of_the_documented_keys() -> None:
    assert set(tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))) == {"name", "limits", "thresholds", "alerts", "task"}
