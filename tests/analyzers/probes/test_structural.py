"""The probe finds planted trees, nothing in noise, and its losses are the paper's, written as loops."""

from typing import Any, cast

import numpy as np
import pytest
import torch

from analyzers.probes import structural
from analyzers.probes.scaling import Scaling
from analyzers.probes.structural import Kind, StructuralProbe, random_probe, train_probe
from analyzers.probes.tree_measures import ceiling_scores, chance_scores, tree_scores
from analyzers.probes.trees import Floats, Forest

WIDTH = 12
TRAIN, HELD_OUT, TEST = np.arange(240), np.arange(240, 270), np.arange(270, 330)


@pytest.fixture(scope="module")
def forest() -> Forest:
    rng = np.random.default_rng(0)
    trees = []
    for _ in range(330):
        order = rng.permutation(int(rng.integers(2, WIDTH + 1)))
        heads = np.zeros(len(order), int)
        for place in range(1, len(order)):
            heads[order[place]] = order[rng.integers(place)] + 1
        trees.append(heads.tolist())
    return Forest.of(trees, [[False] * len(each) for each in trees])


def planted(forest: Forest, rotation: Floats) -> Any:
    """[word, width] 1 in a dimension of its own for every word above it and itself, the root's left out, rotated."""
    rows = np.zeros((len(forest.heads), len(rotation)))
    for sentence in range(len(forest)):
        heads = forest.heads[forest.words(sentence)]
        for word in range(len(heads)):
            at = word
            while heads[at]:
                rows[forest.starts[sentence] + word, at] = 1
                at = heads[at] - 1
    return (rows @ rotation).astype(np.float32)


def rotation(size: int) -> Floats:
    return cast(Floats, np.linalg.qr(np.random.default_rng(1).standard_normal((size, size)))[0])


def test_the_planted_map_gives_the_tree_exactly(forest: Forest) -> None:
    probe = StructuralProbe(np.eye(WIDTH, dtype=np.float32), np.zeros(WIDTH, np.float32))
    states, every = planted(forest, np.eye(WIDTH)), range(len(forest))
    found = tree_scores(forest, every, probe.distances(states, forest, every), probe.depths(states, forest, every))
    assert np.array_equal(found.correct, found.edges)
    assert np.allclose(found.dspr[found.dspr_counts], 1)
    assert np.allclose(found.nspr[found.nspr_counts], 1)
    assert found.root.all()


def test_planted_trees_are_found_in_other_sentences(forest: Forest) -> None:
    raw = planted(forest, rotation(WIDTH)) * np.linspace(1, 5, WIDTH, dtype=np.float32) + 3
    states = Scaling.of(raw[: forest.starts[270]]).apply(raw)
    distance, depth = (train_probe(kind, states, forest, TRAIN, HELD_OUT, rank=WIDTH, seed=0) for kind in ("distance", "depth"))
    found = tree_scores(forest, TEST, distance.distances(states, forest, TEST), depth.depths(states, forest, TEST))
    assert found.correct.sum() >= 0.98 * found.edges.sum()
    assert found.root.mean() > 0.95
    most = ceiling_scores(forest, TEST)
    # Ties of true distances, which no real numbers have, keep the correlations below 1.
    assert found.dspr[found.dspr_counts].mean() == pytest.approx(most.dspr[most.dspr_counts].mean(), abs=0.02)
    assert found.nspr[found.nspr_counts].mean() == pytest.approx(most.nspr[most.nspr_counts].mean(), abs=0.05)
    assert distance.losses[0] > 10 * min(distance.losses)


def test_noise_gives_chance(forest: Forest) -> None:
    states = np.random.default_rng(2).standard_normal((len(forest.heads), WIDTH)).astype(np.float32)
    probe, every = random_probe(WIDTH, 4, seed=0), range(len(forest))
    found = tree_scores(forest, every, probe.distances(states, forest, every), probe.depths(states, forest, every))
    expected = chance_scores(forest, every)
    for name in ("correct", "dspr", "nspr", "root"):
        gap = getattr(found, name) - getattr(expected, name)
        assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(len(gap)), name


