"""Trains a small causal language model on a corpus, and keeps it at log-spaced steps, in folders as Hugging Face's trainer makes them.

A folder of several seeds: `training.json` (what decides the weights), `tokenizer/`, `tokens.npy`, and of each seed `seed-<n>/` with
`checkpoint-<step>/` folders, `losses.json`, and until it ends `resume.safetensors`. What is drawn at a step hangs on seed and step
alone, so that a killed training goes on at the last note of its weights and, with as many threads, ends with the same ones.
"""

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analyzers.corpus import documents, source_identity
from analyzers.errors import AssetError, CorpusError, RunFolderError
from analyzers.growing.blocks import Blocks
from analyzers.growing.recipe import USUAL, Plan, Recipe
from analyzers.growing.small_model import learn, loss_of, optimiser_of, small_model
from analyzers.growing.small_tokenizer import small_tokenizer
from analyzers.loading import choose_device
from analyzers.pass_folder import FORMAT, alone, read_json, write_json, write_tensors
from analyzers.progress import Report, quiet
from analyzers.threads import torch_threads
from analyzers.whole_files import open_weights, replaced

THREADS = 2
"""At most: more make tiny matrices no faster, and their number has a part in how sums are rounded."""
KEEP_EVERY = 30.0
"""Seconds between two notes of the weights, besides those at checkpoints."""
TRIAL_STEPS, TRIAL_SECONDS = 5, 3.0
"""By so many steps at least, that last so long, is told how many the minutes hold; one before them is not counted."""
_PLAN, _TOKENS, _RESUME, _LOSSES = "training.json", "tokens.npy", "resume.safetensors", "losses.json"


def train_series(
    corpus: str,
    folder: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seeds: Sequence[int] = (0,),
    recipe: Recipe | None = None,
    device: str = "auto",
    report: Report = quiet,
) -> Plan:
    """Train a model for each seed, all for as many steps; the same call goes on where it was killed, and does nothing where it ended.

    minutes: of one seed's training, as the first steps on this machine let expect; without, or once a folder was begun, steps says it.
    Raises ExplicateError (CorpusError for a text that is shorter than a few blocks, RunFolderError for a folder of another training).
    """
    from transformers.utils.logging import disable_progress_bar

    recipe = recipe or USUAL
    if (minutes is None) == (steps is None):
        raise ValueError("give minutes or steps")
    disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller's Report tells where things stand
    with alone(folder, report), torch_threads(THREADS):
        plan = _begin(corpus, folder, minutes, steps, recipe, device, report)
        tokenizer = _tokenizer(folder)
        blocks = _blocks(folder, recipe)
        for seed in seeds:
            _Training(plan, folder / f"seed-{seed}", seed, tokenizer, blocks, choose_device(device)).run(report)
    return plan


def losses(folder: Path) -> list[dict[str, float]]:
    """Of a seed's folder [checkpoint] `step`, `trained` (mean of the steps since the checkpoint before) and `held_out`, in nats a token;
    none where it was not trained here."""
    path = folder / _LOSSES
    found: list[dict[str, float]] = read_json(path)["losses"] if path.is_file() else []
    return found


# ---- what all seeds share


def _begin(corpus: str, folder: Path, minutes: float | None, steps: int | None, recipe: Recipe, device: str, report: Report) -> Plan:
    """The plan of a folder; where it has none, its tokenizer and tokens are made, and the plan is written last."""
    identity = source_identity(corpus, report=report)
    path = folder / _PLAN
    if path.exists():
        kept = read_json(path)
        asked = {"corpus": identity, "recipe": asdict(recipe), "minutes": minutes}
        asked |= {} if steps is None else {"steps": steps}
        for key, value in asked.items():
            if kept[key] != value:
                raise RunFolderError(f"{str(folder)!r} holds a training with {key} {kept[key]!r}, not {value!r}; name another folder")
        return Plan(kept["steps"], identity, recipe)
    strange = [each.name for each in folder.iterdir() if each.name not in ("tokenizer", _TOKENS, "lock")]
    if strange:
        raise RunFolderError(f"{str(folder)!r} holds {sorted(strange)[0]!r} and no training; name an empty or a new folder to train into")
    _read_corpus(corpus, folder, recipe, report)
    if steps is None:
        assert minutes is not None
        report("try how fast steps are", 0, 0)
        steps = _steps_in(minutes, folder, recipe, device)
    write_json(path, {"format": FORMAT, "corpus": identity, "recipe": asdict(recipe), "minutes": minutes, "steps": steps})
    return Plan(steps, identity, recipe)


def _read_corpus(corpus: str, folder: Path, recipe: Recipe, report: Report) -> None:
    report("train a tokenizer", 0, 0)
    texts = [document.text for document in documents(corpus, report=report)]
    tokenizer = small_tokenizer(texts, recipe.vocabulary, recipe.context)
    shutil.rmtree(folder / "tokenizer", ignore_errors=True)
    tokenizer.save_pretrained(folder / "tokenizer")
    found: list[int] = []
    for number, text in enumerate(texts):
        found += tokenizer.encode(text, verbose=False)  # begins with the token that ends the text before it
        report("read the corpus", number + 1, len(texts))
    least = 4 * recipe.context
    if len(found) < least:
        raise CorpusError(f"{corpus!r} is {len(found)} tokens long, which nothing can be learnt from; give a text of {least:,} or more")
    with replaced(folder / _TOKENS) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(found, np.int32))


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "tokenizer")


