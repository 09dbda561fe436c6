"""Influence where the truth is known: planted facts and orders, exchanged labels, and small models trained without some passages."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analyzers.corpus import documents, source_identity
from analyzers.errors import Failed
from analyzers.progress import Report, quiet
from evals.influence.baselines import bm25, places, tf_idf
from evals.influence.evaluate_config import STEPS, EvaluateConfig
from evals.influence.evaluate_results import Evaluated, Measure
from evals.influence.measures import ranked
from evals.influence.planted import Material, planted
from evals.influence.trials import Trials, steps_in
from evals.results import Failure, Value, stored
from evals.statistics import auroc_over, bootstrap, mean

if TYPE_CHECKING:
    from analyzers.influence.scoring import Query

Floats = npt.NDArray[np.float64]
OURS = "ekfac"
"""What is held against all others."""
RECALL = (1, 5, 10)
PREFILTERS = (0.05, 0.1, 0.25, 0.5)
"""Shares of the passages that a pre-filter leaves."""
TOP = 10
"""Of a full scan, of which a pre-filter is to keep as much as it can."""
RANK = 16
"""Of queries, which are some ten tokens long."""
WORDS = 25
"""Of a passage of the background text."""
FEW_KNOWN = 0.5


def run_evaluate(config: EvaluateConfig, *, report: Report = quiet) -> Evaluated:
    """Train, score, and measure. Raises ExplicateError for what the user can mend."""
    config.check()
    background = _background(config, report)
    material = planted(config.queries, background=background, seed=config.seed)
    trials = _trials(config, material, report)
    queries = _queries(material)
    found = _scores(trials, material, queries, report)
    facts, pairs = len(material.facts), len(material.pairs)
    outside = 2 * pairs
    inside = {name: each[:, : len(material.passages)] for name, each in found["scores"].items()}
    of_facts = {name: each[:facts] for name, each in inside.items()}
    measures = recall(of_facts, [fact.answer for fact in material.facts], seed=config.seed)
    asked = [queries[number] for number in range(facts + pairs)]
    whole = trials.logprobs(range(len(material.passages)), asked, "train on all passages", report)
    halves, said = _halves(config, trials, asked, report)
    measures["lds"] = datamodelling({name: each[: facts + pairs] for name, each in inside.items()}, halves, said, seed=config.seed)
    measures["mislabelled"] = mislabelled(found, material, seed=config.seed)
    measures["removal"] = _removal(config, trials, asked, of_facts, whole, report)
    orders = {name: found["scores"][name][facts : facts + pairs, -outside:] for name in ("ekfac", "gradient", "cosine", "bm25")}
    sizes = {name: each[facts : facts + pairs] for name, each in inside.items()}
    measures["order_flip"] = order_flip(orders, sizes, seed=config.seed)
    measures["prefilter_recall"] = prefilter_recall(of_facts, seed=config.seed)
    known = stored({"known": mean([float(each) for each in found["known"]], seed=config.seed)})["known"]
    wrong = len(material.facts[0].wrong)
    return Evaluated(
        measures=measures,
        known=known,
        known_by_chance=1 / (1 + wrong),
        steps=trials.training.steps,
        passages=len(material.passages),
        background=len(background),
        queries=config.queries,
        halves=config.halves,
        removed=min(config.removed, config.queries),
        k=config.k,
        trainings=trials.trained,
        seed=config.seed,
        source={} if config.corpus is None else {"corpus": config.corpus, "identity": source_identity(config.corpus, report=report)},
        notes=_notes(config, known),
    )


# ---- what each measure says of given scores


def recall(scores: Mapping[str, Floats], answers: Sequence[int], *, seed: int = 0) -> dict[str, Measure]:
    """By name `recall_at_<k>` the share of queries [query, passage] whose answer is among the first k; equal scores share their places."""
    at = {name: np.array([places(row)[answer] for row, answer in zip(each, answers, strict=True)]) for name, each in scores.items()}
    many = next(iter(scores.values())).shape[1]
    return {
        f"recall_at_{k}": _measure({name: (each <= k).astype(np.float64) for name, each in at.items()}, "queries", min(1.0, k / many), seed)
        for k in RECALL
    }


def datamodelling(scores: Mapping[str, Floats], halves: npt.NDArray[np.bool_], said: Floats, *, seed: int = 0) -> Measure:
    """Linear datamodelling score: over trainings, Spearman's correlation of a query's log-probability with the summed influence of the
    passages that were trained on; its mean over queries, whose interval varies the queries and not the trainings.

    scores [query, passage]; halves [training, passage]; said [training, query]. Source: Park et al. 2023 (TRAK).
    """
    every = np.ones((1, len(halves)))
    by_query = {}
    for name, each in scores.items():
        expected = halves.astype(np.float64) @ each.T
        by_query[name] = np.array([float(ranked(expected[:, at], said[:, at])(every).filled(0.0)[0]) for at in range(each.shape[0])])
    return _measure(by_query, "queries", 0.0, seed)


def mislabelled(found: Mapping[str, Any], material: Material, *, seed: int = 0) -> Measure:
    """AUROC of a line's influence on the label that it says, against whether that was exchanged: what the rest of the text speaks against
    is learnt from the line alone. Beside influence stands the surprisal of the label."""
    exchanged = np.array([wrong for _, _, _, wrong in material.lines])
    values = {name: np.asarray(each, np.float64) for name, each in found["self"].items()}
    index = np.arange(len(exchanged))
    of = {name: auroc_over(each, exchanged, index) for name, each in values.items()}
    figures = stored(bootstrap(of, len(index), n=len(index), seed=seed))
    first = of[OURS]
    lifts = {name: (lambda weights, other=other: first(weights) - other(weights)) for name, other in of.items() if name != OURS}
    return Measure(figures=figures, lifts=stored(bootstrap(lifts, len(index), n=len(index), seed=seed)), over="lines", chance=0.5)


def order_flip(scores: Mapping[str, Floats], inside: Mapping[str, Floats], *, seed: int = 0) -> Measure:
    """Influence of a sentence in the order of the query less that of the same with its key phrases in the other order.

    scores [query, 2 x pair]: of every pair's sentence, first all in the order of the query; inside [query, passage] gives the unit, the
    root mean square over the passages of the text. `<method>_same` and `<method>_flipped` are the two parts.
    """
    parts: dict[str, Floats] = {}
    apart: dict[str, Floats] = {}
    for name, each in scores.items():
        pairs = np.arange(len(each))
        size = np.sqrt((inside[name] ** 2).mean(axis=1))
        unit = np.where(size > 0, size, 1.0)
        same, flipped = each[pairs, pairs] / unit, each[pairs, len(each) + pairs] / unit
        parts |= {f"{name}_same": same, f"{name}_flipped": flipped}
        apart[name] = same - flipped
    figures = stored({name: mean(each, seed=seed) for name, each in {**apart, **parts}.items()})
    return Measure(figures=figures, lifts={}, over="pairs", chance=0.0)


def prefilter_recall(scores: Mapping[str, Floats], *, seed: int = 0) -> Measure:
    """Share of the passages at the top of a full scan that a pre-filter by TF-IDF leaves, by the share of all passages that it leaves."""
    many = scores[OURS].shape[1]
    top = np.argsort(-scores[OURS], axis=1, kind="stable")[:, :TOP]
    near = np.argsort(-scores["tf_idf"], axis=1, kind="stable")
    found = {}
    for share in PREFILTERS:
        left = near[:, : max(1, round(share * many))]
        found[f"{share:g}"] = np.array([np.isin(mine, kept).mean() for mine, kept in zip(top, left, strict=True)])
    return Measure(figures=stored({name: mean(each, seed=seed) for name, each in found.items()}), lifts={}, over="queries")


def _measure(values: Mapping[str, Floats], over: str, chance: float | None, seed: int) -> Measure:
    """The mean of every method [unit], and how far ours lies above each."""
    lifts = {name: mean(values[OURS] - each, seed=seed) for name, each in values.items() if name != OURS}
    return Measure(
        figures=stored({name: mean(each, seed=seed) for name, each in values.items()}), lifts=stored(lifts), over=over, chance=chance
    )


# ---- what is trained and scored


def _trials(config: EvaluateConfig, material: Material, report: Report) -> Trials:
    from analyzers.influence.retraining import RECIPE, Training, tokenizer_of
    from analyzers.pass_folder import FORMAT, content_key, read_json, write_json
    from analyzers.settings import settings

    folder = settings().passes / "influence"
    folder.mkdir(parents=True, exist_ok=True)
    report("train a tokenizer", 0, 0)
    tokenizer = tokenizer_of(material.passages, RECIPE)
    steps = config.steps or STEPS
    if config.minutes is not None:
        # How fast the machine was when the run began decides, also where it goes on.
        path = folder / f"{content_key(['minutes', config.minutes, config.seed, config.halves, config.removed, material.passages])}.json"
        if not path.exists():
            ids = [tokenizer.encode(text, verbose=False) for text in material.passages]
            trainings = 2 + config.halves / 2 + 3 * min(config.removed, config.queries)
            write_json(path, {"format": FORMAT, "steps": steps_in(config.minutes, trainings, tokenizer, ids, config.seed)})
        steps = int(read_json(path)["steps"])
    return Trials(material.passages, Training(steps, config.seed), tokenizer, folder)


def _queries(material: Material) -> "list[Query]":
    from analyzers.influence.scoring import Query

    asked = [(fact.prompt, fact.completion) for fact in material.facts] + [(pair.prompt, pair.completion) for pair in material.pairs]
    return [Query(prompt, completion) for prompt, completion in (*asked, *((prompt, label) for _, prompt, label, _ in material.lines))]


def _scores(trials: Trials, material: Material, queries: "Sequence[Query]", report: Report) -> dict[str, Any]:
    """scores: by method [query, passage], behind the passages of the text the sentences of all pairs in both orders; self: of every line
    with a label, by method; known: of every fact whether the right completion is the likeliest."""
    asked = [(query.prompt, query.completion) for query in queries]
    extra = [pair.same for pair in material.pairs] + [pair.flipped for pair in material.pairs]
    made = trials.piece(trials.told(scores=asked, extra=extra, rank=RANK), lambda: _made(trials, material, queries, extra, report))
    texts = [*material.passages, *extra]
    own = len(material.facts) + len(material.pairs)
    said = [query.prompt + query.completion for query in queries[:own]]
    scores = {name: np.array(each) for name, each in made["scores"].items()}
    for name, rows in (("bm25", bm25(said, texts)), ("tf_idf", tf_idf(said, texts))):
        assert not isinstance(rows, Failed)
        scores[name] = rows
    scores["random"] = np.random.default_rng([trials.training.seed, 3]).random((own, len(texts)))
    return {"scores": scores, "self": made["self"], "known": made["known"]}


def _made(trials: Trials, material: Material, queries: "Sequence[Query]", extra: Sequence[str], report: Report) -> dict[str, Any]:
    import tempfile
    from pathlib import Path

    from analyzers.corpus import Document
    from analyzers.influence.factors import fit
    from analyzers.influence.passages import passages
    from analyzers.influence.scoring import norms, precondition, score, together
    from analyzers.influence.watching import watched
    from evals.influence.query import logprobs

    model = trials.whole(report)
    modules = watched(model, "all")
    length = trials.training.recipe.context
    text = passages(model, [Document(str(at), "", each) for at, each in enumerate([*material.passages, *extra])], length=length)
    inside = text[: len(material.passages)]
    with tempfile.TemporaryDirectory() as folder:
        factors = fit(model, inside, Path(folder) / "factors", kind="all", seed=trials.training.seed, report=report)
        low = [
            precondition(model, modules, queries, lambda name: factors.curvature(name, "ekfac", model.device), rank=RANK, report=report),
            precondition(model, modules, queries, lambda name: factors.curvature(name, "identity", model.device), rank=RANK, report=report),
        ]
    total = score(model, modules, together(*low), text, report=report).total.astype(np.float64)
    curved, plain = total[: len(queries)], total[len(queries) :]
    lengths = norms(model, modules, text, report=report).astype(np.float64)
    own = len(material.facts) + len(material.pairs)
    lines = [place for place, _, _, _ in material.lines]
    ones = range(own, len(queries))
    known = []
    for fact in material.facts:
        said = logprobs(model, [_query(fact.prompt, each) for each in (fact.completion, *fact.wrong)])
        known.append(int(np.argmax(said)) == 0)
    return {
        "scores": {
            "ekfac": curved[:own].tolist(),
            "gradient": plain[:own].tolist(),
            "cosine": (plain[:own] / np.maximum(lengths, 1e-12)).tolist(),
        },
        "self": {
            "ekfac": [float(curved[one, place]) for one, place in zip(ones, lines, strict=True)],
            "gradient": [float(plain[one, place]) for one, place in zip(ones, lines, strict=True)],
            "surprisal": [-each for each in logprobs(model, queries[own:])],
            "random": np.random.default_rng([trials.training.seed, 4]).random(len(lines)).tolist(),
        },
        "known": known,
    }


def _query(prompt: str, completion: str) -> "Query":
    from analyzers.influence.scoring import Query

    return Query(prompt, completion)


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
    config: EvaluateConfig,
    trials: Trials,
    asked: "Sequence[Query]",
    scores: Mapping[str, Floats],
    whole: Sequence[float],
    report: Report,
) -> Measure:
    """How much less probable an answer is where the k passages at the top of a ranking were not trained on."""
    chosen = range(min(config.removed, config.queries))
    methods = ("ekfac", "bm25", "random")
    drops: dict[str, list[float]] = {name: [] for name in methods}
    done = 0
    for query in chosen:
        for name in methods:
            report("train without some", done, len(chosen) * len(methods))
            gone = set(np.argsort(-scores[name][query], kind="stable")[: config.k].tolist())
            left = [place for place in range(len(trials.ids)) if place not in gone]
            drops[name].append(whole[query] - trials.logprobs(left, asked, "train one without", report)[query])
            done += 1
    report("train without some", done, len(chosen) * len(methods))
    return _measure({name: np.array(each) for name, each in drops.items()}, "queries", None, config.seed)


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
    if config.queries < 20:
        notes.append(f"few queries ({config.queries}): intervals over them are likely too narrow; give more by --queries")
    if isinstance(known, Value) and known.value < FEW_KNOWN:
        notes.append(
            "the model did not learn most planted facts in other words: what is not found may be its fault; but with many more --steps it "
            "learns lines by heart, whose gradients vanish"
        )
    return notes
