"""Influence where the truth is known: planted facts and orders, exchanged labels, and small models trained without some passages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analyzers.corpus import documents, source_identity
from analyzers.errors import Failed
from analyzers.progress import Report, quiet
from evals.influence.baselines import Floats
from evals.influence.evaluate_config import CHOSEN_ON, STEPS, EvaluateConfig
from evals.influence.evaluate_results import Evaluated, Measure
from evals.influence.known_truth import Scores, apart, compared, datamodelling, mislabelled, prefilter_recall, recall
from evals.influence.planted import Material, planted
from evals.influence.planted_scores import asked_of, planted_scores
from evals.influence.trials import Trials, read, steps_in
from evals.results import Failure, Value, stored
from evals.statistics import mean

if TYPE_CHECKING:
    from analyzers.influence.scoring import Query

REMOVED_BY = ("ekfac", "bm25", "random")
"""Rankings whose passages at the top are removed."""
ORDERED_BY = ("ekfac", "gradient", "cosine", "bm25", "embedding")
"""Rankings that are asked for the order of key phrases."""
WORDS = 12
"""Of a passage of the background text: about as many tokens as the models take."""
FEW = 20
"""Of what intervals are over, below which it is told that there are few."""
FEW_KNOWN = 0.5


def run_evaluate(config: EvaluateConfig, *, report: Report = quiet) -> Evaluated:
    """Train, score, and measure. Raises ExplicateError for what the user can mend."""
    config.check()
    background = _background(config, report)
    material = planted(config.queries, background=background, seed=config.seed)
    trials = _trials(config, material, report)
    asked = asked_of(material)
    found = planted_scores(trials, material, report)
    measures = recall(found.facts, [fact.answer for fact in material.facts], seed=config.seed)
    halves, said = _halves(config, trials, asked, report)
    measures["lds"] = datamodelling(found.asked, halves, said, seed=config.seed)
    measures["mislabelled"] = mislabelled(found.lines, [wrong for *_, wrong in material.lines], seed=config.seed)
    measures["removal"] = _removal(config, trials, asked, found.facts, found.said, report)
    measures["order_flip"] = apart({name: found.orders[name] for name in ORDERED_BY}, found.pairs, ("same", "flipped"), seed=config.seed)
    ours, near = found.facts["ekfac"], found.facts["tf_idf"]
    assert not isinstance(ours, Failed)
    assert not isinstance(near, Failed)
    measures["prefilter_recall"] = prefilter_recall(ours, near, seed=config.seed)
    known = stored({"known": mean([float(each) for each in found.known], seed=config.seed)})["known"]
    return Evaluated(
        measures=measures,
        known=known,
        known_by_chance=1 / (1 + len(material.facts[0].wrong)),
        steps=trials.training.steps,
        passages=len(material.passages),
        background=len(background),
        queries=config.queries,
        halves=config.halves,
        removed=config.removals,
        k=config.k,
        trainings=1 + config.halves + len(REMOVED_BY) * config.removals,
        seed=config.seed,
        source={} if config.corpus is None else {"corpus": config.corpus, "identity": source_identity(config.corpus, report=report)},
        notes=_notes(config, known),
    )


def _trials(config: EvaluateConfig, material: Material, report: Report) -> Trials:
    from analyzers.influence.retraining import RECIPE, Training, tokenizer_of
    from analyzers.pass_folder import FORMAT, content_key, read_json, write_json
    from analyzers.settings import settings

    folder = settings().passes / "influence"
    folder.mkdir(parents=True, exist_ok=True)
    report("train a tokenizer", 0, 0)
    tokenizer = tokenizer_of(material.passages, RECIPE)
    ids = [read(tokenizer, text) for text in material.passages]
    steps = config.steps or STEPS
    if config.minutes is not None:
        # How fast the machine was when the run began decides, also where it goes on.
        path = folder / f"{content_key(['minutes', config.minutes, config.seed, config.halves, config.removed, material.passages])}.json"
        if not path.exists():
            # Of half the passages a training lasts half as long.
            trainings = 1 + config.halves / 2 + len(REMOVED_BY) * config.removals
            write_json(path, {"format": FORMAT, "steps": steps_in(config.minutes, trainings, tokenizer, ids, config.seed)})
        steps = int(read_json(path)["steps"])
    return Trials(ids, Training(steps, config.seed), tokenizer, folder)


def _halves(config: EvaluateConfig, trials: Trials, asked: "Sequence[Query]", report: Report) -> tuple[npt.NDArray[np.bool_], Floats]:
    """([training, passage] whether it was trained on, [training, query] log-probability)."""
    many = len(trials.ids)
    rng = np.random.default_rng([config.seed, 5])
    halves = np.zeros((config.halves, many), np.bool_)
    said = []
    for number in range(config.halves):
        report("train on halves", number, config.halves)
        halves[number, rng.choice(many, many // 2, replace=False)] = True
        said.append(trials.logprobs(np.flatnonzero(halves[number]).tolist(), asked, "train one half", report))
    report("train on halves", config.halves, config.halves)
    return halves, np.array(said)


def _removal(
    config: EvaluateConfig, trials: Trials, asked: "Sequence[Query]", scores: Scores, whole: Sequence[float], report: Report
) -> Measure:
    """How much less probable an answer is where the k passages at the top of a ranking were not trained on."""
    drops: dict[str, list[float]] = {name: [] for name in REMOVED_BY}
    total, done = config.removals * len(REMOVED_BY), 0
    for query in range(config.removals):
        for name in REMOVED_BY:
            report("train without some", done, total)
            ranking = scores[name]
            assert not isinstance(ranking, Failed)
            gone = set(np.argsort(-ranking[query], kind="stable")[: config.k].tolist())
            left = [place for place in range(len(trials.ids)) if place not in gone]
            drops[name].append(whole[query] - trials.logprobs(left, asked, "train one without", report)[query])
            done += 1
    report("train without some", total, total)
    return compared({name: np.array(each) for name, each in drops.items()}, over="queries", chance=None, seed=config.seed)


def _background(config: EvaluateConfig, report: Report) -> list[str]:
    """Passages of the corpus, of some words each, drawn by seed."""
    if config.corpus is None:
        return []
    found: list[str] = []
    for document in documents(config.corpus, report=report):
        words = document.text.split()
        found += [" ".join(words[begin : begin + WORDS]) for begin in range(0, len(words) - WORDS + 1, WORDS)]
    rng = np.random.default_rng([config.seed, 6])
    chosen = rng.permutation(len(found))[: config.background]
    return [found[number] for number in sorted(chosen.tolist())]


def _notes(config: EvaluateConfig, known: Value | Failure) -> list[str]:
    notes = ["the models are small and the text is made up: figures say how these methods compare here, not how well they do on others"]
    units = {"queries": config.queries, "halves": config.halves, "removals": config.removals}
    told = [f"{name} ({count})" for name, count in units.items() if count < FEW]
    if told:
        notes.append(
            f"few {', few '.join(told)}: intervals over them are likely too narrow; --queries and --halves give more of those, "
            f"removals are {config.removed} at most"
        )
    if config.seed == CHOSEN_ON:
        notes.append(
            f"steps, sizes and the made-up text were settled while looking at seed {CHOSEN_ON}, so that its figures are no fresh test; "
            "those of any other --seed are"
        )
    if isinstance(known, Value) and known.value < FEW_KNOWN:
        notes.append(
            "the model did not learn most planted facts in other words: what is not found may be its fault; but with many more --steps it "
            "learns lines by heart, whose gradients vanish"
        )
    return notes
