"""The material of a site of a tiny model, from the pass that real sites are read in."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analyzers.blocks import Blocks, BlockSettings
from analyzers.duplicates import overlap
from analyzers.evidence import Evidence
from analyzers.site_pass import read_sites
from analyzers.site_store import SiteStore
from analyzers.sites import Site
from analyzers.subject import Subject
from evals.scoring.gathering import REPEATED, Gathered, gather
from evals.scoring.material import LOUD, SILENT

SITE = Site.parse("L1.mlp.7")
TEXT = "the river town hills north bridge water evening herons otters markets cheese apples music valley"


@pytest.fixture
def store(tiny_checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SiteStore, Evidence, Subject]:
    monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path / "passes"))
    subject = Subject.load(str(tiny_checkpoint("llama")), device="cpu", dtype="float32")
    draw = random.Random(0)
    rows = [{"id": f"d{number}", "text": " ".join(draw.choices(TEXT.split(), k=draw.randint(20, 60)))} for number in range(100)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cut = BlockSettings(block_tokens=48, excerpt_tokens=24)
    blocks = Blocks.build(str(tmp_path / "corpus.jsonl"), subject.encode, tmp_path / "blocks", tokenizer_identity="tiny", settings=cut)
    read = read_sites(subject, blocks, [SITE], batch=8)
    return read, read.evidence(SITE, subject.token_text), subject


def test_items_are_windows_of_the_test_split_and_carry_their_own_activations(store: tuple[SiteStore, Evidence, Subject]) -> None:
    read, evidence, subject = store
    material = gather(read, evidence, subject.token_text)
    assert isinstance(material, Gathered)
    count = read.blocks.count("test")
    assert material.windows == count
    places = {(read.blocks.document("test", block), read.blocks.start("test", block)): block for block in range(count)}
    activations = read.windows(SITE, "test")
    taken = set()
    for item in material.items:
        # A block's window is its centre: the block that begins at most a block before it.
        (block,) = [
            block
            for (document, start), block in places.items()
            if document == item.excerpt.document
            and start <= item.excerpt.start < start + int(read.blocks.lengths("test", block, block + 1)[0])
        ]
        begin = item.excerpt.start - read.blocks.start("test", block)
        assert begin == (int(read.blocks.lengths("test", block, block + 1)[0]) - 24) // 2
        assert np.array_equal(item.excerpt.activations, activations[block, begin : begin + 24])
        loudest = float(item.excerpt.activations.max())
        assert loudest >= LOUD * evidence.peak if item.fires else loudest < SILENT * evidence.peak
        assert all(overlap(item.excerpt.text, shown.text) < REPEATED for shown in evidence.splits["explain"])
        taken.add(block)
    assert len(taken) == len(material.items) > 0
    assert material.firing
    assert material.weighted
    assert {window.document for window in material.weighted}.isdisjoint(excerpt.document for excerpt in evidence.splits["explain"])
