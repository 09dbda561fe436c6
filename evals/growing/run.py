"""Probes of every checkpoint of one training or several, each measured once and kept, so that a killed run goes on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzers.errors import ExplicateError, Failed, SubjectError
from analyzers.progress import Report, quiet
from evals.growing.config import MINUTES, GrowConfig
from evals.growing.facts import SAMPLE as FACTS
from evals.growing.facts import load_facts
from evals.growing.growth import summaries, values
from evals.growing.minimal_pairs import SAMPLE as PAIRS
from evals.growing.minimal_pairs import load_pairs
from evals.growing.next_token import NextToken
from evals.growing.order import agreement, before, order_of
from evals.growing.pos import Pos
from evals.growing.results import Chance, Curve, Grown, Moment, Series
from evals.growing.tally import Probe, Tallies, Tally, counting
from evals.growing.tree import Tree
from evals.growing.treebank_material import Treebank, load_treebank
from evals.probes.labels_data import SAMPLE as TREES
from evals.results import Value
from evals.source_files import sources

if TYPE_CHECKING:
    from analyzers.growing.checkpoints import Checkpoint
    from analyzers.growing.checkpoints import Series as Found
    from analyzers.text_model import TextModel

Measured = Mapping[str, Tallies | Failed]
"""Of one checkpoint by probe."""
TREEBANKS: Mapping[str, Callable[[Treebank], Probe]] = {"pos": Pos, "tree": Tree, "next-token": NextToken}
SUMMARISING = "summarise curves"
SMALL = "the samples that are built in are small: their figures say little; give your own files"
MANY = 20
"""Curves from which it is told that some seem to grow by chance."""
KEPT_FORMAT = 1
"""Of what is counted at a checkpoint; another one is measured anew."""


def run_grow(config: GrowConfig, *, report: Report = quiet) -> Grown:
    """Train where asked for, measure every checkpoint, summarise. Raises ExplicateError for what the user can mend."""
    # What is misspelt or missing here is told before anything is trained, fetched or loaded.
    config.check()
    probes = load_probes(config, report=report)
    where, training, found = _series(config, report)
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
        curves = curves_of(series.steps, measured, seed=config.seed, report=report)
        made.append(Series(name=series.name, checkpoints=moments, curves=curves, losses=_losses(where, series.name) if training else []))
    files = list(dict.fromkeys(path for probe in probes for path in probe.files))
    return Grown(
        checkpoints=where,
        probes=[probe.name for probe in probes],
        source=sources(files),
        seed=config.seed,
        depth=config.depth,
        items={probe.name: probe.items for probe in probes},
        series=made,
        order=order_of(made),
        tau=agreement([_acquired(each) for each in made], seed=config.seed),
        before=before(made, [probe.name for probe in probes]),
        training=training,
        notes=[*(note for probe in probes for note in probe.notes), *_notes(found, made, files)],
    )


def load_probes(config: GrowConfig, *, report: Report = quiet) -> list[Probe]:
    """Those that were asked for; a treebank is read once for all that use it."""
    treebank = load_treebank(config, report=report) if TREEBANKS.keys() & set(config.probes) else None
    found: list[Probe] = []
    for name in dict.fromkeys(config.probes):
        if name in TREEBANKS:
            assert treebank is not None
            found.append(TREEBANKS[name](treebank))
        else:
            found.append(load_pairs(config) if name == "minimal-pairs" else load_facts(config))
    return found


def measure(checkpoint: "Checkpoint", probes: Sequence[Probe], config: GrowConfig, *, report: Report = quiet) -> tuple[Measured, Moment]:
    """What each probe counts at a checkpoint; the model is loaded only where some of it was not counted before.

    A model that one probe cannot read, as one whose training diverged, has a Failed in its place. Raises AssetError and SubjectError
    where it cannot be loaded, and SubjectError for an encoder where any probe reads what comes next.
    """
    from analyzers.assets import model_source
    from analyzers.growing.checkpoints import check_causal, has_finite_weights
    from analyzers.loading import choose_device, choose_dtype, dtype_name
    from analyzers.pass_folder import FORMAT, content_key, read_json, write_json
    from analyzers.settings import settings

    revision = model_source(checkpoint.model, report=report).revision
    dtype = dtype_name(choose_dtype(config.dtype, choose_device(config.device)))
    kept = settings().passes / "growth"
    kept.mkdir(parents=True, exist_ok=True)
    model: TextModel | None = None
    broken: Failed | None = None
    found: dict[str, Tallies | Failed] = {}
    for probe in probes:
        told = {"format": KEPT_FORMAT, "model": revision, "dtype": dtype, "probe": probe.name, "of": probe.identity}
        path = kept / f"{content_key(told)}.json"
        if path.exists():
            found[probe.name] = {name: Tally.from_json(each) for name, each in read_json(path)["curves"]}
            continue
        if model is None:
            model = checkpoint.load(dtype=config.dtype, device=config.device, report=report)
            if not has_finite_weights(model):
                broken = Failed("probe", f"the weights of {model.name} are no numbers: its training diverged")
            # The other checkpoints of an encoder are encoders, too.
            for each in probes if broken is None else ():
                if each.needs_decoder:
                    check_causal(model, each.name)
        counted = broken or _counted(probe, model, report)
        found[probe.name] = counted
        if not isinstance(counted, Failed):
            write_json(path, {"format": FORMAT, "curves": [(name, tally.as_json()) for name, tally in counted.items()]})
    return found, Moment(step=checkpoint.step, name=checkpoint.name, revision=revision)


def _counted(probe: Probe, model: "TextModel", report: Report) -> Tallies | Failed:
    """Failed of a model that cannot be read in this way."""
    try:
        return probe.measure(model, report)
    except SubjectError as error:
        return Failed("probe", str(error))


def curves_of(steps: Sequence[int], measured: Sequence[Measured], *, seed: int = 0, report: Report = quiet) -> list[Curve]:
    """Every curve that any checkpoint has, with its values and summaries; measured [checkpoint]."""
    probes = dict.fromkeys(probe for each in measured for probe in each)
    names = {name: probe for probe in probes for each in measured for name in _tallies(each[probe])}
    found = []
    for done, (name, probe) in enumerate(names.items()):
        report(SUMMARISING, done, len(names))
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
    report(SUMMARISING, len(names), len(names))
    return found


def _tallies(measured: Tallies | Failed) -> Tallies:
    return {} if isinstance(measured, Failed) else measured


def _tally(measured: Tallies | Failed, name: str) -> Tally | Failed:
    if isinstance(measured, Failed):
        return measured
    return measured.get(name, Failed("probe", "this checkpoint's tokenizer leaves nothing of it to count"))


def _acquired(series: Series) -> dict[str, float]:
    return {curve.name: t90.value for curve in series.curves if isinstance(t90 := curve.summary["t90"], Value)}


def _losses(folder: str, name: str) -> list[dict[str, float]]:
    from analyzers.growing.training import losses

    return losses(Path(folder) / name)


def _check_any(measured: Sequence[Measured]) -> None:
    """Raise SubjectError where a probe could be measured at no checkpoint."""
    for name in measured[0]:
        failed = [each[name] for each in measured]
        if all(isinstance(each, Failed) for each in failed):
            first = failed[0]
            assert isinstance(first, Failed)
            raise SubjectError(f"{name} could be measured at no checkpoint: {first.reason}")


def _series(config: GrowConfig, report: Report) -> "tuple[str, dict[str, Any], list[Found]]":
    """(where they are, how they were trained where it happened here, the checkpoints of each training)."""
    from analyzers.growing.checkpoints import find_series, hub_series

    if config.train is not None:
        return _trained(config, config.train, report)
    assert config.checkpoints is not None
    if config.revisions:
        if Path(config.checkpoints).is_dir():
            raise ExplicateError(
                f"--revisions are of a model on the Hugging Face Hub, and {config.checkpoints!r} is a folder; leave them out"
            )
        return config.checkpoints, {}, [hub_series(config.checkpoints, config.revisions)]
    return config.checkpoints, {}, find_series(Path(config.checkpoints))


def _trained(config: GrowConfig, corpus: str, report: Report) -> "tuple[str, dict[str, Any], list[Found]]":
    """As `_series`; other seeds that lie in the same folder are not among them."""
    from analyzers.corpus import source_identity
    from analyzers.growing.checkpoints import find_series
    from analyzers.growing.training import train_series
    from analyzers.pass_folder import content_key

    minutes = None if config.steps is not None else config.minutes or MINUTES
    if config.checkpoints is None:
        asked = {"corpus": source_identity(corpus, report=report), "minutes": minutes, "steps": config.steps}
        folder = Path("runs") / f"grown-{Path(corpus).stem[:50]}-{content_key(asked)[:8]}"
    else:
        folder = Path(config.checkpoints)
    seeds = range(config.seed, config.seed + config.seeds)
    plan = train_series(corpus, folder, minutes=minutes, steps=config.steps, seeds=seeds, device=config.device, report=report)
    own = {f"seed-{seed}" for seed in seeds}
    training = {"corpus": corpus, "corpus_identity": plan.corpus, "steps": plan.steps, **asdict(plan.recipe)}
    return str(folder), training, [series for series in find_series(folder) if series.name in own]


def _notes(found: "Sequence[Found]", series: Sequence[Series], files: Sequence[Path]) -> list[str]:
    notes = [
        "intervals are over what was tested at every checkpoint, on the same draws; how a probe's own training varies is not in them",
        "t90 is where a curve first has 90 % of the way from its first to its final value, however high that is",
    ]
    small = {path.name for path in files if path in (TREES, PAIRS, FACTS)}
    if small:
        notes.append(f"{SMALL}: {', '.join(sorted(small))}")
    notes += [
        f"{each.name}: {', '.join(each.left_out)} left out, without a step in the name or without all weights"
        for each in found
        if each.left_out
    ]
    late = {each.steps[0] for each in series if each.steps[0] > 0}
    if late:
        notes.append(f"the first checkpoint is of step {min(late)}, not 0: what grew before it is not seen")
    if len(series) == 1:
        notes.append("one training shows one order; another seed can give another one (--seeds)")
    else:
        notes.append("tau: curves of one probe share their texts, so that its interval is narrower than of as many unrelated ones")
    if any(len(each.steps) < 5 for each in series):
        notes.append("few checkpoints: where a curve reaches 90 % is told only to within two of them")
    many = max(len(each.curves) for each in series)
    if many > MANY:
        notes.append(f"{many} curves, the interval of each for itself: of those that do not grow at all about 1 in 40 seems to")
    return notes