@pytest.mark.parametrize("kind", ["distance", "depth"])
def test_losses_are_those_of_the_paper(forest: Forest, kind: Kind) -> None:
    rng = np.random.default_rng(3)
    states = rng.standard_normal((len(forest.heads), WIDTH)).astype(np.float32)
    matrix, origin = rng.standard_normal((3, WIDTH)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    some = np.array([5, 0, 17, 3])
    batch = structural._batch(kind, forest, some)
    found = batch.losses(*map(torch.from_numpy, (states, matrix, origin))).tolist()
    for place, sentence in enumerate(some.tolist()):
        words, n = forest.words(sentence), int(forest.lengths[sentence])
        mapped = states[words] @ matrix.T
        if kind == "distance":
            gold = forest.distances_of(sentence)
            gaps = [abs(gold[i, j] - np.square(mapped[i] - mapped[j]).sum()) for i in range(n) for j in range(n)]
        else:
            gaps = [abs(gold - np.square(row - origin).sum()) for gold, row in zip(forest.depths[words], mapped, strict=True)]
        assert found[place] == pytest.approx(sum(gaps) / len(gaps), rel=1e-4)


@pytest.mark.parametrize("kind", ["distance", "depth"])
def test_the_kept_map_is_that_of_the_least_loss(forest: Forest, kind: Kind) -> None:
    states = planted(forest, rotation(WIDTH))
    probe = train_probe(kind, states, forest, TRAIN, HELD_OUT, rank=4, seed=0, epochs=6)
    batch = structural._batch(kind, forest, HELD_OUT)
    again = batch.losses(*map(torch.from_numpy, (states, probe.matrix, probe.origin))).mean()
    assert float(again) == pytest.approx(min(probe.losses), rel=1e-4)


def test_training_stops_where_nothing_is_won(forest: Forest) -> None:
    states = np.random.default_rng(4).standard_normal((len(forest.heads), WIDTH)).astype(np.float32)
    probe = train_probe("distance", states, forest, TRAIN[:40], HELD_OUT, rank=WIDTH, seed=0, epochs=500)
    best = int(np.argmin(probe.losses))
    assert len(probe.losses) < 100
    assert min(probe.losses[best + 1 :]) > min(probe.losses) - structural.LEAST


def test_the_seed_decides_and_the_states_stay(forest: Forest) -> None:
    states = planted(forest, rotation(WIDTH))
    before = states.copy()
    one, same, other = (train_probe("distance", states, forest, TRAIN, HELD_OUT, rank=4, seed=seed, epochs=2) for seed in (0, 0, 1))
    assert np.array_equal(one.matrix, same.matrix)
    assert not np.allclose(one.matrix, other.matrix)
    assert np.array_equal(states, before)
    assert one.matrix.shape == (4, WIDTH)
    assert not one.origin.any()


def test_it_trains_on_one_thread(forest: Forest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two it takes several times as long where the machine has other work, too."""
    seen, real, before = set[int](), structural._batch, torch.get_num_threads()

    def noted(*given: Any) -> Any:
        seen.add(torch.get_num_threads())
        return real(*given)

    monkeypatch.setattr(structural, "_batch", noted)
    torch.set_num_threads(2)
    try:
        train_probe("depth", planted(forest, rotation(WIDTH)), forest, TRAIN, HELD_OUT, rank=2, seed=0, epochs=1)
        assert (seen, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


def test_no_sentences_are_refused(forest: Forest) -> None:
    states = planted(forest, rotation(WIDTH))
    with pytest.raises(ValueError, match="0 sentences to train on and 30"):
        train_probe("depth", states, forest, [], HELD_OUT, rank=2, seed=0)
    with pytest.raises(ValueError, match="and 0 to stop by"):
        train_probe("depth", states, forest, TRAIN, [], rank=2, seed=0)
