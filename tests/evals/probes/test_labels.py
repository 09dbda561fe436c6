"""Probes of labels of planted states, of noise, and of tiny models to the end."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyzers.errors import ExplicateError
from analyzers.probes.classifiers import Choice, Kind
from analyzers.probes.control import control_labels
from evals.probes.labels import probed, rows_of, run_labels
from evals.probes.labels_config import LabelsConfig
from evals.probes.labels_data import Material
from evals.probes.labels_files import Labelled
from evals.probes.labels_measure import Asked, Read, Rows, best_of, read_layer
from evals.probes.labels_scores import against_best, gravity, layer_metrics, lift
from evals.probes.results import Lift
from evals.results import Failure, Value
from evals.statistics import benjamini_hochberg, sign_flip_p

NAMES = ("N", "V", "A", "D")


class Planted:
    """States as if read."""

    def __init__(self, *layers: np.ndarray, rows: np.ndarray | None = None) -> None:
        self._layers = layers
        self.layers = tuple(range(len(layers)))
        self.rows = np.arange(len(layers[0])) if rows is None else rows

    def layer(self, number: int) -> np.ndarray:
        return self._layers[number].astype(np.float32)


def words(texts: int, each: int = 8, *, types: int = 5000, seed: int = 0) -> tuple[list[Labelled], np.ndarray]:
    """Texts of words with random labels, and these by number [word]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(NAMES), size=(texts, each))
    made = []
    for number, own in enumerate(labels):
        forms = [f"w{kind:05}" for kind in rng.integers(types, size=each)]
        spans = tuple((7 * at, 7 * at + 6) for at in range(each))
        made.append(Labelled(" ".join(forms), spans, tuple(NAMES[label] for label in own), tuple(forms), f"d{number}"))
    return made, labels.ravel()


def material(texts: list[Labelled], train: int, held: int) -> Material:
    return Material("tags", tuple(texts[:train]), tuple(texts[train : train + held]), tuple(texts[train + held :]), {"f": "0"}, 0)


CONFIG = LabelsConfig("m", control=True, mdl=True)


def figure(value: object) -> Value:
    assert isinstance(value, Value)
    return value


def test_planted_labels_are_read_where_they_are() -> None:
    texts, labels = words(160)
    rng = np.random.default_rng(1)
    noise = [rng.standard_normal((len(labels), 12)) for _ in range(5)]
    half = np.eye(12)[np.where(rng.random(len(labels)) < 0.5, labels, rng.integers(4, size=len(labels)))]
    states = Planted(noise[0], half + 0.01 * noise[1], np.eye(12)[labels] + 0.01 * noise[2], noise[3])
    fresh = Planted(noise[4], *noise[1:4])
    found = probed(CONFIG, material(texts, 90, 10), states, fresh, model={"name": "m"})  # type: ignore[arg-type]
    assert found.best == 2
    assert "chosen on 10 of the 100 texts that train (80 of 800 rows)" in found.notes[0]
    at = [layer.metrics for layer in found.layers]
    assert figure(at[2]["accuracy"]).value == 1
    assert figure(at[2]["mdl_compression"]).value > 8
    assert figure(at[0]["mdl_compression"]).value < 1.1
    control = figure(found.curves["control"][2].metrics["accuracy"]).value
    assert figure(at[2]["selectivity"]).value == pytest.approx(1 - control)
    assert control < 0.45
    assert found.as_good == []
    assert max(found.p_against_best.values()) < 0.01
    assert list(found.baselines) == ["layer0", "random_init", "shuffled", "majority", "word_type"]
    for name, lifted in found.lifts.items():
        assert isinstance(lifted, Lift), name
        assert lifted.low > 0.5
        assert lifted.p == 1 / 1000
    assert figure(found.figures["expected_layer"]).value == pytest.approx(1.5, abs=0.2)
    assert np.array(found.confusion).trace() == found.items["test"] == 60 * 8
    assert figure(found.figures["accuracy_new_words"]).value == 1


def test_noise_gives_chance_and_no_selectivity() -> None:
    texts, labels = words(400, seed=0)
    rng = np.random.default_rng(0)
    states = Planted(*(rng.standard_normal((len(labels), 6)) for _ in range(3)))
    fresh = Planted(*(rng.standard_normal((len(labels), 6)) for _ in range(3)))
    found = probed(CONFIG, material(texts, 180, 20), states, fresh, model={"name": "m"})  # type: ignore[arg-type]
    at = found.layers[found.best].metrics
    chance = figure(at["accuracy"])
    assert chance.low <= 0.25 <= chance.high
    selectivity = figure(at["selectivity"])
    assert selectivity.low <= 0 <= selectivity.high
    assert figure(at["mdl_compression"]).value < 1.05
    for lifted in found.lifts.values():
        assert isinstance(lifted, Failure) or lifted.low <= 0


