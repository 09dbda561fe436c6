"""Live audits of local models: beliefs are those of forward passes, and a random model's garbage is counted, whatever the texts."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from agents.beliefs import Question
from agents.self_explanations import ELICITATIONS, ask
from analyzers.engine import Engine
from evals.audit.config import AuditConfig
from evals.audit.live import audit
from evals.audit.results import AuditItem, AuditResults
from evals.each import Stopped
from evals.label_config import Limits
from evals.results import Failure
from evals.tasks.task import load_task

Audit = Callable[..., Any]
TEXTS = ("The old bridge was slow.", "They sell honey and a little luck.", "It rises in the meadows")
SAME = ("items.jsonl", "perturbations.parquet")


@pytest.fixture
def run(workplace: Path, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """await run("folder", TEXTS, **options) audits a local model of random weights; the replies of each folder are kept apart."""

    async def work(
        out: str, texts: Sequence[str], *, task: str = "sentiment", limits: Limits | None = None, **changes: Any
    ) -> AuditResults:
        monkeypatch.setenv("EXPLICATE_REPLIES", str(workplace / "store" / out / "replies.sqlite"))
        path = workplace / "texts.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        asked, items = load_task(task, items=str(path))
        options: dict[str, Any] = {
            "model": f"local:{tiny_llm}",
            "task": task,
            "items": str(path),
            "random": 2,
            "dtype": "float32",
            "device": "cpu",
        } | changes
        return await audit(AuditConfig.checked(**options), workplace / out, asked, items, limits=limits or Limits(), tell=lambda line: None)

    return work


def items_of(folder: Path) -> list[AuditItem]:
    return [AuditItem.model_validate_json(line) for line in (folder / "items.jsonl").read_text(encoding="utf-8").split("\n") if line]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "perturbations.parquet").to_pylist()
    return rows


@torch.inference_mode()
def naive(engine: Engine, question: Question) -> dict[str, float]:
    """The probability of each label after the written conversation, by one forward pass each, among the labels."""
    turns = [message.model_dump() for message in question.messages]
    written = engine.written([*turns, {"role": "assistant", "content": question.lead}])
    assert written.endswith(question.lead)
    ids = [*engine.tokens.start, *engine.tokens.encode(written)]
    found = []
    for label in question.labels:
        said = engine.tokens.encode(f" {label}")
        logprobs = torch.log_softmax(engine.model(torch.tensor([[*ids, *said]])).logits[0].double(), -1)
        found.append(sum(float(logprobs[len(ids) - 1 + at, token]) for at, token in enumerate(said)))
    shares = np.exp(np.array(found) - np.logaddexp.reduce(found))
    return dict(zip(question.labels, shares.tolist(), strict=True))


async def test_beliefs_are_those_of_forward_passes_over_the_written_conversation(run: Audit, workplace: Path, tiny_llm: Path) -> None:
    results = await run("out", TEXTS)
    assert {row.belief for row in results.rows} == {"logprobs"}
    engine = Engine.load(str(tiny_llm), dtype="float32", device="cpu")
    asking = load_task("sentiment")[0].asking()
    perturbed = [row for row in rows_of(workplace / "out") if row["kept"] is not None and 0 < len(row["kept"]) < 5]
    assert len({row["text"] for row in perturbed}) > 20
    chosen = [perturbed[at] for at in (0, len(perturbed) // 2, -1)]
    assert {row["operator"] for row in chosen} == {"delete", "mask"}
    for row in chosen:
        assert row["text"] != TEXTS[row["item"]]
        question = ask(asking, row["text"], ELICITATIONS.get(row["prompt"]))
        assert json.loads(row["probabilities"]) == pytest.approx(naive(engine, question), abs=1e-4)
    assert len({row["probabilities"] for row in chosen}) == 3


async def test_a_run_that_limits_stop_again_and_again_ends_as_one_that_none_stops(run: Audit, workplace: Path) -> None:
    await run("calm", TEXTS)
    calm = json.loads((workplace / "calm" / "results.json").read_text(encoding="utf-8"))
    stops = 0
    while True:
        try:
            await run("stopped", TEXTS, limits=Limits(calls=40))
            break
        except Stopped:
            stops += 1
            assert stops < 10
    assert stops >= 2
    ended = json.loads((workplace / "stopped" / "results.json").read_text(encoding="utf-8"))
    for told in ("calls", "tokens", "usd"):
        del calm[told], ended[told]
    assert json.dumps(ended) == json.dumps(calm)
    for name in SAME:
        assert (workplace / "stopped" / name).read_bytes() == (workplace / "calm" / name).read_bytes(), name


ORDERS = ("predict-first", "explain-first")
FORMS = ("attribution", "counterfactual", "free-text", "redaction", "top-k")


async def test_garbage_is_counted_and_leaves_the_figures_of_perturbations(run: Audit, workplace: Path) -> None:
    results = await run(
        "out", ["It rises slowly", "Herons and otters"], elicit=FORMS, order=ORDERS, operators=("delete",), checks=("redaction",)
    )
    assert [(each.elicitation, each.order) for each in results.replies] == [(form, order) for form in FORMS for order in ORDERS]
    for each in results.replies:
        assert (each.n, each.parsed, sum(failed.n for failed in each.failed)) == (2, 0, 2)
        assert {failed.stage for failed in each.failed} <= {"ask", "predict", "explain", "align"}
    assert results.void
    assert results.verdict == "undecided"
    mine = [row for row in results.rows if row.source == "self"]
    assert len(mine) == 10
    assert all((row.n, row.n_failed, row.void) == (0, 2, True) for row in mine)
    assert all(isinstance(value, Failure) for row in mine for value in row.metrics.values())
    assert all((row.n, row.void) == (2, False) for row in results.rows if row.source == "occlusion")
    assert len(results.checks) == 2
    assert all(isinstance(value, Failure) for check in results.checks for value in check.figures.values())
    items = items_of(workplace / "out")
    assert len(items) == 20
    assert all(isinstance(item.attributions["self"], Failure) and item.reply for item in items)


async def test_odd_texts_are_perturbed_or_counted(run: Audit, workplace: Path) -> None:
    odd = ["superb", " ".join(["river"] * 5000), "👍🏽 so fine 👨‍👩‍👧", "川は美しい"]
    results = await run("out", odd, operators=("mask",))
    (found,) = [row for row in results.rows if row.source == "occlusion"]
    assert (found.n, found.n_failed) == (2, 2)
    reasons = {item.text: item.answer.reason for item in items_of(workplace / "out") if isinstance(item.answer, Failure)}
    assert reasons.keys() == {odd[0], odd[1]}
    assert "1 units" in reasons[odd[0]]
    rows = rows_of(workplace / "out")
    assert {row["item"] for row in rows} == {2, 3}
    assert all(row["failed"] is None for row in rows)
    units = {2: ("👍🏽", "so", "fine", "👨‍👩‍👧"), 3: tuple(odd[3])}
    for row in rows:
        if row["kept"] is not None:
            gone = [unit for at, unit in enumerate(units[row["item"]]) if at not in row["kept"]]
            assert not any(unit in row["text"] for unit in gone), row


async def test_a_text_that_the_model_cannot_take_fails_alone(run: Audit, workplace: Path, tiny_model: Callable[..., Any]) -> None:
    small = workplace / "small"
    for part in tiny_model("llama", max_position_embeddings=2048):
        part.save_pretrained(small)
    task = workplace / "mine.toml"
    task.write_text('instruction = "How is it?"\nlabels = ["good", "bad"]\nunit = "sentence"\n', encoding="utf-8")
    texts = [" ".join(["river"] * 2500 + ["sea."] + ["river"] * 2500), "It is old. It is slow. Nobody comes."]
    results = await run("out", texts, task=str(task), model=f"local:{small}", operators=("delete",))
    (found,) = [row for row in results.rows if row.source == "occlusion"]
    assert (found.n, found.n_failed) == (1, 1)
    long, short = items_of(workplace / "out")
    assert isinstance(long.answer, Failure)
    assert "2048" in long.answer.reason
    assert isinstance(long.attributions["self"], Failure)
    assert "2048" in long.attributions["self"].reason
    assert not isinstance(short.answer, Failure)
