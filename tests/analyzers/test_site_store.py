"""A pass over single sites: all activations, the same evidence as a sampling pass, the same bytes after any interruption."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analyzers.blocks import Blocks, BlockSettings
from analyzers.directions import Directions
from analyzers.duplicates import overlap
from analyzers.errors import CorpusError, RunFolderError, SubjectError
from analyzers.evidence import SPLITS, Excerpt
from analyzers.sampling import sample
from analyzers.settings import settings
from analyzers.site_pass import read_sites
from analyzers.site_store import SiteStore
from analyzers.sites import Polarity, Site
from analyzers.store import ActivationStore
from analyzers.subject import Subject

NAMES = ["L1.mlp.7", "L0.mlp.40", "L2.attn.3", "L1.resid.17", "L2.random.5", "L1.direction.0"]
SITES = [Site.parse(name) for name in NAMES]
MOTTO = "of the town and the river and the bridge built of stone and iron that stands to this day for all who come by boat "


def made_blocks(root: Path, encode: Callable[[str], list[int]], *, count: int = 220, excerpt: int = 24) -> Blocks:
    """Documents of known words, some of which share a passage; many blocks are short."""
    draw = random.Random(0)
    words = "the river town hills north bridge water evening herons otters markets cheese apples music valley"
    rows = []
    for number in range(count):
        text = " ".join(draw.choices(words.split(), k=draw.randint(20, 60)))
        rows.append({"id": f"d{number}", "text": MOTTO + text if number % 3 == 0 else text})
    (root / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cut = BlockSettings(block_tokens=48, excerpt_tokens=excerpt)
    return Blocks.build(str(root / "corpus.jsonl"), encode, root / "blocks", tokenizer_identity="tiny", settings=cut)


@pytest.fixture(scope="module")
def subject(tiny_checkpoint: Callable[[str], Path]) -> Subject:
    subject = Subject.load(str(tiny_checkpoint("llama")), device="cpu", dtype="float32")
    subject.attach(directions=Directions("made", {1: torch.ones(1, 32) / 32**0.5}, "ones"))
    return subject


@pytest.fixture(scope="module")
def blocks(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Blocks:
    return made_blocks(tmp_path_factory.mktemp("text"), subject.encode)


@pytest.fixture(scope="module")
def passes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("passes")


@pytest.fixture(autouse=True)
def kept_there(passes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLICATE_PASSES", str(passes))


@pytest.fixture
def store(subject: Subject, blocks: Blocks) -> SiteStore:
    return read_sites(subject, blocks, SITES, batch=8)


@pytest.fixture(scope="module")
def sampled(subject: Subject, blocks: Blocks, tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    return sample(subject, blocks, tmp_path_factory.mktemp("sampled"), batch=8)


def test_what_is_kept_is_what_the_subject_says_on_the_same_tokens(store: SiteStore, subject: Subject, blocks: Blocks) -> None:
    negative = [Site(site.layer, site.index, "-", site.kind) for site in SITES if site.kind != "attn"]
    for split in SPLITS:
        for block in (0, 1, blocks.count(split) - 1):
            length = int(blocks.lengths(split, block, block + 1)[0])
            ids = torch.tensor([[*subject.prefix, *blocks.ids(split, block, block + 1)[0, :length].tolist()]])
            expected = subject.activations(ids, SITES)[0, 1:].numpy()
            for column, site in enumerate(SITES):
                raw = store.raw(site, split)
                assert raw.shape == (blocks.count(split), 48)
                np.testing.assert_allclose(raw[block, :length], expected[:, column], rtol=1e-4, atol=1e-5)
                assert (raw[block, length:] == 0).all()
                np.testing.assert_array_equal(store.windows(site, split), np.where(raw > 0, raw, 0))
    for site in negative:
        raw = store.raw(site, "test")
        assert raw.min() < 0
        np.testing.assert_array_equal(store.windows(site, "test"), np.where(raw < 0, -raw, 0))


def test_some_blocks_are_short_and_some_are_beyond_the_quantile_strata(blocks: Blocks) -> None:
    assert (blocks.lengths("explain", 0, blocks.count("explain")) < 48).any()
    assert blocks.count("explain") > 80


def rows(excerpts: tuple[Excerpt, ...]) -> list[tuple[str, str, str, list[float]]]:
    return [(each.stratum, each.key, each.text, each.activations.tolist()) for each in excerpts]


@pytest.mark.parametrize("name", ["L1.mlp.7", "L1.mlp.7-", "L0.mlp.40", "L0.mlp.40-"])
def test_the_evidence_of_a_neuron_is_that_of_a_sampling_pass(
    name: str, store: SiteStore, sampled: ActivationStore, subject: Subject
) -> None:
    site = Site.parse(name)
    one, other = (each.evidence(site, subject.token_text) for each in (store, sampled))
    for split in SPLITS:
        assert rows(one.splits[split]) == rows(other.splits[split])
    assert {each.stratum for each in one.splits["explain"]} >= {"top", "random"}
    # Also what is kept for q95 and q75, of which an excerpt is called top that was kept for that, too.
    for split in SPLITS:
        whole, ours = load_file(sampled.folder / f"{split}.safetensors"), store._finished(split, site)
        for kind in ("value", "block", "start", "window"):
            assert torch.equal(ours[f"0.{kind}"][:, 0], whole[f"{site.layer}.{kind}"][:, site.index])
        assert torch.equal(ours["0.random"][0], whole[f"{site.layer}.random"][site.index])
    assert one.moments.tokens == other.moments.tokens
    for name in ("mean", "variance", "firing"):
        assert getattr(one.moments, name) == pytest.approx(getattr(other.moments, name), rel=1e-4)
    assert one.moments.variance > 0
    assert store.dominant(site) == sampled.dominant(site.layer, site.index)


@pytest.mark.parametrize("name", [*NAMES, "L1.resid.17-", "L2.random.5-", "L1.direction.0-"])
def test_evidence_of_any_kind_is_in_splits_that_share_nothing(name: str, store: SiteStore, subject: Subject, blocks: Blocks) -> None:
    site = Site.parse(name)
    found = store.evidence(site, subject.token_text)
    assert found.site == site
    for a, b in combinations(SPLITS, 2):
        one, other = found.splits[a], found.splits[b]
        assert {each.document for each in one}.isdisjoint(each.document for each in other)
        assert max(overlap(each.text, shown.text) for each in one for shown in other) < 0.5
    for split, excerpts in found.splits.items():
        assert len(excerpts) > 1
        assert len({each.text for each in excerpts}) == len(excerpts) == len({(each.document, each.start // 48) for each in excerpts})
        loudest = store.windows(site, split)
        lengths = blocks.lengths(split, 0, len(loudest))
        middle = max(float(row[8 : length - 8].max(initial=0)) for row, length in zip(loudest, lengths, strict=True))
        tops = [each.activations.max() for each in excerpts if each.stratum == "top"]
        if split == "explain":
            assert tops[0] >= middle > 0  # the loudest block of the first split is left out by nothing
        assert all((each.activations >= 0).all() and len(each.tokens) == 24 for each in excerpts)


def test_near_duplicates_were_there_to_be_left_out(store: SiteStore, subject: Subject) -> None:
    left_out = 0
    for site in SITES:
        kept = store.evidence(site, subject.token_text).splits
        left_out += sum(len(list(store._excerpts(split, site, subject.token_text))) - len(kept[split]) for split in SPLITS)
    assert left_out > 5


def test_moments_rest_on_every_fourth_block_and_firing_on_other_text(store: SiteStore, blocks: Blocks) -> None:
    site = Site.parse("L1.resid.17")
    tokens = {
        split: np.concatenate(
            [store.raw(site, split)[block, : int(blocks.lengths(split, block, block + 1)[0])] for block in range(0, blocks.count(split), 4)]
        ).astype(np.float64)
        for split in SPLITS
    }
    whole = np.concatenate(list(tokens.values()))
    high = tokens["explain"].mean() + 3 * tokens["explain"].std()
    later = np.concatenate([tokens[split] for split in SPLITS[1:]])
    found = store.moments(site)
    assert found.tokens == len(whole)
    assert found.mean == pytest.approx(whole.mean(), rel=1e-4, abs=1e-6)
    assert found.variance == pytest.approx(whole.var(), rel=1e-4)
    assert found.firing == np.mean(later > high)


def test_the_dominant_side_has_the_louder_peak(store: SiteStore, subject: Subject) -> None:
    def peak(site: Site, side: Polarity) -> float:
        found = store.evidence(Site(site.layer, site.index, side, site.kind), subject.token_text).splits["explain"]
        return max(float(each.activations.max()) for each in found if each.stratum == "top")

    signed = [site for site in SITES if site.kind != "attn"]
    sides: list[Polarity] = ["-" if peak(site, "-") > peak(site, "+") else "+" for site in signed]
    assert [store.dominant(site) for site in signed] == sides
    assert set(sides) == {"+", "-"}
    assert store.dominant(Site.parse("L2.attn.3")) == "+"


def test_an_excerpt_is_any_window_of_a_block(store: SiteStore, subject: Subject, blocks: Blocks) -> None:
    site = Site.parse("L1.resid.17-")
    found = store.excerpt(site, "test", 2, 5, subject.token_text, "random")
    assert found.tokens == tuple(subject.token_text(int(token)) for token in blocks.ids("test", 2, 3)[0, 5:29])
    assert found.key == f"{blocks.document('test', 2)}:{blocks.start('test', 2) + 5}"
    np.testing.assert_array_equal(found.activations, store.windows(site, "test")[2, 5:29])
    length = int(blocks.lengths("test", 2, 3)[0])
    for block, start in ((2, -1), (2, length - 23), (blocks.count("test"), 0), (-1, 0)):
        with pytest.raises(SubjectError, match=r"no excerpt of 24 tokens"):
            store.excerpt(site, "test", block, start, subject.token_text, "random")


def test_a_site_that_the_pass_does_not_have_is_named(store: SiteStore, subject: Subject) -> None:
    other = Site.parse("L1.mlp.8")
    for ask in (
        lambda: store.evidence(other, subject.token_text),
        lambda: store.moments(other),
        lambda: store.dominant(other),
        lambda: store.windows(other, "test"),
        lambda: store.excerpt(other, "test", 0, 0, subject.token_text, "top"),
    ):
        with pytest.raises(SubjectError, match=r"'L1\.mlp\.8': the pass has the sites .*L1\.mlp\.7"):
            ask()
    with pytest.raises(SubjectError, match="never negative"):
        store.evidence(Site(2, 3, "-", "attn"), subject.token_text)


def test_a_pass_is_opened_again_for_the_same_sites_in_any_order_and_side(store: SiteStore, subject: Subject, blocks: Blocks) -> None:
    again = [Site.parse("L1.mlp.7-"), *SITES[::-1], SITES[0]]
    same = read_sites(subject, blocks, again, batch=8, report=lambda *_: pytest.fail("ran again"))
    assert same.folder == store.folder
    assert same.sites == store.sites
    assert len(same.sites) == len(SITES)
    assert "6 sites" in repr(same)
    assert store.folder.is_relative_to(settings().passes)


def test_other_sites_or_something_attached_are_another_pass(
    store: SiteStore, blocks: Blocks, tiny_checkpoint: Callable[[str], Path]
) -> None:
    folders = {store.folder}
    plain = Subject.load(str(tiny_checkpoint("llama")), device="cpu", dtype="float32")
    folders.add(read_sites(plain, blocks, [Site(0, 1)], batch=8).folder)
    folders.add(read_sites(plain, blocks, [Site(0, 2)], batch=8).folder)
    folders.add(read_sites(plain.random_init(0), blocks, [Site(0, 2)], batch=8).folder)
    plain.attach(directions=Directions("made", {1: torch.eye(32)[:1]}, "another"))
    folders.add(read_sites(plain, blocks, [Site(0, 2)], batch=8).folder)
    assert len(folders) == 5


class Stop(Exception):
    pass


def final_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "lock"}


def test_every_point_of_interruption_ends_with_the_same_bytes(
    store: SiteStore, subject: Subject, blocks: Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = final_bytes(store.folder)
    assert set(expected) == {"sites.json", *(f"{split}.safetensors" for split in SPLITS)}
    # The place of the blocks is told from the pass on.
    del expected["sites.json"]
    progress = list[int]()
    monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path / "calm"))
    read_sites(subject, blocks, SITES, batch=8, report=lambda _w, done, _t: progress.append(done))
    assert progress == sorted(set(progress))
    assert progress[-1] == blocks.tokens
    for point in range(1, len(progress), 7):
        monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path / f"stopped-{point}"))
        told = list[int]()

        def report(what: str, done: int, total: int, told: list[int] = told, point: int = point) -> None:
            told.append(done)
            if len(told) == point:
                raise Stop

        with pytest.raises(Stop):
            read_sites(subject, blocks, SITES, batch=8, report=report)
        (folder,) = (tmp_path / f"stopped-{point}" / "sites").iterdir()
        assert not (folder / "sites.json").exists()
        again = list[int]()
        found = read_sites(subject, blocks, SITES, batch=8, report=lambda _w, done, _t, again=again: again.append(done))
        assert found.folder == folder
        assert {name: content for name, content in final_bytes(folder).items() if name != "sites.json"} == expected
        assert again == progress[len(progress) - len(again) :]
        finished = [split for split in SPLITS if sum(_tokens(blocks, each) for each in SPLITS[: SPLITS.index(split) + 1]) < told[-1]]
        assert again[0] > sum(_tokens(blocks, split) for split in finished)


def _tokens(blocks: Blocks, split: Any) -> int:
    return int(blocks.lengths(split, 0, blocks.count(split)).sum())


def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    store: SiteStore, subject: Subject, blocks: Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path))
    draw, kills = random.Random(2), 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked process has none of the threads that its parent had
    try:
        while True:
            process = os.fork()
            if process == 0:
                read_sites(subject, blocks, SITES, batch=8, report=lambda *_: time.sleep(0.02))
                os._exit(0)
            if kills < 6:
                time.sleep(draw.uniform(0.02, 0.3))
                os.kill(process, signal.SIGKILL)
                kills += 1
            if os.waitpid(process, 0)[1] == 0:
                break
    finally:
        torch.set_num_threads(threads)
    assert kills >= 3
    (folder,) = (tmp_path / "sites").iterdir()
    for split in SPLITS:
        name = f"{split}.safetensors"
        assert (folder / name).read_bytes() == (store.folder / name).read_bytes()
    assert not list(folder.glob(".*part"))


def test_what_cannot_be_read_is_refused(subject: Subject, blocks: Blocks, tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="no site is named"):
        read_sites(subject, blocks, [])
    with pytest.raises(SubjectError, match="0-47"):
        read_sites(subject, blocks, [Site(0, 48)])
    with pytest.raises(CorpusError, match="16 tokens leave nothing"):
        read_sites(subject, made_blocks(tmp_path, subject.encode, count=20, excerpt=16), [Site(0, 1)])


def test_activations_that_are_not_finite_are_refused_and_not_kept(
    blocks: Blocks, tiny_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path))
    model, tokenizer = tiny_model("llama")
    subject = Subject(model.requires_grad_(False), tokenizer, name="overflowing", identity={})
    model.model.layers[1].mlp.up_proj.weight[5] = torch.inf
    with pytest.raises(SubjectError, match=r"activations of L1\.mlp\.5 are not finite in 'float32'"):
        read_sites(subject, blocks, [Site(0, 3), Site(1, 5)])
    assert not list(tmp_path.rglob("*.safetensors"))


def test_pass_and_blocks_can_be_moved_together(store: SiteStore, blocks: Blocks, tmp_path: Path, passes: Path, subject: Subject) -> None:
    root = Path(os.path.commonpath([store.folder, blocks.folder]))
    for folder in (store.folder, blocks.folder):
        shutil.copytree(folder, tmp_path / folder.relative_to(root))
    moved = SiteStore.open(tmp_path / store.folder.relative_to(root))
    assert moved.blocks.folder.resolve().is_relative_to(tmp_path.resolve())
    site = SITES[0]
    one, other = (each.evidence(site, subject.token_text).splits["test"] for each in (store, moved))
    assert rows(one) == rows(other)


def test_what_cannot_be_opened_is_named(store: SiteStore, blocks: Blocks, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="nowhere' holds no finished pass"):
        SiteStore.open(tmp_path / "nowhere")
    root = Path(os.path.commonpath([store.folder, blocks.folder]))
    for folder in (store.folder, blocks.folder):
        shutil.copytree(folder, tmp_path / folder.relative_to(root))
    copy = tmp_path / store.folder.relative_to(root)
    (copy / "test.safetensors").unlink()
    with pytest.raises(RunFolderError, match=r"test\.safetensors' is missing"):
        SiteStore.open(copy).windows(SITES[0], "test")
    result = json.loads((copy / "sites.json").read_text())
    (copy / "sites.json").write_text(json.dumps({**result, "blocks": "other"}))
    with pytest.raises(RunFolderError, match="blocks 'other'"):
        SiteStore.open(copy)


def test_one_split_can_be_read_alone(store: SiteStore, subject: Subject, blocks: Blocks, passes: Path) -> None:
    alone = read_sites(subject, blocks, SITES, splits=("test",))
    assert alone.folder != store.folder
    assert {path.stem for path in alone.folder.glob("*.safetensors")} == {"test"}
    for site in SITES:
        np.testing.assert_array_equal(alone.raw(site, "test"), store.raw(site, "test"))