@pytest.mark.parametrize("seed", range(6))
def test_noise_has_no_selectivity_where_some_words_are_frequent(seed: int) -> None:
    """As words are: a tenth of the rows is one word. With independent draws its label would be the one that a probe of noise answers."""
    texts, labels = words(300, seed=seed)
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, 2001)
    texts = [replace(text, types=tuple(f"z{kind}" for kind in rng.choice(2000, 8, p=share / share.sum()))) for text in texts]
    states = Planted(rng.standard_normal((len(labels), 4)))
    found = probed(replace(CONFIG, mdl=False, seed=seed), material(texts, 135, 15), states, None, model={"name": "m"})  # type: ignore[arg-type]
    assert abs(figure(found.layers[0].metrics["selectivity"]).value) < 0.06


def test_a_probe_of_words_alone_has_no_selectivity() -> None:
    """States that say which word stands there, of few words that all train: control labels are learnt as well as the task's."""
    texts, _ = words(120, types=20, seed=5)
    kinds = [int(kind[1:]) for text in texts for kind in text.types]
    of = np.random.default_rng(0).permutation(20) % 4
    texts = [replace(text, labels=tuple(NAMES[of[int(kind[1:])]] for kind in text.types)) for text in texts]
    states = Planted(np.eye(20)[kinds], np.eye(20)[kinds])
    found = probed(CONFIG, material(texts, 70, 10), states, None, model={"name": "m"})  # type: ignore[arg-type]
    at = found.layers[found.best].metrics
    assert figure(at["accuracy"]).value == 1
    assert figure(at["selectivity"]).value == 0
    assert figure(found.figures["control_look_up"]).value == 1
    assert figure(found.baselines["word_type"].metrics["accuracy"]).value == 1
    assert isinstance(found.lifts["layer0"], Failure)
    assert "random_init" not in found.baselines
    assert found.as_good == [1]
    assert isinstance(found.figures["expected_layer"], Failure)


def test_rows_that_were_not_read_are_counted_and_labels_that_did_not_train_are_wrong() -> None:
    texts, labels = words(60)
    texts[50] = replace(texts[50], labels=("NEW", *texts[50].labels[1:]))
    kept = np.setdiff1d(np.arange(len(labels)), [0, 1, 471])
    states = Planted(np.eye(4)[labels][kept], rows=kept)
    found = probed(replace(CONFIG, mdl=False), material(texts, 36, 4), states, None, model={"name": "m"})  # type: ignore[arg-type]
    assert (found.items["train"], found.items["test"], found.items["left_out"], found.items["new_labels"]) == (318, 159, 3, 1)
    assert figure(found.layers[0].metrics["accuracy"]).value == pytest.approx(158 / 159)
    assert np.array(found.confusion).sum() == 158
    assert sorted(found.labels) == sorted(NAMES)


def test_random_weights_have_every_metric_and_no_probe_is_trained_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from evals.probes import labels_measure

    texts, labels = words(60)
    rng = np.random.default_rng(0)
    states, fresh = (Planted(*(rng.standard_normal((len(labels), 4)) for _ in range(3))) for _ in range(2))
    choose, chosen = labels_measure.choose, list[np.ndarray]()

    def counted(kind: Kind, x: np.ndarray, y: np.ndarray, *rest: np.ndarray, **named: int) -> Choice:
        chosen.append(y)
        return choose(kind, x, y, *rest, **named)

    monkeypatch.setattr(labels_measure, "choose", counted)
    found = probed(CONFIG, material(texts, 36, 4), states, fresh, model={"name": "m"})  # type: ignore[arg-type]
    assert len(chosen) == 3 + 3 + 3 + 1, "of the task and its control at every layer, of random weights, and of their control at the best"
    known = found.baselines["random_init"].metrics
    assert set(known) == {"accuracy", "selectivity", "mdl_compression"}
    best = next(layer for layer in found.curves["random_init"] if layer.layer == found.baselines["random_init"].at)
    assert known["accuracy"] == best.metrics["accuracy"]


def test_too_little_to_read_is_told() -> None:
    texts, _ = words(40)
    with pytest.raises(ExplicateError, match="reads too few of the texts to test"):
        rows_of(material(texts, 20, 4), np.arange(24 * 8))
    same = [replace(text, labels=("N",) * 8) for text in texts]
    with pytest.raises(ExplicateError, match="all labels to train on are 'N'"):
        rows_of(material(same, 20, 4), np.arange(40 * 8))


# ---- figures against naive ones


def some_rows(seed: int = 0) -> Rows:
    texts, labels = words(30, 5, seed=seed)
    return rows_of(material(texts, 10, 2), np.arange(len(labels)))


def some_reads(rows: Rows, rates: list[float]) -> list[Read]:
    rng = np.random.default_rng(2)
    reads = []
    for layer, rate in enumerate(rates):
        right = rng.random(len(rows.test)) < rate
        reads.append(Read(layer, None, rows.labels[rows.test], right))  # type: ignore[arg-type]
    return reads


