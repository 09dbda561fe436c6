"""Planted trees are found above every baseline, noise is not, and the layer is chosen without the test sentences; then tiny models."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from analyzers.probes.trees import distances_and_depths
from analyzers.treebank import Sentence, Word
from evals.probes.results import Lift
from evals.probes.tree_config import TreeConfig
from evals.probes.tree_material import Material
from evals.probes.tree_results import TreeProbed
from evals.probes.tree_run import probed, run_tree
from evals.results import Failure, Value

WIDTH, MOST = 10, 8
TRAIN, TEST = 200, 60
FILES = (Path(__file__), Path(__file__).with_name("test_tree_scores.py"))


def random_sentences(count: int, seed: int) -> list[Sentence]:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        order = rng.permutation(int(rng.integers(5, MOST + 1)))
        heads = np.zeros(len(order), int)
        for place in range(1, len(order)):
            heads[order[place]] = order[rng.integers(place)] + 1
        forms = [f"w{rng.integers(1000)}" for _ in order]
        ends = np.cumsum([len(form) + 1 for form in forms])
        words = tuple(
            Word(form, form, "NOUN", "NN", int(head), "dep", (int(end) - 1 - len(form), int(end) - 1))
            for form, head, end in zip(forms, heads, ends, strict=True)
        )
        found.append(Sentence(f"s{number}", "d", " ".join(forms), words))
    return found


class Planted:
    """States by layer; those named have the trees in them, the others nothing."""

    def __init__(self, sentences: Sequence[Sentence], *, told: Sequence[int], seed: int) -> None:
        self.width = WIDTH
        self.rows = np.arange(sum(len(each.words) for each in sentences))
        self._sentences, self._told, self._seed = sentences, told, seed

    def layer(self, number: int) -> Any:
        rng = np.random.default_rng([self._seed, number])
        noise = rng.standard_normal((len(self.rows), WIDTH)).astype(np.float32)
        if number not in self._told:
            return noise
        rotation = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
        rows = []
        for sentence in self._sentences:
            own = np.zeros((len(sentence.words), WIDTH))
            for word in range(len(own)):
                at = word
                while sentence.heads[at]:
                    own[word, at] = 1
                    at = sentence.heads[at] - 1
            gaps = np.square(own[:, None] - own[None]).sum(axis=-1)
            assert np.array_equal(gaps, distances_and_depths(sentence.heads)[0])
            rows.append(own)
        return (np.concatenate(rows) @ rotation + 2).astype(np.float32)


@pytest.fixture(scope="module")
def material() -> Material:
    return Material(tuple(random_sentences(TRAIN + TEST, 0)), TRAIN, 0, 0)


def told_of(material: Material, *, told: Sequence[int], layers: Sequence[int] = (0, 1), ranks: tuple[int, ...] = ()) -> TreeProbed:
    config = TreeConfig("m", FILES, rank=MOST, ranks=ranks)
    states, fresh = (Planted(material.sentences, told=some, seed=seed) for seed, some in ((1, told), (2, ())))
    return probed(config, material, cast(Any, states), cast(Any, fresh), layers, model={"name": "m"})


@pytest.fixture(scope="module")
def found(material: Material) -> TreeProbed:
    return told_of(material, told=[1], ranks=(1,))


def value(of: Value | Failure) -> Value:
    assert isinstance(of, Value)
    return of


def test_planted_trees_are_found_at_their_layer(found: TreeProbed) -> None:
    assert found.best == 1
    metrics = {name: value(each) for name, each in found.layers[1].metrics.items()}
    assert metrics["uuas"].value > 0.93
    assert metrics["uuas_apart"].value > 0.93
    assert metrics["root"].value > 0.9
    for name in ("dspr", "nspr"):
        assert metrics[name].value == pytest.approx(value(found.figures[f"{name}_ceiling"]).value, abs=0.06)
    held_out = {each.layer: value(each.metrics["uuas"]).value for each in found.held_out}
    assert held_out[1] > 0.95 > 0.5 > held_out[0]


def test_it_lies_above_every_baseline(found: TreeProbed) -> None:
    assert list(found.baselines) == ["chance", "linear_chain", "random_projection", "layer0", "random_init"] == list(found.lifts)
    for name, lift in found.lifts.items():
        assert isinstance(lift, Lift), name
        assert lift.low > 0.03
        assert lift.p <= 0.01
        assert lift.value == pytest.approx(metric(found) - value(found.baselines[name].metrics["uuas"]).value)
    assert {name: each.at for name, each in found.baselines.items() if name not in ("random_init",)} == {
        "chance": None,
        "linear_chain": None,
        "random_projection": 1,
        "layer0": 0,
    }
    assert value(found.baselines["linear_chain"].metrics["uuas_apart"]).value == 0


def metric(found: TreeProbed) -> float:
    return value(found.layers[1].metrics["uuas"]).value


def test_a_low_rank_finds_less_and_trees_are_shown(found: TreeProbed, material: Material) -> None:
    assert [each.rank for each in found.ranks] == [1, MOST]
    assert value(found.ranks[0].metrics["uuas"]).value < metric(found) == value(found.ranks[1].metrics["uuas"]).value
    assert [tree.why for tree in found.trees] == ["best", "median", "worst", "drawn", "drawn", "drawn"]
    tests = {each.id: each for each in material.sentences[TRAIN:]}
    for tree in found.trees:
        sentence = tests[tree.id]
        assert tree.words == [word.form for word in sentence.words]
        assert set(tree.gold) == {(min(w, h - 1), max(w, h - 1)) for w, h in enumerate(sentence.heads) if h}
        assert tree.root == sentence.heads.index(0)
        assert len(tree.predicted) == len(tree.gold) >= 4
    shares = [len(set(tree.gold) & set(tree.predicted)) / len(tree.gold) for tree in found.trees]
    assert shares[0] >= shares[1] >= shares[2]
    assert all(shares[2] <= share <= shares[0] for share in shares[3:])


def test_what_was_done_is_told(found: TreeProbed) -> None:
    assert found.items == {"train": 180, "held_out": 20, "test": TEST, "left_out": 0, "repeated": 0, "short": 0}
    assert found.source == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FILES}
    assert (found.kind, found.main, found.unit, found.rank) == ("tree", "uuas", "sentences", MOST)
    assert TreeProbed.model_validate_json(found.model_dump_json()) == found


def test_noise_gives_chance(material: Material) -> None:
    found = told_of(material, told=(), layers=(1,))
    own, chance = (each["uuas"] for each in (found.layers[0].metrics, found.baselines["chance"].metrics))
    assert value(own).low <= value(chance).value <= value(own).high
    lift = found.lifts["chance"]
    assert isinstance(lift, Lift)
    assert lift.low <= 0 <= lift.high
    assert found.ranks == []
    for name in ("dspr", "nspr", "root"):
        measured, expected = (value(each[name]) for each in (found.layers[0].metrics, found.baselines["chance"].metrics))
        assert measured.low - 0.02 <= expected.value <= measured.high + 0.02, name


def test_a_best_layer_0_is_not_above_itself(material: Material) -> None:
    found = told_of(material, told=[0], layers=(0,))
    assert found.best == 0
    lift = found.lifts["layer0"]
    assert isinstance(lift, Failure)
    assert "itself" in lift.reason


@pytest.fixture
def treebanks(workplace: Path) -> tuple[Path, Path]:
    """Two files of random sentences, with a sentence longer than any tiny model takes among those to test on."""
    paths = workplace / "train.conllu", workplace / "dev.conllu"
    for path, seed in zip(paths, (3, 4), strict=True):
        blocks = []
        for sentence in random_sentences(40, seed):
            lines = [
                "\t".join((str(number), word.form, word.lemma, word.upos, word.xpos, "_", str(word.head), word.deprel, "_", "_"))
                for number, word in enumerate(sentence.words, 1)
            ]
            blocks.append("\n".join((f"# text = {sentence.text}", *lines)))
        if seed == 4:
            long = [f"{number}\tw{number}\t_\tNOUN\tNN\t_\t{number - 1}\tdep\t_\t_" for number in range(1, 700)]
            blocks.append("\n".join(long))
        path.write_text("\n\n".join(blocks) + "\n\n", encoding="utf-8")
    return paths


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_decoder_and_an_encoder(family: str, tiny_checkpoint: Callable[[str], Path], treebanks: tuple[Path, Path]) -> None:
    seen = []
    config = TreeConfig(str(tiny_checkpoint(family)), treebanks, layers="2", rank=4, ranks=(1,), limit=0, test=0, dtype="float32")
    found = run_tree(config, report=lambda what, done, total: seen.append((what, done, total)))
    assert [each.layer for each in found.layers] == [2]
    assert found.baselines["layer0"].at == 0
    assert found.items == {"train": 36, "held_out": 4, "test": 40, "left_out": 1, "repeated": 0, "short": 0}
    assert set(found.source) == {"train.conllu", "dev.conllu"}
    assert [what for what in seen if what[0] == "train probes"][-1] == ("train probes", 4, 4)
    assert {"reading dev.conllu", "look for repeated texts", "split texts into tokens", "read states", "measure baselines"} <= {
        what for what, _, _ in seen
    }
    assert any("decoder" in note for note in found.notes) is (family == "llama")
    again = run_tree(config)
    assert again == found
