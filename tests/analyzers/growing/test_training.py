"""A small model is trained: it learns, it is kept at log-spaced steps, and a killed training ends with the same weights."""

import math
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import CorpusError, RunFolderError
from analyzers.growing.checkpoints import find_series
from analyzers.growing.recipe import Plan, Recipe
from analyzers.growing.small_tokenizer import END, small_tokenizer
from analyzers.growing.training import losses, train_series

TINY = Recipe(width=32, layers=2, heads=2, inner=48, vocabulary=300, context=16, batch=8, rate=1e-2)
PREPARE = "import analyzers.growing.training; from transformers import AutoTokenizer, LlamaForCausalLM"
PROGRAM = """
import os
import signal
import sys
from pathlib import Path
from analyzers.growing.recipe import Recipe
from analyzers.growing.training import train_series
recipe = Recipe(width=32, layers=2, heads=2, inner=48, vocabulary=300, context=16, batch=8, rate=1e-2)
def report(what, done, total):
    if what == "train seed 0" and str(done) == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
train_series(sys.argv[1], Path(sys.argv[2]), steps=20, recipe=recipe, device="cpu", report=report)
"""


@pytest.fixture
def grammar(tmp_path: Path) -> Path:
    """Sentences of one form, of which only the two animals and the verb are free: 3 x ln 2 nats a sentence."""
    draw = random.Random(0)
    animals, verbs = ("cat", "dog"), ("sees", "hears")
    lines = [f"the {draw.choice(animals)} {draw.choice(verbs)} the {draw.choice(animals)} ." for _ in range(600)]
    path = tmp_path / "grammar.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_loss_falls_to_what_the_grammar_leaves_open(grammar: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = tmp_path / "grown"
    plan = train_series(str(grammar), folder, steps=150, recipe=TINY, device="cpu", report=lambda *told: seen.append(told))
    (series,) = find_series(folder)
    assert list(series.steps) == plan.checkpoints() == [0, 1, 2, 4, 8, 16, 32, 64, 128, 150]
    noted = losses(folder / "seed-0")
    assert [each["step"] for each in noted] == list(series.steps)
    held_out = [each["held_out"] for each in noted]
    tokenizer = series.checkpoints[0].load(dtype="float32", device="cpu").tokenizer
    tokens = len(tokenizer.encode(grammar.read_text("utf-8"), add_special_tokens=False, verbose=False)) / 600
    least = 3 * math.log(2) / tokens
    assert held_out[0] == pytest.approx(math.log(len(tokenizer)), rel=0.15)
    # A block begins anywhere, so that its first tokens are told less well.
    assert 0.8 * least < held_out[-1] < 2.5 * least < held_out[0] / 4
    assert [(done, total) for what, done, total in seen if what == "train seed 0"] == [(done, 150) for done in range(151)]
    assert not (folder / "seed-0" / "resume.safetensors").exists()
    # What was trained is trained no more.
    seen.clear()
    train_series(str(grammar), folder, steps=150, recipe=TINY, device="cpu", report=lambda *told: seen.append(told))
    assert not seen


def test_checkpoints_are_models_that_any_command_reads(grammar: Path, tmp_path: Path) -> None:
    train_series(str(grammar), tmp_path / "grown", steps=1, seeds=[3, 4], recipe=TINY, device="cpu")
    three, four = find_series(tmp_path / "grown")
    assert [three.name, four.name] == ["seed-3", "seed-4"]
    model = three.checkpoints[0].load(dtype="float32", device="cpu")
    assert (model.causal, model.layers, model.limit) == (True, 2, 16)
    assert model.prompt("the cat sees").ids[0] == model.tokenizer.bos_token_id
    other = four.checkpoints[0].load(dtype="float32", device="cpu")
    assert not (model.model.lm_head.weight == other.model.lm_head.weight).all()


