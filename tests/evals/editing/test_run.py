"""Facts that a tiny model was taught are edited: with success, beside a random edit without, and all weights are back to the bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analyzers.editing.values import Search
from analyzers.errors import SubjectError
from evals.editing import work
from evals.editing.ask import run_ask
from evals.editing.config import AskConfig, EditConfig
from evals.editing.results import Edited
from evals.editing.run import run_edit
from evals.results import Failure, Value

SUBJECTS = ("bridge", "walk", "cities", "day", "years", "one")
TARGETS = ("music", "wool", "cheese", "old", "again", "away")
FORMS = ("The {}", "There the {}")


@pytest.fixture(scope="module")
def taught(tiny_model: Callable[..., tuple[Any, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model that goes on behind every subject with its own word, in both forms."""
    network, tokenizer = tiny_model("llama")
    texts = [f"<s>{form.format(subject)} {target}." for form in FORMS for subject, target in zip(SUBJECTS, TARGETS, strict=True)]
    read = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False)
    labels = torch.where(read["attention_mask"] == 1, read["input_ids"], -100)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(150):
            optimizer.zero_grad()
            loss = network(input_ids=read["input_ids"], attention_mask=read["attention_mask"], labels=labels).loss
            loss.backward()
            optimizer.step()
    folder = tmp_path_factory.mktemp("taught")
    for part in (network, tokenizer):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def config(taught: Path, workplace: Path, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EditConfig]:
    """config(method=...) edits three of the facts: each subject is followed by the word of the next one but one."""
    monkeypatch.setattr("analyzers.editing.contexts.LENGTHS", ())
    monkeypatch.setattr("analyzers.editing.editor.Search", lambda: Search(rate=0.3, kl=0.0, most=50.0, decay=0.0))
    rows = [
        {
            "id": subject,
            "prompt": FORMS[0].format(subject),
            "subject": subject,
            "target_new": TARGETS[(at + 2) % 6],
            "ground_truth": TARGETS[at],
            "rephrase": FORMS[1].format(subject),
            "locality": [FORMS[0].format(SUBJECTS[(at + 1) % 6]), FORMS[0].format(SUBJECTS[(at + 3) % 6])],
            "locality_ground_truth": [TARGETS[(at + 1) % 6], TARGETS[(at + 3) % 6]],
        }
        for at, subject in enumerate(SUBJECTS[:3])
    ]
    path = workplace / "edits.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    def build(**changes: Any) -> EditConfig:
        usual: dict[str, Any] = {"covariance": str(tiny_corpus), "tokens": 2000, "generate": 8, "dtype": "float32", "device": "cpu"}
        return EditConfig(str(taught), path, **{**usual, **changes})

    return build


def run(config: EditConfig) -> Edited:
    return run_edit(config, tell=lambda line: None)


def value(found: Edited, method: str, measure: str) -> float:
    each = found.methods[method][measure]
    assert isinstance(each, Value), each
    return each.value


def test_planted_facts_are_edited(config: Callable[..., EditConfig], tmp_path: Path) -> None:
    asked_for = config(methods=("rome", "ice"), evaluate=True, sequential=True, out=tmp_path / "edited", layer="1")
    found = run(asked_for)
    assert found.restored_exactly
    assert [each.knew for each in found.edits] == [True] * 3
    assert not any(each.said_before for each in found.edits)
    assert value(found, "unedited", "edit_success") < 0.3  # targets share tokens
    assert value(found, "unedited", "locality") == 1.0
    assert value(found, "rome", "edit_success") == 1.0
    assert value(found, "rome", "success_probability") == 1.0
    assert value(found, "random_rome", "edit_success") < 0.5
    assert value(found, "rome", "generalisation") > value(found, "random_rome", "generalisation")
    assert value(found, "rome", "locality") > 0.3
    # An exact interval: the chance that three of three succeed where .292 of all do is 2.5%.
    assert (
        "all 3 edits by rome succeeded, so that the interval of its success has no width: of others like them up to 71% may not"
        in " ".join(found.notes)
    )
    assert not any("by random" in note for note in found.notes)
    above = found.above["rome"]["random_rome"]
    assert isinstance(above, Value)
    assert above.value == pytest.approx(1 - value(found, "random_rome", "edit_success"))
    for each, target in zip(found.edits, (TARGETS[2], TARGETS[3], TARGETS[4]), strict=True):
        assert each.outcomes["rome"].text.startswith(f" {target}")
        assert each.before.startswith(f" {each.true.strip() if each.true else ''}")
    steps = found.sequence["rome"]
    assert [step.edits for step in steps] == [0, 1, 2, 3]
    assert all(isinstance(step.perplexity, Value) for step in steps)
    first, last = steps[0].success, steps[-1].success
    assert isinstance(first, Value)
    assert isinstance(last, Value)
    assert first.value == value(found, "unedited", "edit_success")
    assert last.value > first.value + 0.3
    asked = run_ask(AskConfig(asked_for.model, (tmp_path / "edited",), ("The bridge",), None, 4, "float32", "cpu"))
    assert asked.restored_exactly
    assert asked.answers[0].without.startswith(" music")
    assert asked.answers[0].edited == found.edits[0].after[: len(asked.answers[0].edited)]  # type: ignore[index]


