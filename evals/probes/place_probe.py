"""Trains probes for places or numbers on every layer and measures them beside what does not know: functions of arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analyzers.probes.geography import r2
from analyzers.probes.ridge import Ridge, Rows, fit_network, fit_ridge
from analyzers.progress import Report, quiet
from evals.probes.place_metrics import Truth, gained, lift, metrics
from evals.probes.place_results import HeldOut
from evals.probes.place_split import Indices, Split
from evals.probes.results import Baseline, Layer, Lift, Metrics
from evals.results import Failure
from evals.scores import Floats

COUNT_ALPHAS: Floats = np.logspace(-1, 3, 12)
"""Penalties of the bag of tokens, whose counts are not standardised: rare tokens would be blown up."""
COMMONEST = 2000
"""Tokens in the bag at most, those that most training entities have."""
FEW_GROUPS = 10
"""Below as many held-out groups intervals are over entities: so few say nothing of others."""


class Stack(Protocol):
    """States of all entities at all layers, 0 among them."""

    @property
    def layers(self) -> tuple[int, ...]: ...
    def layer(self, number: int) -> Rows: ...


@dataclass(frozen=True, eq=False)
class Material:
    """What all probes of one run are made of, in one order of entities."""

    states: Stack
    fresh: Stack
    """Of a model of the same configuration with random weights."""
    tokens: Sequence[Sequence[int]]
    """[entity] ids of the tokens of its text."""
    true: Floats
    """[entity, target]"""
    columns: tuple[str, ...]
    split: Split
    seed: int = 0
    report: Report = quiet


@dataclass(frozen=True, eq=False)
class Line:
    """Ridge probes over the layers of one model."""

    best: int
    """Layer of largest R2 on the training entities that choose."""
    predicted: dict[int, Floats]
    """By layer [test entity, target]."""
    probes: dict[int, Ridge]
    """By layer."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A run's figures."""

    best: int
    layers: list[Layer]
    baselines: dict[str, Baseline]
    lifts: dict[str, Lift | Failure]
    curves: dict[str, list[Layer]]
    alphas: dict[int, float]
    predicted: Floats
    """[test entity, target] at the best layer."""
    probe: Ridge
    """That of the best layer."""
    by_chance: Ridge
    """Of the same layer, trained on exchanged targets with the same penalty, by which a direction depends on how states vary."""
    fresh_best: int
    """The layer of the model with random weights that was best in the same way."""
    figures: Metrics = field(default_factory=dict)


def probe_layers(material: Material, stack: Stack, what: str) -> Line:
    """Every layer's probe, trained on all training entities once its layer was judged by one that was not."""
    true, parts = material.true, material.split
    judged, predicted, probes = {}, {}, {}
    for done, number in enumerate(stack.layers, 1):
        states = stack.layer(number)
        early = fit_ridge(states[parts.fit], true[parts.fit]).predict(states[parts.choose])
        judged[number] = _plain_r2(true[parts.choose], early)
        probes[number] = fit_ridge(states[parts.train], true[parts.train])
        predicted[number] = probes[number].predict(states[parts.test])
        material.report(what, done, len(stack.layers))
    return Line(max(judged, key=judged.__getitem__), predicted, probes)


def measure(material: Material, *, mlp: bool = False) -> Measured:
    """The probe of every layer on the test entities, and every baseline; with mlp also a small network's."""
    true, parts, seed = material.true, material.split, material.seed
    test = Truth.of(true[parts.test], material.columns)
    line = probe_layers(material, material.states, "probes")
    fresh = probe_layers(material, material.fresh, "probes of random weights")
    states, exchanged = material.states.layer(line.best), _exchanged(true[parts.train], seed)
    probe = line.probes[line.best]
    shuffled = fit_ridge(states[parts.train], exchanged)
    ignorant: dict[str, tuple[Floats, int | None]] = {
        "layer0": (line.predicted[0], 0),
        "bag_of_tokens": (_bag(material, parts.train, parts.test), None),
        "random_init": (fresh.predicted[fresh.best], fresh.best),
        "shuffled": (shuffled.predict(states[parts.test]), line.best),
        "mean": (_mean(true, parts.train, parts.test), None),
    }
    best = line.predicted[line.best]
    curves = {"random_init": _over_layers(test, fresh.predicted, material, "metrics of random weights")}
    figures: Metrics = {}
    if mlp:
        networks = dict(_networks(material))
        curves["mlp"] = _over_layers(test, networks, material, "metrics of networks")
        figures["mlp_minus_ridge"] = gained(test, networks[line.best], best, seed=seed)
    return Measured(
        best=line.best,
        layers=_over_layers(test, line.predicted, material, "metrics"),
        baselines={name: Baseline.of(metrics(test, each, seed=seed), at) for name, (each, at) in ignorant.items()},
        lifts={name: lift(test, best, each, seed=seed) for name, (each, _) in ignorant.items()},
        curves=curves,
        alphas={number: each.alpha for number, each in line.probes.items()},
        predicted=best,
        probe=probe,
        by_chance=fit_ridge(states[parts.train], exchanged, alphas=np.array([probe.alpha])),
        fresh_best=fresh.best,
        figures=figures,
    )


