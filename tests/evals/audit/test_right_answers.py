"""A right answer counts as right beside an explanation that cannot be read, which fails and is counted apart from it."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.audit.config import AuditConfig
from evals.audit.live import audit
from evals.audit.results import AuditResults
from evals.label_config import Limits
from evals.results import Value
from evals.tasks.task import load_task

GOLD = {
    "a superb film with a fine plot": "positive",
    "we saw the lovely thing on monday": "positive",
    "its plot was awful and so slow": "negative",
    "the dull film was bad": "negative",
    "great fun and not slow": "negative",
}
"""The planted model answers all but the last as here."""
FIRST, SECOND, THIRD, _, LAST = GOLD

UNREADABLE = {
    "is no list": "Importance: [[a, , 0.",
    "is of other words": 'Importance: [["cats", 1], ["dogs", 0]]',
    "is missing": "",
}


async def audited(workplace: Path, out: str, monkeypatch: pytest.MonkeyPatch, order: str) -> AuditResults:
    monkeypatch.setenv("EXPLICATE_REPLIES", str(workplace / f"{out}.sqlite"))
    path = workplace / "items.jsonl"
    path.write_text("".join(json.dumps({"text": text, "gold": gold}) + "\n" for text, gold in GOLD.items()), encoding="utf-8")
    task, items = load_task("sentiment", items=str(path))
    config = AuditConfig.checked(model="openai:m", task="sentiment", items=str(path), random=3, operators=("delete",), order=(order,))
    return await audit(config, workplace / out, task, items, limits=Limits(), tell=lambda line: None)


@pytest.mark.parametrize("order", ["predict-first", "explain-first"])
@pytest.mark.parametrize("how", UNREADABLE)
async def test_an_answer_counts_whatever_its_explanation_is(
    how: str, order: str, workplace: Path, planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = (await audited(workplace, "calm", monkeypatch, order)).replies[0]
    assert (calm.n, calm.parsed) == (5, 5)
    assert isinstance(calm.accuracy, Value)
    assert calm.accuracy.value == pytest.approx(4 / 5)

    def garbled(text: str, reply: str) -> str:
        """The first text's answer is right, the last one's wrong, and both explanations unreadable; the second text has no answer."""
        if "Importance:" not in reply or text not in (FIRST, SECOND, LAST):
            return reply
        if text == SECOND:
            return "I would rather not say."
        lines = [UNREADABLE[how] if line.startswith("Importance:") else line for line in reply.splitlines()]
        return "\n".join(filter(None, lines))

    planted.garble = garbled
    results = await audited(workplace, "garbled", monkeypatch, order)
    (replies,) = results.replies
    assert (replies.n, replies.parsed) == (5, 2)
    assert sum(each.n for each in replies.failed) == 3
    assert sum(each.n for each in replies.failed if each.stage in ("explain", "align")) == 2
    assert sum(each.n for each in replies.failed if each.stage == "predict") == 1
    # Right: the first, third and fourth of five; the second, without an answer, is not, and neither is the last.
    assert isinstance(replies.accuracy, Value)
    assert (replies.accuracy.value, replies.accuracy.n) == (pytest.approx(3 / 5), 5)
    (own,) = (row for row in results.rows if row.source == "self")
    assert (own.n, own.n_failed) == (2, 3)
    items = {
        item["text"]: item for item in map(json.loads, (workplace / "garbled" / "items.jsonl").read_text(encoding="utf-8").splitlines())
    }
    assert items[FIRST]["attributions"]["self"]["failed"] is True
    assert len(items[THIRD]["attributions"]["self"]) == len(items[THIRD]["units"])
