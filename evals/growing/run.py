"""Probes of every checkpoint of one training or several, each measured once and kept, so that a killed run goes on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzers.errors import ExplicateError, Failed, SubjectError
from analyzers.progress import Report, quiet
from evals.growing.config import MINUTES, GrowConfig
from evals.growing.facts import load_facts
from evals.growing.growth import NOT_GROWN, summaries, values
from evals.growing.minimal_pairs import load_pairs
from evals.growing.next_token import NextToken
from evals.growing.order import agreement, ranking
from evals.growing.pos import Pos
from evals.growing.results import Before, Chance, Curve, Grown, Moment, Series
from evals.growing.tally import Probe, Tallies, Tally, counting
from evals.growing.tree import Tree
from evals.growing.treebank_material import Treebank, load_treebank
from evals.results import Failure, Value

if TYPE_CHECKING:
    from analyzers.growing.checkpoints import Checkpoint
    from analyzers.growing.checkpoints import Series as Found
    from analyzers.text_model import TextModel

Measured = Mapping[str, Tallies | Failed]
"""Of one checkpoint by probe."""
SMALL = "the samples that are built in are small: their figures say little; give your own files"
KEPT_FORMAT = 1
"""Of what is counted at a checkpoint; another one is measured anew."""


def run_grow(config: GrowConfig, *, report: Report = quiet) -> Grown:
    """Train where asked for, measure every checkpoint, summarise. Raises ExplicateError for what the user can mend."""
    # What is misspelt or missing is told before anything is trained, fetched or loaded.
    config.check()
    probes, source = load_probes(config, report=report)
    trained: dict[str, Any] = {}
    where, found = _series(config, trained, report)
    total, done = sum(len(series.checkpoints) for series in found), 0
    made = []
    for series in found:
        measured, moments = [], []
        for checkpoint in series.checkpoints:
            report("measure checkpoints", done, total)
            counted, moment = measure(checkpoint, probes, config, report=report)
            measured.append(counted)
            moments.append(moment)
            done += 1
        report("measure checkpoints", done, total)
        _check_any(measured)
        made.append(Series(name=series.name, checkpoints=moments, curves=curves_of(series.steps, measured, seed=config.seed)))
    if trained:
        from analyzers.growing.training import losses

        for each in made:
            each.losses = losses(Path(where) / each.name)
    orders = [_orders(each) for each in made]
    notes = [note for probe in probes for note in probe.notes]
    if SAMPLES & set(source):
        notes.append(f"{SMALL}: {', '.join(sorted(SAMPLES & set(source)))}")
    return Grown(
        checkpoints=where,
        probes=[probe.name for probe in probes],
        source=source,
        seed=config.seed,
        depth=config.depth,
        items={probe.name: probe.items for probe in probes},
        series=made,
        order=order_of(made),
        tau=agreement(orders, seed=config.seed),
        before=before(made, [probe.name for probe in probes]),
        training=trained,
        notes=[*notes, *_notes(made)],
    )


SAMPLES = frozenset({"sample.conllu", "minimal_pairs.jsonl", "facts.jsonl"})
"""Files that are built in."""


def load_probes(config: GrowConfig, *, report: Report = quiet) -> tuple[list[Probe], dict[str, str]]:
    """(those that were asked for, SHA-256 of the files that they are made from); a treebank is read once for all that use it."""
    source: dict[str, str] = {}
    treebank: Treebank | None = None
    if {"pos", "tree", "next-token"} & set(config.probes):
        treebank = load_treebank(config, report=report)
        source |= treebank.source
    found: list[Probe] = []
    for name in dict.fromkeys(config.probes):
        if name == "minimal-pairs":
            pairs = load_pairs(config)
            source |= pairs.source
            found.append(pairs)
        elif name == "facts":
            facts = load_facts(config)
            source |= facts.source
            found.append(facts)
        else:
            assert treebank is not None
            made: Mapping[str, Callable[[Treebank], Probe]] = {"pos": Pos, "tree": Tree, "next-token": NextToken}
            found.append(made[name](treebank))
    return found, source


def measure(checkpoint: "Checkpoint", probes: Sequence[Probe], config: GrowConfig, *, report: Report = quiet) -> tuple[Measured, Moment]:
    """What each probe counts at a checkpoint; the model is loaded only where some of it was not counted before.

    A model that one probe cannot read has a Failed in its place. Raises AssetError and SubjectError where it cannot be loaded.
    """
    from analyzers.assets import model_source
    from analyzers.loading import choose_device, choose_dtype, dtype_name
    from analyzers.pass_folder import FORMAT, content_key, read_json, write_json
    from analyzers.settings import settings

    revision = model_source(checkpoint.model, report=report).revision
    dtype = dtype_name(choose_dtype(config.dtype, choose_device(config.device)))
    kept = settings().passes / "growth"
    kept.mkdir(parents=True, exist_ok=True)
    model: TextModel | None = None
    found: dict[str, Tallies | Failed] = {}
    for probe in probes:
        told = {"format": KEPT_FORMAT, "model": revision, "dtype": dtype, "probe": probe.name, "of": probe.identity}
        path = kept / f"{content_key(told)}.json"
        if path.exists():
            found[probe.name] = {name: Tally.from_json(each) for name, each in read_json(path)["curves"]}
            continue
        if model is None:
            model = checkpoint.load(dtype=config.dtype, device=config.device, report=report)
        counted = _counted(probe, model, report)
        found[probe.name] = counted
        if not isinstance(counted, Failed):
            write_json(path, {"format": FORMAT, "curves": [(name, tally.as_json()) for name, tally in counted.items()]})
    return found, Moment(step=checkpoint.step, name=checkpoint.name, revision=revision)


def _counted(probe: Probe, model: "TextModel", report: Report) -> Tallies | Failed:
    """Failed of a model that cannot be read in this way, as one whose training diverged. Raises SubjectError for an encoder where what
    comes next is asked for, since the other checkpoints are encoders, too."""
    from analyzers.growing.checkpoints import check_causal, has_finite_weights

    if not has_finite_weights(model):
        return Failed("probe", f"the weights of {model.name} are no numbers: its training diverged")
    if probe.needs_decoder:
        check_causal(model, probe.name)
    try:
        return probe.measure(model, report)
    except SubjectError as error:
        return Failed("probe", str(error))


def curves_of(steps: Sequence[int], measured: Sequence[Measured], *, seed: int = 0) -> list[Curve]:
    """Every curve that any checkpoint has, with its values and summaries; measured [checkpoint]."""
    found = []
    for probe in dict.fromkeys(name for each in measured for name in each):
        names = dict.fromkeys(name for each in measured for name in _tallies(each[probe]))
        for name in names:
            tallies = counting([_tally(each[probe], name) for each in measured])
            last = next(tally for tally in reversed(tallies) if isinstance(tally, Tally))
            found.append(
                Curve(
                    name=name,
                    probe=probe,
                    better=last.better,
                    unit=last.unit,
                    counts=last.counts,
                    chance=None if last.chance is None else Chance(value=last.chance, of=last.against),
                    values=values(tallies, seed=seed),
                    summary=summaries(steps, tallies, seed=seed),
                )
            )
    return found


def order_of(series: Sequence[Series]) -> list[str]:
    """Curves of all series from the first acquired to the last."""
    names = dict.fromkeys(curve.name for each in series for curve in each.curves)
    missing = Failure(stage="score", reason="not measured in this training")

    def t90(each: Series, name: str) -> Value | Failure:
        curve = each.curve(name)
        return missing if curve is None else curve.summary["t90"]

    return ranking({name: [t90(each, name) for each in series] for name in names})


def _tallies(measured: Tallies | Failed) -> Tallies:
    return {} if isinstance(measured, Failed) else measured


def _tally(measured: Tallies | Failed, name: str) -> Tally | Failed:
    if isinstance(measured, Failed):
        return measured
    return measured.get(name, Failed("probe", "this checkpoint's tokenizer leaves nothing of it to count"))


def _orders(series: Series) -> dict[str, float]:
    return {curve.name: t90.value for curve in series.curves if isinstance(t90 := curve.summary["t90"], Value)}


def _check_any(measured: Sequence[Measured]) -> None:
    """Raise SubjectError where a probe could be measured at no checkpoint."""
    for name in measured[0]:
        failed = [each[name] for each in measured]
        if all(isinstance(each, Failed) for each in failed):
            first = failed[0]
            assert isinstance(first, Failed)
            raise SubjectError(f"{name} could be measured at no checkpoint: {first.reason}")


def before(series: Sequence[Series], probes: Sequence[str]) -> list[Before]:
    """Of every two probes which one was acquired before the other; none of two of which neither grew in any training."""
    found = []
    ranked = [name for name in order_of(series) if name in probes]
    for first, then in combinations(ranked, 2):
        seeds = apart = 0
        for each in series:
            one, other = each.curve(first), each.curve(then)
            if one is None or other is None or isinstance(one.summary["t90"], Failure):
                continue
            mine, theirs = one.summary["t90"], other.summary["t90"]
            assert isinstance(mine, Value)
            if isinstance(theirs, Failure):
                never = theirs.reason.startswith(NOT_GROWN)
                seeds, apart = seeds + never, apart + never
            else:
                seeds, apart = seeds + (mine.value < theirs.value), apart + (mine.high < theirs.low)
        if seeds:
            found.append(Before(first=first, then=then, seeds=seeds, apart=apart))
    return found


def _series(config: GrowConfig, trained: dict[str, Any], report: Report) -> "tuple[str, list[Found]]":
    """(where they are, the checkpoints of each training); trained: is told how, where it happens here."""
    from analyzers.growing.checkpoints import find_series, hub_series

    if config.train is not None:
        folder = _train(config, trained, report)
        return str(folder), find_series(folder)
    assert config.checkpoints is not None
    if config.revisions:
        if Path(config.checkpoints).is_dir():
            raise ExplicateError(
                f"--revisions are of a model on the Hugging Face Hub, and {config.checkpoints!r} is a folder; leave them out"
            )
        return config.checkpoints, [hub_series(config.checkpoints, config.revisions)]
    return config.checkpoints, find_series(Path(config.checkpoints))


def _train(config: GrowConfig, trained: dict[str, Any], report: Report) -> Path:
    from analyzers.corpus import source_identity
    from analyzers.growing.training import Recipe, train_series
    from analyzers.pass_folder import content_key

    assert config.train is not None
    minutes = None if config.steps is not None else config.minutes or MINUTES
    identity = source_identity(config.train, report=report)
    asked = {"corpus": identity, "minutes": minutes, "steps": config.steps}
    folder = Path(config.checkpoints or Path("runs") / f"grown-{Path(config.train).stem[:50]}-{content_key(asked)[:8]}")
    seeds = range(config.seed, config.seed + config.seeds)
    plan = train_series(
        config.train, folder, minutes=minutes, steps=config.steps, seeds=seeds, recipe=Recipe(), device=config.device, report=report
    )
    trained |= {"corpus": config.train, "corpus_identity": identity, "steps": plan.steps, **asdict(plan.recipe)}
    return folder


def _notes(series: Sequence[Series]) -> list[str]:
    found = [
        "intervals are over what was tested at every checkpoint, on the same draws; how a probe's own training varies is not in them",
        "t90 is where a curve first has 90 % of the way from its first to its final value, however high that is",
    ]
    late = {each.steps[0] for each in series if each.steps[0] > 0}
    if late:
        found.append(f"the first checkpoint is of step {min(late)}, not 0: what grew before it is not seen")
    if len(series) == 1:
        found.append("one training shows one order; another seed can give another one (--seeds)")
    if any(len(each.steps) < 5 for each in series):
        found.append("few checkpoints: where a curve reaches 90 % is told only to within two of them")
    return found
