import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analyzers.blocks import Blocks, BlockSettings
from analyzers.duplicates import overlap
from analyzers.errors import CorpusError, RunFolderError, SubjectError
from analyzers.evidence import SPLITS, STRATA, Excerpt
from analyzers.kept import KEPT
from analyzers.sampling import sample
from analyzers.sites import Site
from analyzers.store import ActivationStore

MOTTO = [str(number) for number in (*range(70, 80), 62, *range(80, 93))]
"""A passage that several documents share; neuron 2 is loud on it."""


class Numbers:
    """A subject of one layer whose neuron n is loud on the token 60 + n, and neuron 5 on none; the sign of neuron 4 is reversed."""

    prefix = (0,)
    name = "numbers"
    layers = 1
    neurons = (6,)
    dtype = torch.float32
    device = torch.device("cpu")
    identity = {"name": "numbers"}  # noqa: RUF012 - as a Subject has it

    def activations(self, ids: Tensor) -> Tensor:
        distance = (ids[:, :, None] - 60 - torch.arange(6)).abs().float()
        activations = (10 - distance).clamp(min=-0.5) + 0.01 * ids[:, :, None]
        activations[..., 4] *= -1
        activations[..., 5] = 0
        return activations

    @contextmanager
    def capture(self, fn: Callable[[int, Tensor], None]) -> Iterator[None]:
        self._reader = fn
        yield

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> None:
        self._reader(0, self.activations(ids))


