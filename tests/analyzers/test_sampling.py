import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from analyzers.blocks import Blocks, BlockSettings
from analyzers.errors import CorpusError, RunFolderError, SubjectError
from analyzers.evidence import SPLITS, Split
from analyzers.kept import KEPT, Kept, KeptSplit, SampleSettings, first_random
from analyzers.sampling import sample
from analyzers.store import ActivationStore
from analyzers.subject import Subject

ROOT = Path(__file__).parents[2]
SMALL = SampleSettings(
    kept={"explain": Kept(5, 2, 2, 3), "select": Kept(2, 1, 1, 2), "calibrate": Kept(2, 1, 1, 2), "test": Kept(4, 2, 2, 3)},
    q75_blocks=8,
    q95_blocks=20,
    checkpoint_batches=2,
)
VOCABULARY = 97


class Formula:
    """A subject whose activations are a fixed function of token and position, so that no batch can change a bit of them."""

    prefix: tuple[int, ...] = (1,)
    name = "formula"
    layers = 2
    device = torch.device("cpu")

    def __init__(self, dtype: torch.dtype = torch.float32, neurons: tuple[int, ...] = (7, 5), sign: float = 1.0, pause: float = 0) -> None:
        self.neurons, self.dtype, self.sign, self.pause = neurons, dtype, sign, pause
        self.identity = {"name": self.name, "dtype": str(dtype)}
        self._tables = [torch.randn(VOCABULARY, width, generator=torch.Generator().manual_seed(width)) for width in neurons]
        self._reader: Callable[[int, Tensor], None] | None = None

    @contextmanager
    def capture(self, fn: Callable[[int, Tensor], None]) -> Iterator[None]:
        self._reader = fn
        yield
        self._reader = None

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> None:
        assert self._reader is not None
        time.sleep(self.pause)
        for layer, table in enumerate(self._tables):
            before = torch.roll(ids, 1, 1)
            activations = table[ids] + 0.3 * table[before].flip(-1) + 0.001 * torch.arange(ids.shape[1])[None, :, None]
            activations[..., 0] = activations[..., 0].clamp(max=0)  # a dead positive side
            activations[..., 1] = activations[..., 1].round()  # many ties
            self._reader(layer, (self.sign * activations).to(self.dtype))


def run(subject: Any, blocks: Blocks, folder: Path, **options: Any) -> ActivationStore:
    return sample(subject, blocks, folder, **{"settings": SMALL, **options})


def corpus(folder: Path, *, count: int = 40, seed: int = 0, block: int = 40, excerpt: int = 20, longest: int = 150) -> Blocks:
    """Blocks of random tokens; documents end where they like, so that some blocks are short."""
    draw = random.Random(seed)
    lines = [{"id": f"d{i}", "text": " ".join(str(draw.randrange(2, 97)) for _ in range(draw.randint(20, longest)))} for i in range(count)]
    source = folder.with_suffix(".jsonl")
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = BlockSettings(block_tokens=block, excerpt_tokens=excerpt)
    return Blocks.build(
        str(source), lambda text: [int(word) for word in text.split()], folder, tokenizer_identity="numbers", settings=settings
    )


def every_activation(subject: Any, blocks: Blocks, split: Split, batch: int, settings: SampleSettings) -> list[list[Tensor]]:
    """[block][layer] [pos, neuron] without prefix and padding, from the batches of the pass, so that rounding is the same."""
    found: list[list[Tensor]] = []
    first = 0
    while first < blocks.count(split):
        stop = min(first + batch, blocks.count(split))
        for edge in (settings.q75_blocks, settings.q95_blocks):
            stop = min(stop, edge) if first < edge else stop
        layers: list[Tensor] = []
        ids = torch.from_numpy(np.array(blocks.ids(split, first, stop), dtype=np.int64))
        with subject.capture(lambda layer, a, layers=layers: layers.append(a.clone())):
            subject.forward(torch.cat((torch.tensor([list(subject.prefix)] * len(ids), dtype=torch.int64), ids), 1))
        p = len(subject.prefix)
        for row, length in enumerate(blocks.lengths(split, first, stop)):
            found.append([a[row, p : p + length] for a in layers])
        first = stop
    return found


