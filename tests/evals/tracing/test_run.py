"""Runs over planted facts: what is seen, what is kept of a killed one, and what a user can mend."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import CorpusError, ExplicateError, SubjectError
from evals.results import Failure, Value
from evals.tracing.config import TraceConfig
from evals.tracing.run import run_trace


@pytest.fixture
def config(planted_facts: Any, workplace: Path) -> TraceConfig:
    for part in (planted_facts.model, planted_facts.tokenizer):
        part.save_pretrained(workplace / "model")
    written(workplace, planted_facts.facts)
    return TraceConfig("model", Path("facts.jsonl"), window=1, samples=2, dtype="float32", device="cpu")


def written(folder: Path, records: Sequence[object]) -> None:
    (folder / "facts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def test_planted_facts_are_seen_where_they_are(config: TraceConfig, planted_facts: Any, workplace: Path) -> None:
    unknown = {**planted_facts.facts[0], "target": " iron"}
    ends = {**planted_facts.facts[1], "prompt": "Visitors say the old school"}
    written(workplace, [*planted_facts.facts, unknown, ends, planted_facts.facts[0]])
    found = run_trace(config)
    assert (found.known, found.tried, found.there) == (6, 7, 8)
    assert [(each.target, each.says) for each in found.not_known] == [(" iron", " cheese")]
    assert "the prompt ends with its subject" in found.left_out[0].reason
    assert {name: claim.seen for name, claim in found.claims.items()} == {
        "subject_noise": True,
        "mlp_last_subject": True,
        "attention_last": True,
        "subject_attention": True,
    }
    assert found.claims["mlp_last_subject"].peak == Value(value=planted_facts.stored, low=1, high=1, n=6)
    assert found.claims["attention_last"].peak == Value(value=planted_facts.moved, low=2, high=2, n=6)
    at = found.token_classes.index("last_subject")
    total = found.total_effect
    assert isinstance(total, Value)
    for layer, row in enumerate(found.effect["mlp"]):
        cell = row[at]
        assert isinstance(cell, Value)
        assert cell.value == pytest.approx(total.value if layer == planted_facts.stored else 0, abs=0.02)
    assert {fact.subject for fact in found.facts} == {fact["subject"] for fact in planted_facts.facts}
    assert not isinstance(found.knockout, Failure)
    assert found.lens.other_probability[-1] != found.lens.probability[-1]


def test_a_killed_run_goes_on_where_it_was(config: TraceConfig, monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    from analyzers.tracing.trace import trace

    config = replace(config, kinds=("mlp",), samples=1)
    ran = []

    def killed(*args: Any, **kwargs: Any) -> Any:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(1)
        return trace(*args, **kwargs)

    monkeypatch.setattr("analyzers.tracing.trace.trace", killed)
    with pytest.raises(KeyboardInterrupt):
        run_trace(config)
    more: list[int] = []
    monkeypatch.setattr("analyzers.tracing.trace.trace", lambda *args, **kwargs: (more.append(1), trace(*args, **kwargs))[1])
    found = run_trace(config)
    assert (len(ran), len(more)) == (3, 3)
    assert run_trace(config) == found
    assert len(more) == 3
    monkeypatch.setenv("EXPLICATE_PASSES", str(workplace / "others"))
    again = run_trace(config)
    assert len(more) == 9
    assert again.model_copy(update={"cost": found.cost}) == found
    run_trace(replace(config, noise=2.0))
    assert len(more) == 15


def test_a_limit_is_of_known_facts(config: TraceConfig, planted_facts: Any, workplace: Path) -> None:
    wrong = [{**fact, "prompt": fact["prompt"] + " summer"} for fact in planted_facts.facts]
    other = [{**fact, "target": " iron"} for fact in planted_facts.facts[:-1]]
    written(workplace, [*wrong, *other, *planted_facts.facts])
    found = run_trace(replace(config, limit=2, least=2, kinds=("mlp",)))
    assert found.known == 2
    assert found.kinds == list(found.effect) == ["mlp"]
    assert found.tried == 2 + len(found.not_known) < found.there == 17
    assert any("few facts (2)" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kinds": ("mlp", "heads")}, "--kinds 'heads': choose of residual, mlp, attention"),
        ({"kinds": ()}, "--kinds names nothing"),
        ({"limit": -1}, "--limit -1: give how many"),
        ({"least": 1}, "--least 1: an interval over facts needs 2"),
        ({"limit": 3}, "--limit 3 is below the 5 facts"),
        ({"samples": 0}, "--samples 0: give 1 or more"),
        ({"window": 0}, "--window 0: give 1 or more"),
        ({"noise": 0.0}, "--noise 0: without noise nothing is forgotten"),
        ({"noise": float("nan")}, "--noise nan"),
        ({"least": 7, "limit": 0}, "holds 6 facts, and --least asks for 7"),
        ({"facts": Path("none.jsonl")}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_told_before_a_model_is_loaded(
    changes: dict[str, Any], said: str, config: TraceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.text_model.TextModel.load", None)
    with pytest.raises(ExplicateError, match=said):
        run_trace(replace(config, **changes))


def test_facts_that_are_not_known_or_cannot_be_traced(config: TraceConfig, planted_facts: Any, workplace: Path) -> None:
    written(workplace, [{**fact, "target": " otters"} for fact in planted_facts.facts])
    with pytest.raises(
        ExplicateError, match=r"model knows none of the 6 facts .* \(not 'Visitors .*: there it says ' \w+'\), and --least asks for 5"
    ):
        run_trace(config)
    written(workplace, [{**fact, "prompt": fact["subject"]} for fact in planted_facts.facts])
    with pytest.raises(SubjectError, match="no fact can be traced, the first since the prompt ends with its subject"):
        run_trace(config)
    written(workplace, [{**fact, "subject": "Paris"} for fact in planted_facts.facts])
    with pytest.raises(CorpusError, match="line 1: the subject 'Paris' does not stand in the prompt"):
        run_trace(config)
    written(workplace, [])
    with pytest.raises(CorpusError, match="holds no fact"):
        run_trace(config)


def test_an_encoder_is_refused(config: TraceConfig, tiny_checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(SubjectError, match="is an encoder, which continues no text"):
        run_trace(replace(config, model=str(tiny_checkpoint("bert"))))


def test_a_long_prompt_is_left_out(config: TraceConfig, planted_facts: Any, workplace: Path) -> None:
    long = {**planted_facts.facts[0], "prompt": "river " * 3000 + planted_facts.facts[0]["prompt"]}
    written(workplace, [*planted_facts.facts, long])
    found = run_trace(replace(config, kinds=("residual",)))
    assert "takes 2048" in found.left_out[0].reason
    assert found.known == 6
