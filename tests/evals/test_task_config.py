"""What audits and measurements of confidence are asked to do in the same way."""

import json
from pathlib import Path

import pytest

from analyzers.errors import ExplicateError
from evals.audit.config import AuditConfig
from evals.confidence.config import ConfidenceConfig
from evals.task_config import TaskConfig
from evals.tasks.task import load_task


@pytest.mark.parametrize("kind", [AuditConfig, ConfidenceConfig])
def test_a_name_alone_is_a_local_model_and_is_shown_an_example(kind: type[TaskConfig], tmp_path: Path) -> None:
    digests = []
    for text in ("a film", "a play"):
        (tmp_path / "items.jsonl").write_text(json.dumps({"text": text, "gold": "positive"}) + "\n", encoding="utf-8")
        asked, texts = load_task("sentiment", items=str(tmp_path / "items.jsonl"))
        local = kind.asking(asked, texts, model="tiny", example=None, task="sentiment")
        assert (local.model, local.model_name, local.example) == ("local:tiny", "tiny", True)
        remote = kind.asking(asked, texts, model="openai:m", example=None, task="sentiment")
        assert (remote.model, remote.model_name, remote.example) == ("openai:m", "m", False)
        assert kind.asking(asked, texts, model="openai:m", example=True, task="sentiment").example
        assert local.task_digest == remote.task_digest
        digests.append(local.task_digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("kind", "field", "option"),
    [
        (AuditConfig, "elicit", "elicit"),
        (AuditConfig, "operators", "operators"),
        (AuditConfig, "personas", "persona"),
        (AuditConfig, "methods", "beside"),
        (AuditConfig, "checks", "checks"),
        (ConfidenceConfig, "prompting", "prompting"),
        (ConfidenceConfig, "sampling", "sampling"),
        (ConfidenceConfig, "aggregate", "aggregate"),
    ],
)
def test_names_are_known_and_stand_there_once(kind: type[TaskConfig], field: str, option: str) -> None:
    known = {"elicit": "top-k", "operators": "mask", "personas": "you", "methods": "lime", "checks": "filler"}
    name = {**known, "prompting": "vanilla", "sampling": "none", "aggregate": "consistency"}[field]
    assert getattr(kind.checked(model="m", task="t", **{field: (name,)}), field) == (name,)
    with pytest.raises(ExplicateError, match=f"--{option} '{name},{name}' names something twice"):
        kind.checked(model="m", task="t", **{field: (name, name)})
    with pytest.raises(ExplicateError, match=rf"--{option} 'nobody': choose among .*{name}"):
        kind.checked(model="m", task="t", **{field: ("nobody",)})


@pytest.mark.parametrize(
    ("kind", "field"), [(AuditConfig, "elicit"), (AuditConfig, "order"), (ConfidenceConfig, "prompting"), (ConfidenceConfig, "sampling")]
)
def test_what_must_name_something_says_what_it_is_without(kind: type[TaskConfig], field: str) -> None:
    usual = ",".join(kind.model_fields[field].default)
    with pytest.raises(ExplicateError, match=f"--{field} names nothing; leave it out for {usual}"):
        kind.checked(model="m", task="t", **{field: ()})


@pytest.mark.parametrize("kind", [AuditConfig, ConfidenceConfig])
def test_a_number_out_of_range_is_named_by_its_option(kind: type[TaskConfig]) -> None:
    with pytest.raises(ExplicateError, match=r"--seed -1: .*greater than or equal to 0"):
        kind.checked(model="m", task="t", seed=-1)