def naive(acts: list[Tensor], side: int, neuron: int, k: int, excerpt: int, margin: int) -> list[tuple[float, int, int, list[float]]]:
    """(peak, block, start, window) of the k loudest of some blocks [pos, neuron], by a loop."""
    found = []
    for block, a in enumerate(acts):
        raw = a[:, neuron].float().tolist()
        loud = raw if side == 0 else [-x for x in raw]
        position = max(range(margin, len(raw) - margin), key=lambda i: (loud[i], -i))
        if loud[position] > 0:
            start = min(max(position - excerpt // 2, 0), len(raw) - excerpt)
            found.append((loud[position], block, start, raw[start : start + excerpt]))
    return sorted(found, key=lambda entry: (-entry[0], entry[1]))[:k]


def stored(tensors: dict[str, Tensor], layer: int, side: int, neuron: int, slots: slice) -> list[tuple[float, int, int, list[float]]]:
    value, block, start, window = (tensors[f"{layer}.{kind}"][side, neuron, slots] for kind in ("value", "block", "start", "window"))
    rows = zip(value.tolist(), block.tolist(), start.tolist(), window.float().tolist(), strict=True)
    return [row for row in rows if row[1] >= 0]


def check_against_naive(subject: Any, blocks: Blocks, folder: Path, batch: int, settings: SampleSettings) -> None:
    for split in SPLITS:
        acts = every_activation(subject, blocks, split, batch, settings)
        tensors = load_file(folder / f"{split}.safetensors")
        kept = settings.kept[split]
        a, b, c = kept.top, kept.top + kept.q95, kept.top + kept.q95 + kept.q75
        for layer, width in enumerate(subject.neurons):
            here = [block[layer] for block in acts]
            for neuron in range(width):
                for side in (0, 1):
                    for slots, k, some in (
                        (slice(0, a), kept.top, here),
                        (slice(a, b), kept.q95, here[: settings.q95_blocks]),
                        (slice(b, c), kept.q75, here[: settings.q75_blocks]),
                    ):
                        expected = naive(some, side, neuron, k, blocks.excerpt_tokens, settings.margin)
                        assert stored(tensors, layer, side, neuron, slots) == expected, (split, layer, neuron, side, slots)
                for number, block in enumerate(here[-kept.random :]):
                    begin = (len(block) - blocks.excerpt_tokens) // 2
                    window = block[begin : begin + blocks.excerpt_tokens, neuron]
                    assert torch.equal(tensors[f"{layer}.random"][neuron, number], window)


def final_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_keeps_what_a_loop_over_all_activations_finds(tmp_path: Path, dtype: torch.dtype) -> None:
    subject, blocks = Formula(dtype), corpus(tmp_path / "blocks")
    lengths = {int(length) for split in SPLITS for length in blocks.lengths(split, 0, blocks.count(split))}
    assert len(lengths) > 3  # short blocks are among them
    run(subject, blocks, tmp_path / "pass", batch=3)
    check_against_naive(subject, blocks, tmp_path / "pass", 3, SMALL)
    assert sorted(final_bytes(tmp_path / "pass")) == sorted(
        [*(f"{s}.safetensors" for s in SPLITS), "activations.json", "moments.safetensors"]
    )


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_keeps_what_a_loop_finds_in_a_real_architecture(tmp_path: Path, family: str, tiny_checkpoint: Callable[[str], Path]) -> None:
    subject = Subject.load(str(tiny_checkpoint(family)), dtype="float32", device="cpu")
    blocks = corpus(tmp_path / "blocks", count=20, block=128, excerpt=32, longest=400)
    run(subject, blocks, tmp_path / "pass", batch=4)
    check_against_naive(subject, blocks, tmp_path / "pass", 4, SMALL)


@pytest.mark.parametrize("prefix", [(), (1, 2)])
def test_any_prefix_is_left_out(tmp_path: Path, prefix: tuple[int, ...]) -> None:
    subject, blocks = Formula(), corpus(tmp_path / "blocks", count=12)
    subject.prefix = prefix
    run(subject, blocks, tmp_path / "pass", batch=5)
    check_against_naive(subject, blocks, tmp_path / "pass", 5, SMALL)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_batch_size_changes_no_excerpt(tmp_path: Path, dtype: torch.dtype) -> None:
    blocks = corpus(tmp_path / "blocks")
    for batch in (1, 4, 7, 64):
        run(Formula(dtype), blocks, tmp_path / str(batch), batch=batch)
    for name in [f"{split}.safetensors" for split in SPLITS] + ["moments.safetensors"]:
        assert len({(tmp_path / str(batch) / name).read_bytes() for batch in (1, 4, 7, 64)}) == 1, name


def test_the_negative_side_is_the_positive_side_of_the_negated_subject(tmp_path: Path) -> None:
    blocks = corpus(tmp_path / "blocks", count=25)
    for name, sign in (("as-is", 1.0), ("negated", -1.0)):
        run(Formula(sign=sign), blocks, tmp_path / name)
    for split in SPLITS:
        one, other = (load_file(tmp_path / name / f"{split}.safetensors") for name in ("as-is", "negated"))
        for layer in range(2):
            for kind in ("value", "block", "start"):
                assert torch.equal(one[f"{layer}.{kind}"], other[f"{layer}.{kind}"].flip(0))
            assert torch.equal(one[f"{layer}.window"], -other[f"{layer}.window"].flip(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_and_firing_are_those_of_the_tokens_they_rest_on(tmp_path: Path, dtype: torch.dtype) -> None:
    subject, blocks = Formula(dtype), corpus(tmp_path / "blocks")
    store = run(subject, blocks, tmp_path / "pass")
    found = load_file(tmp_path / "pass" / "moments.safetensors")
    for layer in range(2):
        parts = {
            split: torch.cat([acts[layer] for acts in every_activation(subject, blocks, split, 16, SMALL)[:: SMALL.moments_every]]).double()
            for split in SPLITS
        }
        whole = torch.cat(list(parts.values()))
        later = torch.cat([part for split, part in parts.items() if split != "explain"])
        assert store.result["moments_tokens"] == len(whole)
        assert store.result["firing_tokens"] == len(later)
        torch.testing.assert_close(found[f"{layer}.mean"], whole.mean(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found[f"{layer}.variance"], whole.var(0, correction=0), rtol=1e-5, atol=1e-6)
        mean, sd = parts["explain"].mean(0), parts["explain"].std(0, correction=0)
        fired = torch.stack(((later > mean + 3 * sd).sum(0), (later < mean - 3 * sd).sum(0)))
        assert torch.equal(found[f"{layer}.fired"], fired)


def test_progress_counts_every_token_once(tmp_path: Path) -> None:
    blocks, seen = corpus(tmp_path / "blocks", count=12), list[tuple[str, int, int]]()
    run(Formula(), blocks, tmp_path / "pass", batch=4, report=lambda *args: seen.append(args))
    assert {what for what, _, _ in seen} == {"sample"}
    assert {total for _, _, total in seen} == {blocks.tokens}
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    assert seen[-1][1] == blocks.tokens


class Stop(Exception):
    pass


def stop_after(batches: int) -> Callable[[str, int, int], None]:
    left = [batches]

    def report(what: str, done: int, total: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Stop

    return report


def test_every_point_of_interruption_ends_with_the_same_bytes(tmp_path: Path) -> None:
    blocks = corpus(tmp_path / "blocks", count=30)
    batches = list[int]()
    run(Formula(), blocks, tmp_path / "calm", batch=4, report=lambda _w, done, _t: batches.append(done))
    expected = final_bytes(tmp_path / "calm")
    for point in range(1, len(batches) + 1):
        folder = tmp_path / f"stopped-{point}"
        with pytest.raises(Stop):
            run(Formula(), blocks, folder, batch=4, report=stop_after(point))
        again = list[int]()
        run(Formula(), blocks, folder, batch=4, report=lambda _w, done, _t, again=again: again.append(done))
        assert final_bytes(folder) == expected
        assert again == batches[len(batches) - len(again) :]
        assert len(again) <= len(batches) - point + SMALL.checkpoint_batches + 1  # no more than a checkpoint's worth is done twice


KILL = """
import os, random, signal, sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
import torch
torch.set_num_threads(1)
from test_sampling import Formula, run
from analyzers.blocks import Blocks

draw, kills, status = random.Random(1), 0, -1
while status != 0:
    process = os.fork()
    if process == 0:
        run(Formula(pause=0.06), Blocks.open(Path({blocks!r})), Path({folder!r}), batch=4)
        os._exit(0)
    if kills < 10:
        time.sleep(draw.uniform(0.01, 0.25))
        os.kill(process, signal.SIGKILL)
        kills += 1
    status = os.waitpid(process, 0)[1]
print(kills)
"""


def test_killed_ten_times_at_random_moments_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    blocks = corpus(tmp_path / "blocks", count=30)
    run(Formula(), blocks, tmp_path / "calm", batch=4)
    # One process with everything imported forks those that are killed: importing torch ten times would take minutes.
    folder = tmp_path / "killed"
    script = KILL.format(root=str(ROOT), tests=str(Path(__file__).parent), blocks=str(blocks.folder), folder=str(folder))
    kills = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert int(kills) >= 5
    assert final_bytes(folder) == final_bytes(tmp_path / "calm")


def test_a_finished_folder_is_only_opened(tmp_path: Path) -> None:
    blocks = corpus(tmp_path / "blocks", count=12)
    run(Formula(), blocks, tmp_path / "pass")
    before = final_bytes(tmp_path / "pass")
    run(Formula(), blocks, tmp_path / "pass", report=lambda *_: pytest.fail("ran again"))
    assert final_bytes(tmp_path / "pass") == before


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_of_another_configuration_is_refused_and_kept(tmp_path: Path, finished: bool) -> None:
    blocks = corpus(tmp_path / "blocks", count=30)
    if finished:
        run(Formula(), blocks, tmp_path / "pass", batch=4)
    else:
        with pytest.raises(Stop):
            run(Formula(), blocks, tmp_path / "pass", batch=4, report=stop_after(9))
    before = final_bytes(tmp_path / "pass")
    with pytest.raises(RunFolderError, match=r"pass.*subject .*float32.*not .*bfloat16"):
        run(Formula(torch.bfloat16), blocks, tmp_path / "pass", batch=4)
    with pytest.raises(RunFolderError, match="blocks"):
        run(Formula(), corpus(tmp_path / "others", seed=1), tmp_path / "pass", batch=4)
    with pytest.raises(RunFolderError, match="batch 4, not 8"):
        run(Formula(), blocks, tmp_path / "pass", batch=8)
    assert final_bytes(tmp_path / "pass") == before


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    blocks = corpus(tmp_path / "blocks", count=12)
    (tmp_path / "pass").mkdir()
    (tmp_path / "pass" / "checkpoint.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunFolderError, match=r"checkpoint.safetensors' is damaged"):
        run(Formula(), blocks, tmp_path / "pass")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocks = corpus(tmp_path / "blocks", count=12)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"file/pass' cannot be written"):
        run(Formula(), blocks, tmp_path / "file" / "pass")


def test_activations_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    blocks = corpus(tmp_path / "blocks", count=12)
    with pytest.raises(SubjectError, match=r"layer 0 are not finite.*float32"):
        run(Formula(sign=float("inf")), blocks, tmp_path / "pass")


class Harmed(Formula):
    """One activation in the middle of one block of a split is not finite; no moments rest on that block."""

    def __init__(self, dtype: torch.dtype, blocks: Blocks, split: Split, value: float) -> None:
        super().__init__(dtype)
        self.block = torch.from_numpy(np.array(blocks.ids(split, 1, 2), dtype=np.int64))
        self.value = value

    @contextmanager
    def capture(self, fn: Callable[[int, Tensor], None]) -> Iterator[None]:
        def harmed(layer: int, activations: Tensor) -> None:
            if layer == 1:
                activations[self.here, 20, 3] = self.value
            fn(layer, activations)

        with super().capture(harmed):
            yield

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> None:
        self.here = (ids[:, 1:] == self.block).all(1)
        super().forward(ids)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("split", ["explain", "test"])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), -float("nan")])
def test_a_single_activation_that_is_not_finite_is_seen_in_any_block(
    tmp_path: Path, dtype: torch.dtype, split: Split, value: float
) -> None:
    blocks = corpus(tmp_path / "blocks", count=30)
    with pytest.raises(SubjectError, match=r"layer 1 are not finite.*float32"):
        run(Harmed(dtype, blocks, split, value), blocks, tmp_path / "pass", batch=4)
    assert not (tmp_path / "pass" / f"{split}.safetensors").exists()


def test_excerpts_without_a_middle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="16 tokens"):
        run(Formula(), corpus(tmp_path / "blocks", excerpt=16), tmp_path / "pass")


def test_a_short_split_takes_its_strata_from_what_there_is(tmp_path: Path) -> None:
    blocks = corpus(tmp_path / "blocks", count=30)
    store = run(Formula(), blocks, tmp_path / "pass", settings=SampleSettings())
    for split in SPLITS:
        count = blocks.count(split)
        assert count < 80
        assert store.result["splits"][split]["q95_blocks"] == count
        assert store.result["splits"][split]["q75_blocks"] == min(16, count)
    check_against_naive(Formula(), blocks, tmp_path / "pass", 16, SampleSettings())


def test_what_is_kept_of_a_split_is_set_by_neurons_alone() -> None:
    kept = KEPT["explain"]
    state = KeptSplit((100, 60), kept, 500, 32, torch.bfloat16, torch.device("cpu"))
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.tensors.values())
    assert size == 2 * 160 * 18 * (8 + 4 + 32 * 2) + 160 * 8 * 32 * 2


def test_random_excerpts_are_of_other_blocks_than_the_quantile_ones_are_chosen_from() -> None:
    settings = SampleSettings()
    for kept in KEPT.values():
        assert first_random(settings.q95_blocks + kept.random, kept.random) == settings.q95_blocks
        assert first_random(1000, kept.random) == 1000 - kept.random
        assert first_random(2, kept.random) == 0


def test_there_cannot_be_more_quantile_excerpts_than_top_ones() -> None:
    with pytest.raises(ValueError, match="running top"):
        Kept(top=2, q95=3, q75=1, random=1)