def test_a_killed_training_ends_with_the_same_weights(grammar: Path, tmp_path: Path, forks: Any) -> None:
    def start(folder: str, killed_at: str = "never") -> Any:
        return forks.start(PROGRAM, str(grammar), folder, killed_at, folder=tmp_path, prepare=PREPARE)

    # Between two checkpoints, so that the steps since the last note of the weights are made again.
    calm, killed = start("calm"), start("killed", "11")
    assert calm.wait() == 0, calm.err.read_text("utf-8")
    assert killed.wait() == -signal.SIGKILL
    seed = tmp_path / "killed" / "seed-0"
    assert sorted(path.name for path in seed.glob("checkpoint-*")) == [f"checkpoint-{step}" for step in (0, 1, 2, 4, 8)]
    again = start("killed")
    assert again.wait() == 0, again.err.read_text("utf-8")
    for step in (0, 8, 16, 20):
        one, other = ((tmp_path / which / f"seed-0/checkpoint-{step}/model.safetensors").read_bytes() for which in ("calm", "killed"))
        assert one == other, step
    assert losses(tmp_path / "calm/seed-0") == losses(seed)
    assert [path.name for path in seed.glob(".*")] == []


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9, 1000])
def test_checkpoints_are_powers_of_two_and_the_last_step(steps: int) -> None:
    found = Plan(steps, "", TINY).checkpoints()
    assert found[0] == 0
    assert found[-1] == steps
    assert all(math.log2(each).is_integer() for each in found[1:-1])
    assert len(found) == len(set(found)) == math.ceil(math.log2(steps)) + 2


def test_the_rate_rises_and_falls_along_a_cosine() -> None:
    plan = Plan(200, "", TINY)
    rates = [plan.rate(step) for step in range(1, 201)]
    assert max(rates) == rates[9] == TINY.rate
    assert rates[0] == pytest.approx(TINY.rate / 10)
    assert rates[-1] == pytest.approx(TINY.rate / 10)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert plan.rate(105) == pytest.approx(TINY.rate * (0.1 + 0.9 * 0.5))


def test_the_tokenizer_knows_every_byte_and_begins_texts() -> None:
    tokenizer = small_tokenizer(["the cat sees the dog"] * 3, 270, 64)
    text = "Ein Käse 🧀 \x01"
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_token_id == tokenizer.eos_token_id
    assert tokenizer.decode(ids[1:]) == text
    assert tokenizer.convert_ids_to_tokens(ids[0]) == END


def test_other_trainings_and_strange_folders_are_not_written_into(grammar: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grown"
    train_series(str(grammar), folder, steps=1, recipe=TINY, device="cpu")
    with pytest.raises(RunFolderError, match="steps 1, not 2"):
        train_series(str(grammar), folder, steps=2, recipe=TINY, device="cpu")
    other = tmp_path / "other.txt"
    other.write_text("another text " * 900)
    with pytest.raises(RunFolderError, match="with corpus"):
        train_series(str(other), folder, steps=1, recipe=TINY, device="cpu")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match=r"holds 'thesis\.tex' and no training"):
        train_series(str(grammar), strange, steps=1, recipe=TINY, device="cpu")
    short = tmp_path / "short.txt"
    short.write_text("too short")
    with pytest.raises(CorpusError, match="tokens long, which nothing can be learnt from"):
        train_series(str(short), tmp_path / "none", steps=1, recipe=TINY, device="cpu")
    with pytest.raises(ValueError, match="minutes or steps"):
        train_series(str(grammar), folder, recipe=TINY)


def test_minutes_become_steps_that_are_kept(grammar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.growing.training.TRIAL_SECONDS", 0.0)
    plan = train_series(str(grammar), tmp_path / "grown", minutes=1e-6, recipe=TINY, device="cpu")
    assert plan.steps == 1
    assert train_series(str(grammar), tmp_path / "grown", minutes=1e-6, recipe=TINY, device="cpu") == plan
    with pytest.raises(RunFolderError, match="minutes"):
        train_series(str(grammar), tmp_path / "grown", minutes=5, recipe=TINY, device="cpu")