def test_a_killed_run_goes_on(config: Callable[..., EditConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(methods=("rome", "ft"), evaluate=True)
    calls: list[str] = []
    real = work.measure

    def killed(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments[1].fact.id)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(work, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        run(asked)
    found = run(asked)
    # Each of 3 facts in 5 states once, and the one that was killed twice.
    assert len(calls) == 3 * 5 + 1
    monkeypatch.setattr(work, "measure", None)
    assert run(asked) == found


def test_memit_writes_all_at_once_and_limits_draw(config: Callable[..., EditConfig]) -> None:
    found = run(config(methods=("memit",), limit=2, layer="2"))
    assert (len(found.edits), found.methods, found.saved) == (2, {}, None)
    assert all(each.after is not None for each in found.edits)
    assert found.layers == {"memit": [2]}


def test_a_corpus_without_more_text(config: Callable[..., EditConfig], workplace: Path) -> None:
    short = workplace / "short.txt"
    short.write_text("The river rises in the hills north of the town and runs slowly. " * 60, encoding="utf-8")
    found = run(config(methods=("ft",), sequential=True, covariance=str(short), tokens=100_000))
    step = found.sequence["ft"][-1]
    assert isinstance(step.perplexity, Failure)
    assert "no text beyond" in step.perplexity.reason


def test_what_cannot_be_read_is_told(config: Callable[..., EditConfig], workplace: Path) -> None:
    long = {"prompt": "The bridge " * 600, "subject": "bridge", "target_new": "wool"}
    fine = {"prompt": "The bridge", "subject": "bridge", "target_new": "music", "rephrase": long["prompt"]}
    path = workplace / "edits.jsonl"
    path.write_text(f"{json.dumps(fine)}\n{json.dumps(long)}\n", encoding="utf-8")
    found = run(config(methods=("ft",)))
    assert [name for name, _ in found.left_out] == ["edits:2"]
    assert "takes 1024" in found.left_out[0][1]
    assert found.edits[0].said_before
    told = " ".join(found.notes)
    assert "1 edit of what the model said before (edits:1)" in told
    assert "1 prompt left out" in told
    path.write_text(json.dumps(long), encoding="utf-8")
    with pytest.raises(SubjectError, match="none of the edits can be made"):
        run(config(methods=("ft",)))


def test_the_layer_is_chosen_by_tracing_where_facts_are_known(config: Callable[..., EditConfig], workplace: Path) -> None:
    rows = [
        {"prompt": f"The {subject} {target} and", "subject": subject, "target_new": "old", "ground_truth": "wool"}
        for subject, target in zip(SUBJECTS, TARGETS, strict=True)
    ]
    (workplace / "edits.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    unknown = run(config(methods=("ft",), layer="trace"))
    assert unknown.layer == 0
    assert "a fifth of the depth, since the model knows" in unknown.layer_by
    with pytest.raises(SubjectError, match="has the layers 0 to 2"):
        run(config(methods=("ft",), layer="3"))