def hold_out(material: Material, groups: Sequence[str | None], folds: Indices, *, column: str, best: int, fresh_best: int) -> HeldOut:
    """Every entity with a group predicted by probes that were trained on none of its group, but for those that chose the layer.

    folds [entity] as of `group_folds`; best, fresh_best: the layers of `measure`.
    """
    true, seed = material.true, material.seed
    asked = np.setdiff1d(np.flatnonzero(folds >= 0), material.split.choose)
    states, first, fresh = material.states.layer(best), material.states.layer(0), material.fresh.layer(fresh_best)
    names = ("held_out", "layer0", "bag_of_tokens", "random_init", "shuffled", "mean")
    predicted = {name: np.zeros((len(asked), true.shape[1])) for name in names}
    number = int(folds.max()) + 1
    for fold in range(number):
        train, test = np.flatnonzero((folds >= 0) & (folds != fold)), asked[folds[asked] == fold]
        here = np.flatnonzero(folds[asked] == fold)
        predicted["held_out"][here] = fit_ridge(states[train], true[train]).predict(states[test])
        predicted["layer0"][here] = fit_ridge(first[train], true[train]).predict(first[test])
        predicted["bag_of_tokens"][here] = _bag(material, train, test)
        predicted["random_init"][here] = fit_ridge(fresh[train], true[train]).predict(fresh[test])
        predicted["shuffled"][here] = fit_ridge(states[train], _exchanged(true[train], seed)).predict(states[test])
        predicted["mean"][here] = _mean(true, train, test)
        material.report(f"held-out {column}", fold + 1, number)
    held = [str(groups[each]) for each in asked]
    many = len(set(held)) >= FEW_GROUPS
    truth = Truth.of(true[asked], material.columns, held if many else None)
    mine = predicted.pop("held_out")
    at = {"layer0": 0, "random_init": fresh_best, "shuffled": best}
    return HeldOut(
        column=column,
        groups=len(set(held)),
        folds=number,
        unit=f"values of {column}" if many else "entities",
        items={"test": len(asked), "without_group": int((folds < 0).sum())},
        metrics=metrics(truth, mine, seed=seed),
        baselines={name: Baseline.of(metrics(truth, each, seed=seed), at.get(name)) for name, each in predicted.items()},
        lifts={name: lift(truth, mine, each, seed=seed) for name, each in predicted.items()},
    )


def token_counts(tokens: Sequence[Sequence[int]], train: Indices, most: int = COMMONEST) -> npt.NDArray[np.float64]:
    """[entity, token] how often each of the tokens that most training entities have stands in each entity's text."""
    common: dict[int, int] = {}
    for number in train:
        for token in set(tokens[number]):
            common[token] = common.get(token, 0) + 1
    # What stands in all of them, such as a template, says nothing of one.
    kept = sorted((token for token in common if common[token] < len(train)), key=lambda token: (-common[token], token))[:most]
    place = {token: column for column, token in enumerate(kept)}
    counts = np.zeros((len(tokens), max(len(kept), 1)))
    for number, text in enumerate(tokens):
        for token in text:
            if token in place:
                counts[number, place[token]] += 1
    return counts


def _networks(material: Material) -> Iterator[tuple[int, Floats]]:
    parts = material.split
    for done, number in enumerate(material.states.layers, 1):
        states = material.states.layer(number)
        network = fit_network(states[parts.train], material.true[parts.train], seed=material.seed)
        yield number, network.predict(states[parts.test])
        material.report("networks", done, len(material.states.layers))


def _over_layers(test: Truth, predicted: Mapping[int, Floats], material: Material, what: str) -> list[Layer]:
    found = []
    for done, (number, each) in enumerate(sorted(predicted.items()), 1):
        found.append(Layer.of(number, metrics(test, each, seed=material.seed)))
        material.report(what, done, len(predicted))
    return found


def _bag(material: Material, train: Indices, test: Indices) -> Floats:
    counts = token_counts(material.tokens, train)
    return fit_ridge(counts[train], material.true[train], alphas=COUNT_ALPHAS, scaled=False).predict(counts[test])


def _mean(true: Floats, train: Indices, test: Indices) -> Floats:
    return np.tile(true[train].mean(axis=0), (len(test), 1))


def _exchanged(true: Floats, seed: int) -> Floats:
    exchanged: Floats = np.random.default_rng([seed, 3]).permutation(true)
    return exchanged


def _plain_r2(true: Floats, predicted: Floats) -> float:
    """Mean over targets; minus infinity where one does not vary."""
    return float(r2(true, predicted, np.ones((1, len(true)))).filled(-np.inf).mean())