def _blocks(folder: Path, recipe: Recipe) -> Blocks:
    return Blocks(np.load(folder / _TOKENS, mmap_mode="r"), recipe.context)


def _steps_in(minutes: float, folder: Path, recipe: Recipe, device: str) -> int:
    """By some steps of a model that is thrown away."""
    place = choose_device(device)
    tokenizer, blocks = _tokenizer(folder), _blocks(folder, recipe)
    model = small_model(recipe, tokenizer, 0).to(place)
    optimiser = optimiser_of(model, recipe)
    took: list[float] = []
    while len(took) <= TRIAL_STEPS or sum(took[1:]) < TRIAL_SECONDS:
        started = time.perf_counter()
        learn(model, optimiser, blocks.drawn(0, len(took), recipe.batch).to(place), recipe.rate)
        took.append(time.perf_counter() - started)
    return max(1, round(60 * minutes / float(np.median(took[1:]))))


# ---- one seed


class _Training:
    """The training of one seed in its folder."""

    def __init__(self, plan: Plan, folder: Path, seed: int, tokenizer: Any, blocks: Blocks, device: torch.device) -> None:
        self._plan, self._folder, self._seed, self._tokenizer, self._blocks = plan, folder, seed, tokenizer, blocks
        self._model = small_model(plan.recipe, tokenizer, seed).to(device)
        self._optimiser = optimiser_of(self._model, plan.recipe)
        self._device = device
        self._since: list[float] = []
        """Losses of the steps since the last checkpoint."""

    def run(self, report: Report) -> None:
        """To its end."""
        self._folder.mkdir(exist_ok=True)
        if (self._folder / f"checkpoint-{self._plan.steps}").is_dir():
            (self._folder / _RESUME).unlink(missing_ok=True)
            return
        what = f"train seed {self._seed}"
        checkpoints = set(self._plan.checkpoints())
        done = self._resume()
        if done == 0:
            self._keep(0)
        noted = time.monotonic()
        report(what, done, self._plan.steps)
        for step in range(done + 1, self._plan.steps + 1):
            blocks = self._blocks.drawn(self._seed, step, self._plan.recipe.batch).to(self._device)
            self._since.append(learn(self._model, self._optimiser, blocks, self._plan.rate(step)))
            if not math.isfinite(self._since[-1]):
                raise AssetError(f"the loss of seed {self._seed} is no step at step {step}; train on another text or with another --seed")
            if step in checkpoints:
                self._keep(step)
            if step in checkpoints or time.monotonic() - noted > KEEP_EVERY:
                self._note(step)
                noted = time.monotonic()
            report(what, step, self._plan.steps)
        (self._folder / _RESUME).unlink(missing_ok=True)

    def _keep(self, step: int) -> None:
        """A checkpoint, whole or not at all, and its losses before it."""
        held = self._held_out()
        known = [each for each in losses(self._folder) if each["step"] < step]
        trained = {"trained": float(np.mean(self._since))} if self._since else {}
        write_json(self._folder / _LOSSES, {"format": FORMAT, "losses": [*known, {"step": step, "held_out": held, **trained}]})
        self._since.clear()
        making, made = self._folder / f".checkpoint-{step}.part", self._folder / f"checkpoint-{step}"
        shutil.rmtree(making, ignore_errors=True)
        self._model.save_pretrained(making)
        open_weights(making)
        self._tokenizer.save_pretrained(making)
        shutil.rmtree(made, ignore_errors=True)
        making.replace(made)

    @torch.inference_mode()
    def _held_out(self) -> float:
        blocks = self._blocks.held_out()
        batches = torch.split(blocks, self._plan.recipe.batch)
        total = sum(float(loss_of(self._model, each.to(self._device))) * len(each) for each in batches)
        return total / len(blocks)

    def _note(self, step: int) -> None:
        """Weights and the optimiser's moments, by name."""
        tensors = {f"weight.{name}": each.detach() for name, each in self._model.named_parameters()}
        for name, each in self._model.named_parameters():
            state = self._optimiser.state[each]
            tensors |= {f"{key}.{name}": state[key].detach() for key in ("exp_avg", "exp_avg_sq", "step")}
        write_tensors(self._folder / _RESUME, tensors, {"step": step, "since": self._since})

    def _resume(self) -> int:
        """Step that the training goes on behind; what was made behind it is made anew."""
        from safetensors import SafetensorError, safe_open

        path = self._folder / _RESUME
        if not path.exists():
            return 0
        try:
            with safe_open(path, framework="pt") as file:
                note = json.loads(file.metadata()["note"])
                with torch.no_grad():
                    for name, each in self._model.named_parameters():
                        each.copy_(file.get_tensor(f"weight.{name}"))
                        kept = {key: file.get_tensor(f"{key}.{name}") for key in ("exp_avg", "exp_avg_sq", "step")}
                        self._optimiser.state[each] = {key: value.to(self._placed(key)) for key, value in kept.items()}
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{str(path)!r} is damaged; remove it, and the training of this seed begins again") from error
        self._since = list(note["since"])
        return int(note["step"])

    def _placed(self, key: str) -> torch.device:
        return torch.device("cpu") if key == "step" else self._device