def test_gravity_is_that_of_a_loop() -> None:
    rows = some_rows()
    reads = some_reads(rows, [0.3, 0.5, 0.45, 0.8, 0.7])
    found = gravity(reads, rows)
    accuracy = [float(read.right.mean()) for read in reads]
    gains, best = [], accuracy[0]
    for value in accuracy[1:]:
        gains.append(max(value - best, 0))
        best = max(best, value)
    assert figure(found["expected_layer"]).value == pytest.approx(sum((at + 1) * gain for at, gain in enumerate(gains)) / sum(gains))
    above = [max(value - accuracy[0], 0) for value in accuracy]
    assert figure(found["centre_of_gravity"]).value == pytest.approx(sum(at * gain for at, gain in enumerate(above)) / sum(above))


def test_intervals_are_over_texts() -> None:
    """Against a bootstrap written as a loop; with all words of a text alike it is as wide as one over texts must be."""
    rows = some_rows()
    rng = np.random.default_rng(0)
    by_text = rng.random(18) < 0.6
    right = by_text[rows.unit]
    value = figure(layer_metrics([Read(0, None, rows.labels[rows.test], right)], rows)[0]["accuracy"])  # type: ignore[arg-type]
    drawn = [right.reshape(18, 5)[rng.integers(18, size=18)].mean() for _ in range(4000)]
    assert (value.low, value.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.06)
    assert value.n == 90


def test_a_lift_is_paired_and_layers_are_a_family() -> None:
    rows = some_rows()
    reads = some_reads(rows, [0.2, 0.85, 0.8, 0.5])
    lifted = lift(reads[1].right, reads[0].right, rows)
    assert isinstance(lifted, Lift)
    assert lifted.value == pytest.approx(reads[1].right.mean() - reads[0].right.mean())
    adjusted = against_best(reads, reads[1], rows)
    raw = []
    for other in (0, 2, 3):
        gained = reads[1].right.astype(float) - reads[other].right
        raw.append(sign_flip_p([gained[rows.unit == text].sum() for text in range(18)], two_sided=True))
    assert [adjusted[layer] for layer in (0, 2, 3)] == pytest.approx(benjamini_hochberg(raw))
    assert adjusted[2] > 0.05 > adjusted[0]


def test_layer_and_strength_are_chosen_without_the_test_rows() -> None:
    texts, labels = words(60)
    rows = rows_of(material(texts, 30, 6), np.arange(len(labels)))
    x = np.random.default_rng(0).standard_normal((len(labels), 5)).astype(np.float32)
    x[:, :4] += np.eye(4)[labels]
    other = x.copy()
    other[rows.test] = 0
    one, two = (read_layer(0, states, rows, Asked()) for states in (x, other))
    assert one.choice == two.choice
    assert best_of([replace(one, layer=1), one]).layer == 0


def test_texts_are_sent_whole_and_control_labels_do_not_see_the_test_rows() -> None:
    rows = some_rows()
    order = rows.sending(0)
    assert sorted(order.tolist()) == rows.train.tolist()
    assert np.count_nonzero(np.diff(rows.sentence[order])) == 11
    assert (rows.sending(1) != order).any()
    hidden = rows.labels.copy()
    hidden[rows.test] = -1
    assert (
        control_labels(rows.types, hidden, rows.train, classes=4, seed=0)
        == control_labels(rows.types, rows.labels, rows.train, classes=4, seed=0)
    ).all()


# ---- models


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_tiny_model_is_probed_to_the_end(family: str, tiny_checkpoint: Callable[[str], Path], workplace: Path) -> None:
    told: list[str] = []
    config = LabelsConfig(str(tiny_checkpoint(family)), control=True, mdl=True, probe="both", limit=24, dtype="float32")
    found = run_labels(config, report=lambda what, done, total: told.append(what))
    assert [layer.layer for layer in found.layers] == [0, 1, 2, 3]
    assert set(found.layers[0].metrics) == {"accuracy", "selectivity", "mdl_compression"}
    assert set(found.curves) == {"random_init", "control", "mlp"}
    assert set(found.baselines["random_init"].metrics) == {"accuracy", "selectivity", "mdl_compression"}
    assert {"look for repeated texts", "probe", "probe random weights", "probe by networks", "probe shuffled labels"} <= set(told)
    assert found.model_validate_json(found.model_dump_json()) == found
    majority = figure(found.baselines["majority"].metrics["accuracy"]).value
    assert figure(found.layers[found.best].metrics["accuracy"]).value > majority


def test_whole_sentences_are_read_at_an_encoder_s_start(tiny_checkpoint: Callable[[str], Path], workplace: Path) -> None:
    config = LabelsConfig(str(tiny_checkpoint("bert")), task="tense", pool="start", control=True, random_init=False, dtype="float32")
    found = run_labels(config)
    assert set(found.baselines) == {"layer0", "shuffled", "majority", "length", "target_word"}
    assert found.items["test"] == found.items["test_sentences"]
    assert any("control labels: one drawn for the type of the first word" in note for note in found.notes)
    with pytest.raises(ExplicateError, match="is a decoder"):
        run_labels(replace(config, model=str(tiny_checkpoint("llama"))))