def token_text(token: int) -> str:
    return f" {token}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, draw = tmp_path_factory.mktemp("store"), random.Random(0)
    documents = []
    for number in range(160):
        words = [str(draw.randrange(1, 100)) for _ in range(draw.randint(30, 140))]
        if number % 3 == 0:
            words[10:10] = MOTTO
        documents.append({"id": f"d{number}", "text": " ".join(words)})
    (root / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    blocks = Blocks.build(
        str(root / "corpus.jsonl"),
        lambda text: [int(word) for word in text.split()],
        root / "blocks",
        tokenizer_identity="numbers",
        settings=BlockSettings(block_tokens=48, excerpt_tokens=24),
    )
    subject: Any = Numbers()
    sample(subject, blocks, root / "pass")
    return root


@pytest.fixture(scope="module")
def store(folder: Path) -> ActivationStore:
    return ActivationStore.open(folder / "pass")


def of_stratum(excerpts: tuple[Excerpt, ...], stratum: str) -> list[Excerpt]:
    return [excerpt for excerpt in excerpts if excerpt.stratum == stratum]


SITES = [Site(0, index, polarity) for index in range(6) for polarity in ("+", "-")]


@pytest.mark.parametrize("site", SITES, ids=str)
def test_an_excerpt_is_the_text_it_names_with_the_activations_on_it(store: ActivationStore, site: Site) -> None:
    texts = {}
    for split in SPLITS:
        for block in range(store.blocks.count(split)):
            length = int(store.blocks.lengths(split, block, block + 1)[0])
            start = store.blocks.start(split, block)
            texts[split, store.blocks.document(split, block), start] = np.array(store.blocks.ids(split, block, block + 1)[0, :length])
    for split, excerpts in store.evidence(site, token_text).splits.items():
        for excerpt in excerpts:
            within = excerpt.start % 48
            ids = texts[split, excerpt.document, excerpt.start - within][within : within + 24]
            assert excerpt.text == "".join(f" {token}" for token in ids)
            raw = Numbers().activations(torch.tensor([ids.tolist()], dtype=torch.int64))[0, :, site.index]
            np.testing.assert_array_equal(excerpt.activations, (site.sign * raw).clamp(min=0).numpy())


@pytest.mark.parametrize("site", SITES, ids=str)
def test_a_block_and_a_text_occur_once_in_a_split(store: ActivationStore, site: Site) -> None:
    for excerpts in store.evidence(site, token_text).splits.values():
        blocks = [(excerpt.document, excerpt.start // 48) for excerpt in excerpts]
        assert len(set(blocks)) == len(blocks)
        assert len({excerpt.text for excerpt in excerpts}) == len(excerpts)


@pytest.mark.parametrize("site", SITES, ids=str)
def test_nothing_of_one_split_returns_in_another(store: ActivationStore, site: Site) -> None:
    splits = store.evidence(site, token_text).splits
    for a, b in combinations(SPLITS, 2):
        assert max(overlap(excerpt.text, other.text) for excerpt in splits[a] for other in splits[b]) < 0.5


def test_near_duplicates_were_there_to_be_left_out(store: ActivationStore) -> None:
    site = Site(0, 2)
    kept = store.evidence(site, token_text).splits
    found = [excerpt.text for excerpt in store._excerpts("test", site, token_text)]
    left_out = set(found) - {excerpt.text for excerpt in kept["test"]}
    assert left_out
    assert all(any(overlap(text, shown.text) >= 0.5 for split in SPLITS[:3] for shown in kept[split]) for text in left_out)


def test_strata_come_in_order_and_top_is_loudest_first(store: ActivationStore) -> None:
    splits = store.evidence(Site(0, 1), token_text).splits
    for split, excerpts in splits.items():
        order = [STRATA.index(excerpt.stratum) for excerpt in excerpts]
        assert order == sorted(order)
        peaks = [excerpt.activations.max() for excerpt in of_stratum(excerpts, "top")]
        assert peaks == sorted(peaks, reverse=True)
        for stratum in STRATA:
            assert len(of_stratum(excerpts, stratum)) <= getattr(KEPT[split], stratum)
    assert len(of_stratum(splits["explain"], "random")) >= 4


def test_quantile_excerpts_are_quieter_than_the_top_and_louder_than_random_ones(store: ActivationStore) -> None:
    peaks: dict[str, list[float]] = {stratum: [] for stratum in STRATA}
    for index in range(4):
        for excerpts in store.evidence(Site(0, index), token_text).splits.values():
            for excerpt in excerpts:
                peaks[excerpt.stratum].append(float(excerpt.activations.max()))
    # So small a corpus leaves no q95 excerpt that is not a top one too.
    assert np.mean(peaks["top"]) > np.mean(peaks["q75"]) > np.mean(peaks["random"])


def test_a_side_that_never_fires_has_silent_random_excerpts_only(store: ActivationStore) -> None:
    for polarity in ("+", "-"):
        evidence = store.evidence(Site(0, 5, polarity), token_text)
        assert evidence.peak == 0
        for excerpts in evidence.splits.values():
            assert excerpts
            assert {excerpt.stratum for excerpt in excerpts} == {"random"}
            assert all((excerpt.activations == 0).all() for excerpt in excerpts)


def test_the_dominant_side_is_the_one_with_the_larger_peak(store: ActivationStore) -> None:
    assert [store.dominant(0, index) for index in range(6)] == ["+", "+", "+", "+", "-", "+"]
    for index in range(5):
        peaks = [store.evidence(Site(0, index, polarity), token_text).peak for polarity in ("+", "-")]
        assert (peaks[1] > peaks[0]) == (store.dominant(0, index) == "-")


def test_moments_belong_to_the_neuron_and_firing_to_the_side(store: ActivationStore) -> None:
    one, other = store.moments(Site(0, 2)), store.moments(Site(0, 2, "-"))
    assert (one.tokens, one.mean, one.variance) == (other.tokens, other.mean, other.variance)
    assert 0.01 < one.firing < 0.2
    assert other.firing == 0
    assert store.moments(Site(0, 4, "-")).firing > 0 == store.moments(Site(0, 4)).firing
    assert store.moments(Site(0, 5)).variance == 0


@pytest.mark.parametrize("site", [Site(1, 0), Site(0, 6)])
def test_a_site_the_pass_does_not_have_is_named(store: ActivationStore, site: Site) -> None:
    for ask in (lambda: store.evidence(site, token_text), lambda: store.moments(site), lambda: store.dominant(site.layer, site.index)):
        with pytest.raises(SubjectError, match=rf"{site}.*0-"):
            ask()


def test_pass_and_blocks_can_be_moved_together(folder: Path, store: ActivationStore, tmp_path: Path) -> None:
    for name in ("pass", "blocks"):
        shutil.copytree(folder / name, tmp_path / "elsewhere" / name)
    moved = ActivationStore.open(tmp_path / "elsewhere" / "pass")
    assert moved.blocks.folder.resolve() == (tmp_path / "elsewhere" / "blocks").resolve()
    one, other = (each.evidence(Site(0, 0), token_text).splits["test"] for each in (store, moved))
    assert [excerpt.key for excerpt in one] == [excerpt.key for excerpt in other]


def test_what_cannot_be_opened_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="nowhere' holds no finished pass"):
        ActivationStore.open(tmp_path / "nowhere")
    alone = tmp_path / "alone"
    shutil.copytree(folder / "pass", alone)
    with pytest.raises(CorpusError, match="holds no blocks"):
        ActivationStore.open(alone)
    result = json.loads((alone / "activations.json").read_text())
    (alone / "activations.json").write_text(json.dumps({**result, "format": 99}))
    with pytest.raises(RunFolderError, match="another version"):
        ActivationStore.open(alone)
    (alone / "activations.json").write_text("{")
    with pytest.raises(RunFolderError, match="damaged"):
        ActivationStore.open(alone)
    shutil.copytree(folder / "blocks", tmp_path / "blocks")
    (alone / "activations.json").write_text(json.dumps({**result, "blocks_folder": "../blocks", "blocks": "other"}))
    with pytest.raises(RunFolderError, match="blocks 'other'"):
        ActivationStore.open(alone)
    (alone / "activations.json").write_text(json.dumps({**result, "blocks_folder": "../blocks"}))
    (alone / "test.safetensors").unlink()
    with pytest.raises(RunFolderError, match=r"test\.safetensors' is missing"):
        ActivationStore.open(alone).evidence(Site(0, 0), token_text)
