"""Trains a small causal language model on a corpus, and keeps it at log-spaced steps, in folders as Hugging Face's trainer makes them.

A folder of several seeds: `training.json` (what decides the weights), `tokenizer/`, `tokens.npy`, and of each seed `seed-<n>/` with
`checkpoint-<step>/` folders, `losses.json`, and until it ends `resume.safetensors`. What is drawn at a step hangs on seed and step
alone, so that a killed training goes on at the last note of its weights and, with as many threads, ends with the same ones.
"""

import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from analyzers.corpus import documents, source_identity
from analyzers.errors import AssetError, CorpusError, RunFolderError
from analyzers.growing.small_tokenizer import small_tokenizer
from analyzers.loading import choose_device
from analyzers.pass_folder import FORMAT, alone, read_json, write_json, write_tensors
from analyzers.progress import Report, quiet
from analyzers.whole_files import replaced

THREADS = 2
"""At most: more make tiny matrices no faster, and their number has a part in how sums are rounded."""
KEEP_EVERY = 30.0
"""Seconds between two notes of the weights, besides those at checkpoints."""
TRIAL_STEPS, TRIAL_SECONDS = 5, 3.0
"""By so many steps at least, that last so long, is told how many the minutes hold; one before them is not counted."""
HELD_OUT = 0.05
"""Share of the blocks, the last ones, whose loss is told and that nothing is trained on."""
MOST_HELD_OUT = 64
"""Blocks whose loss is told."""
_PLAN, _TOKENS, _RESUME, _LOSSES = "training.json", "tokens.npy", "resume.safetensors", "losses.json"


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, with the corpus and the seed. The defaults make some 1.5 million of them."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    inner: int = 384
    vocabulary: int = 4096
    """Tokens at most; a small corpus has fewer."""
    context: int = 128
    """Tokens of a block, and the most that the model takes."""
    batch: int = 32
    """Blocks of a step."""
    rate: float = 2e-3
    """Highest learning rate; it falls along a cosine to a tenth."""
    warm_up: float = 0.05
    """Share of the steps in which the rate rises."""
    decay: float = 0.1
    """Of the weights, but for those of normalisations."""


@dataclass(frozen=True)
class Plan:
    """A training that is under way in a folder."""

    steps: int
    corpus: str
    """Identity of its text."""
    recipe: Recipe

    def checkpoints(self) -> list[int]:
        """0, 1, 2, 4, ... and the last step."""
        return [0, *(2**power for power in range(self.steps.bit_length()) if 2**power < self.steps), self.steps]

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 1."""
        rising = max(1, round(self.recipe.warm_up * self.steps))
        if step <= rising:
            return self.recipe.rate * step / rising
        fallen = (step - rising) / max(1, self.steps - rising)
        return self.recipe.rate * (0.1 + 0.45 * (1 + math.cos(math.pi * fallen)))


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

    recipe = recipe or Recipe()
    if (minutes is None) == (steps is None):
        raise ValueError("give minutes or steps")
    disable_progress_bar()  # type: ignore[no-untyped-call]  # the caller's Report tells where things stand
    with alone(folder, report), _threads():
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


@dataclass(frozen=True, eq=False)
class Blocks:
    """The corpus as one run of tokens."""

    tokens: npt.NDArray[np.int32]
    context: int

    @property
    def end(self) -> int:
        """Where the held-out tokens begin: of a short text so late that one block of it is left to train on."""
        held = max(1, round(HELD_OUT * (len(self.tokens) // (self.context + 1))))
        return max(len(self.tokens) - held * (self.context + 1), self.context + 1)

    def drawn(self, seed: int, step: int, count: int) -> Tensor:
        """[block, context + 1] of a step, from anywhere in what trains."""
        starts = np.random.default_rng([seed, step]).integers(self.end - self.context, size=count)
        return self._at(starts)

    def held_out(self) -> Tensor:
        """[block, context + 1] one after the other."""
        starts = np.arange(self.end, len(self.tokens) - self.context, self.context + 1)[:MOST_HELD_OUT]
        return self._at(starts)

    def _at(self, starts: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.tokens[starts[:, None] + np.arange(self.context + 1)].astype(np.int64))


def _blocks(folder: Path, recipe: Recipe) -> Blocks:
    return Blocks(np.load(folder / _TOKENS, mmap_mode="r"), recipe.context)


def _steps_in(minutes: float, folder: Path, recipe: Recipe, device: str) -> int:
    """By some steps of a model that is thrown away."""
    place = choose_device(device)
    tokenizer, blocks = _tokenizer(folder), _blocks(folder, recipe)
    model = small_model(recipe, tokenizer, 0).to(place)
    optimiser = _optimiser(model, recipe)
    took: list[float] = []
    while len(took) <= TRIAL_STEPS or sum(took[1:]) < TRIAL_SECONDS:
        started = time.perf_counter()
        _step(model, optimiser, blocks.drawn(0, len(took), recipe.batch).to(place), recipe.rate)
        took.append(time.perf_counter() - started)
    return max(1, round(60 * minutes / float(np.median(took[1:]))))


# ---- one seed


def small_model(recipe: Recipe, tokenizer: Any, seed: int) -> Any:
    """A model of the Llama family with fresh weights, input and output embeddings tied."""
    from transformers import LlamaConfig, LlamaForCausalLM

    build: Any = LlamaConfig
    config = build(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        use_cache=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LlamaForCausalLM(config).train()


def _optimiser(model: Any, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.95), eps=1e-8)


def _loss(model: Any, blocks: Tensor) -> Tensor:
    """Mean surprisal in nats of every token of blocks [block, context + 1] but their first."""
    logits = model(input_ids=blocks[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), blocks[:, 1:].flatten())


def _step(model: Any, optimiser: torch.optim.AdamW, blocks: Tensor, rate: float) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    loss = _loss(model, blocks)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


class _Training:
    """The training of one seed in its folder."""

    def __init__(self, plan: Plan, folder: Path, seed: int, tokenizer: Any, blocks: Blocks, device: torch.device) -> None:
        self._plan, self._folder, self._seed, self._tokenizer, self._blocks = plan, folder, seed, tokenizer, blocks
        self._model = small_model(plan.recipe, tokenizer, seed).to(device)
        self._optimiser = _optimiser(self._model, plan.recipe)
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
            self._since.append(_step(self._model, self._optimiser, blocks, self._plan.rate(step)))
            if not math.isfinite(self._since[-1]):
                raise AssetError(f"the loss of seed {self._seed} is no number at step {step}; train on another text or with another --seed")
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
        self._tokenizer.save_pretrained(making)
        shutil.rmtree(made, ignore_errors=True)
        making.replace(made)

    @torch.inference_mode()
    def _held_out(self) -> float:
        blocks = self._blocks.held_out()
        batches = torch.split(blocks, self._plan.recipe.batch)
        total = sum(float(_loss(self._model, each.to(self._device))) * len(each) for each in batches)
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


@contextmanager
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(THREADS, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
