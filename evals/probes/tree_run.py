"""The structural probe of a model, by its name: all layers, baselines, ranks, and some trees to look at."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from analyzers.probes.tree_measures import TreeScores, ceiling_scores, chain_scores, chance_scores
from analyzers.progress import Report, quiet
from evals.probes.results import Baseline, Layer, Lift, Metrics
from evals.probes.tree import Fitted, States, best_of, fit_layer, predicted_trees, random_projection
from evals.probes.tree_config import TreeConfig
from evals.probes.tree_material import Material, Readable, draw_material, readable
from evals.probes.tree_results import AtRank, TreeProbed
from evals.probes.tree_scores import metrics, uuas_lift
from evals.probes.tree_shown import shown_trees
from evals.results import Failure
from evals.source_files import sources

if TYPE_CHECKING:
    from analyzers.states.store import States as Store

TRAINING = "train probes"
MEASURING = "measure baselines"
FEW = 800
"""Sentences to train on below which it is told that there are few."""


def run_tree(config: TreeConfig, *, report: Report = quiet) -> TreeProbed:
    """Read the states, train the probes, measure. Raises ExplicateError for what the user can mend."""
    from analyzers.states.reading import random_init, read_states
    from analyzers.text_model import TextModel
    from analyzers.treebank import read_treebank

    # What is misspelt or missing is told before a model is fetched and loaded.
    config.check()
    train, test = (read_treebank(path, report=report) for path in config.conllu)
    material = draw_material(train, test, limit=config.limit, tests=config.test, seed=config.seed, report=report)
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    layers = config.layers_of(model.layers)
    read = sorted({0, *layers})
    states = read_states(model, material.pieces, layers=read, report=report)
    config.ranks_of(states.width)
    fresh = read_states(random_init(model, config.seed), material.pieces, layers=read, report=report)
    notes = ["a decoder: the state of a word has seen only what stands before it"] if model.causal else []
    return probed(config, material, states, fresh, layers, model=model.identity, notes=notes, report=report)


def probed(
    config: TreeConfig,
    material: Material,
    states: "Store",
    fresh: "Store",
    layers: Sequence[int],
    *,
    model: Mapping[str, str],
    notes: Sequence[str] = (),
    report: Report = quiet,
) -> TreeProbed:
    """Of states that were read; fresh: those of the same model with random weights, of the same layers, 0 and `layers` among them."""
    seed, rank, ranks = config.seed, config.rank_of(states.width), config.ranks_of(states.width)
    ready = readable(material, states, seed=seed)
    forest, split = ready.forest, ready.split
    total, done = len({0, *layers}) + len(layers) + len(ranks), 0

    def at(store: "Store", layer: int) -> States:
        return store.layer(layer)[ready.rows]

    def fit(store: "Store", layer: int, at_rank: int = rank) -> Fitted:
        nonlocal done
        report(TRAINING, done, total)
        made = fit_layer(layer, at(store, layer), forest, split, rank=at_rank, seed=seed)
        done += 1
        report(TRAINING, done, total)
        return made

    def measured(scores: TreeScores, at_layer: int | None = None) -> tuple[TreeScores, Metrics, int | None]:
        return scores, metrics(scores, seed=seed), at_layer

    fitted = {layer: fit(states, layer) for layer in sorted({0, *layers})}
    best = best_of([fitted[layer] for layer in layers])
    untrained = [fit(fresh, layer) for layer in layers]
    untrained_best = best_of(untrained)
    of_rank = {each: fit(states, best.layer, each).metrics for each in ranks}
    report(MEASURING, 0, 1)
    beside: dict[str, tuple[TreeScores, Metrics, int | None]] = {
        "chance": measured(chance_scores(forest, split.test)),
        "linear_chain": measured(chain_scores(forest, split.test)),
        "random_projection": measured(random_projection(at(states, best.layer), forest, split, rank=rank, seed=seed), best.layer),
        "layer0": (fitted[0].test, fitted[0].metrics, 0),
        "random_init": (untrained_best.test, untrained_best.metrics, untrained_best.layer),
    }
    ceiling = metrics(ceiling_scores(forest, split.test), seed=seed)
    trees = shown_trees(ready, list(predicted_trees(best, at(states, best.layer), forest, split)), seed=seed)
    report(MEASURING, 1, 1)
    return TreeProbed(
        model=dict(model),
        task="syntax trees",
        source=sources(config.conllu),
        seed=seed,
        items=_items(material, ready),
        unit="sentences",
        pool="mean",
        main="uuas",
        best=best.layer,
        layers=[Layer.of(layer, fitted[layer].metrics) for layer in layers],
        baselines={name: Baseline.of(found, at=layer) for name, (_, found, layer) in beside.items()},
        lifts={name: _lift(best, scores, layer, name, seed) for name, (scores, _, layer) in beside.items()},
        curves={"random_init": [Layer.of(each.layer, each.metrics) for each in untrained]},
        figures={f"{name}_ceiling": ceiling[name] for name in ("dspr", "nspr")},
        notes=[*notes, *_notes(config, rank, best, len(split.train))],
        rank=rank,
        held_out=[Layer.of(layer, {"uuas": metrics(fitted[layer].held_out, seed=seed)["uuas"]}) for layer in layers],
        ranks=[AtRank(rank=each, metrics=found) for each, found in sorted({**of_rank, rank: best.metrics}.items()) if of_rank],
        trees=trees,
    )


def _items(material: Material, ready: Readable) -> dict[str, int]:
    return {
        "train": len(ready.split.train),
        "held_out": len(ready.split.held_out),
        "test": len(ready.split.test),
        "left_out": ready.unread,
        "repeated": material.repeated,
        "short": material.short,
    }


def _lift(best: Fitted, known: TreeScores, layer: int | None, name: str, seed: int) -> Lift | Failure:
    if name == "layer0" and layer == best.layer:
        return Failure(stage="score", reason="layer 0 is itself the best layer")
    return uuas_lift(best.test, known, seed=seed)


def _notes(config: TreeConfig, rank: int, best: Fitted, train: int) -> list[str]:
    more = [f"few sentences to train on ({train}): probes find more with more of them; see --limit"] if train < FEW else []
    third = "" if config.layers else "; every third layer was probed: see --layers"
    return [
        f"rank {rank}; the layer was chosen by UUAS on the held-out sentences, on which training was stopped, too{third}",
        f"distance probe: {len(best.distance.losses)} epochs at the best layer, depth probe: {len(best.depth.losses)}",
        "punctuation (UPOS PUNCT, or a tag of the paper's) has no part in UUAS and root accuracy",
        "DSpr. and NSpr. are of sentences of 5 to 50 words",
        "chance is exact, of random distances and depths; no shuffled baseline: trees of other words and lengths cannot be exchanged",
        *more,
        "the ceilings are what exact distances and depths get whose ties are broken at random, as a probe's always are",
    ]
