"""What a labelling run leaves in its folder (docs/results.md): tables, explanations, and results.json with the leak audit."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.budget import Budget
from agents.experimenter import Experimented
from agents.explanation import Explanation, Simulation
from analyzers.errors import Failed
from analyzers.evidence import SPLITS, Excerpt, Split
from analyzers.sites import Polarity
from analyzers.whole_files import replaced
from evals.cautions import cautions
from evals.judging import answer_columns, answers_of, results_of
from evals.label_config import LabelConfig
from evals.leak_audit import audit
from evals.results import (
    Calls,
    Candidate,
    Experiments,
    Failure,
    Instrument,
    RunResults,
    ScorerResult,
    Scores,
    SiteResult,
    Tokens,
    Value,
    failure,
    figures,
    headline,
    stored,
)
from evals.run_folder import RunFolder, write_json, write_json_lines, write_parquet
from evals.scorers import Scorer
from evals.site_scores import Outcomes, Simulations, SiteScores
from evals.statistics import benjamini_hochberg, mean
from evals.work import Work

MOST_FAILED = 0.2
"""Share of failed sites beyond which a run is void: its means are then not to be used."""


def write_evidence(run: Path, works: Sequence[Work]) -> None:
    """excerpts.parquet, one row an excerpt, activations/evidence.safetensors, [excerpt, token] for each site and split, and where there are
    scorers items.parquet, one row an excerpt that they judge on."""
    import numpy as np
    from safetensors.numpy import save

    evidence = [work.evidence for work in works]
    rows = (row for found in evidence for row in excerpt_rows(found.site.name, found.site.polarity, found.splits))
    write_parquet(run / "excerpts.parquet", rows, excerpt_columns())
    dense = {
        f"{found.site}/{split}": np.stack([excerpt.activations for excerpt in found.splits[split]])
        for found in evidence
        for split in SPLITS
        if found.splits[split]
    }
    (run / "activations").mkdir(exist_ok=True)
    with replaced(run / "activations" / "evidence.safetensors") as temporary:
        # Not by safetensors itself, whose error on a full disk is none of the operating system's.
        temporary.write_bytes(save(dense))
    items = [row for work in works for row in _items(work)]
    if items:
        write_parquet(run / "items.parquet", items)


def excerpt_rows(site: str, polarity: Polarity, splits: Mapping[Split, Sequence[Excerpt]]) -> Iterator[dict[str, Any]]:
    """Rows of excerpts.parquet."""
    for split in SPLITS:
        for excerpt in splits[split]:
            yield {
                "site": site,
                "polarity": polarity,
                "split": split,
                "stratum": excerpt.stratum,
                "document": excerpt.document,
                "start": excerpt.start,
                "tokens": list(excerpt.tokens),
                "activations": excerpt.activations.tolist(),
            }


def excerpt_columns() -> Any:
    """Schema of excerpts.parquet."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("site", "polarity", "split", "stratum", "document")]
    return pa.schema([*texts, ("start", pa.int64()), ("tokens", pa.list_(pa.string())), ("activations", pa.list_(pa.float32()))])


def _items(work: Work) -> Iterator[dict[str, Any]]:
    if work.material is None:
        return
    found = [(item.excerpt, item.group, item.fires) for item in work.material.items]
    found += [(excerpt, "weighted", True) for excerpt in work.material.weighted]
    for excerpt, group, fires in found:
        yield {
            "site": work.site.name,
            "polarity": work.site.polarity,
            "group": group,
            "fires": fires,
            "document": excerpt.document,
            "start": excerpt.start,
            "tokens": list(excerpt.tokens),
            "activations": excerpt.activations.tolist(),
        }


def write_outcome(
    folder: RunFolder,
    config: LabelConfig,
    works: Sequence[Work],
    *,
    explainer: str,
    simulator: str,
    scorers: Mapping[str, Scorer],
    budget: Budget,
    tested: Instrument | None,
    instruments: Mapping[str, Instrument],
) -> RunResults:
    """Everything but the evidence: simulations, judgements and scores as parquet, explanations and experiments as JSON lines, results.json;
    returns the last.

    tested, instruments: how the simulator and the scorers did on planted neurons.
    """
    run = folder.path
    simulated = [(work.site, work.evidence.splits, work.simulations) for work in works if work.simulations is not None]
    rows = (row for site, splits, found in simulated for row in simulation_rows(site.name, site.polarity, splits, found))
    write_parquet(run / "simulations.parquet", rows, simulation_columns())
    write_json_lines(run / "explanations.jsonl", list(_explanations(works)))
    steps = list(_experiments(works))
    if steps:
        write_json_lines(run / "experiments.jsonl", steps)
    if scorers:
        write_parquet(run / "judgements.parquet", list(answers_of(works)), answer_columns())
    judged = [results_of(work, scorers, instruments, config.seed) for work in works]
    sites = [_site(work, explainer, simulator, scored) for work, scored in zip(works, judged, strict=True)]
    judge_together(sites, tested)
    results = RunResults(sites=sites, leak_audit=audit(run), manifest=dict(folder.manifest), **of_all(sites, tested, budget, config.seed))
    write_parquet(run / "scores.parquet", list(score_rows(sites)), score_columns())
    write_json(run / "results.json", results.model_dump(mode="json"))
    return results


def judge_together(sites: Sequence[SiteResult], tested: Instrument | None) -> None:
    """Fill in what depends on all sites of a run, and on how its simulator did when tested."""
    for site, q_value in zip(sites, benjamini_hochberg([site.p_value for site in sites]), strict=True):
        site.q_value = q_value
    for site in sites:
        site.warning = " ".join(caution.text for caution in cautions(site, tested)) or None
        site.cannot_judge = [] if tested is None else tested.cannot_judge


def of_all(sites: Sequence[SiteResult], tested: Instrument | None, budget: Budget, seed: int) -> dict[str, Any]:
    """The keys of results.json about all sites together and about what was spent."""
    scored, spent = [site for site in sites if isinstance(site.scores.get(headline(site.scores)), Value)], budget.spent
    return {
        "n_scored": len(scored),
        "n_failed": len(sites) - len(scored),
        "void": len(sites) - len(scored) > MOST_FAILED * len(sites),
        "calls": Calls(made=spent.made, cached=spent.cached),
        "tokens": Tokens(prompt=spent.prompt_tokens, completion=spent.completion_tokens),
        "usd": spent.usd,
        "unpriced": list(budget.unpriced),
        "instrument": tested,
        "means": means_of(scored, seed),
    }


def of_site(
    scores: SiteScores | None,
    texts: Sequence[str],
    select_scores: Sequence[float | Failed],
    shuffled: str | Failed,
    failures: Sequence[Failed],
) -> dict[str, Any]:
    """The keys of a site about how its explanation scored; where it has no scores, the last failure says why.

    texts: of the candidates; select_scores: theirs, none where there was nothing to choose.
    """
    missing = failures[-1] if failures else Failed("score", "not reached")
    selected = select_scores or [Failed("select", "nothing to choose from")] * len(texts)
    return {
        "scores": {"pearson": failure(missing)} if scores is None else scores.scores,
        "by_stratum": {} if scores is None else scores.by_stratum,
        "controls": {} if scores is None else scores.controls,
        "lift": failure(missing) if scores is None else scores.lift,
        "p_value": None if scores is None else scores.p_value,
        "shuffled_explanation": shuffled if scores is not None and isinstance(shuffled, str) else None,
        "candidates": [
            Candidate(explanation=text, select_score=failure(score) if isinstance(score, Failed) else score)
            for text, score in zip(texts, selected, strict=True)
        ],
        "failures": [failure(failed) for failed in failures],
    }


def _site(work: Work, explainer: str, simulator: str, judged: dict[str, ScorerResult | Failure]) -> SiteResult:
    texts = [candidate.text for candidate in work.candidates if isinstance(candidate, Explanation)]
    return SiteResult(
        site=work.site.name,
        polarity=work.site.polarity,
        explanation=None if work.chosen is None else work.chosen.text,
        explainer=explainer,
        simulator=simulator,
        firing=work.evidence.moments.firing,
        scorers=judged,
        experiments=None if work.experimented is None else _experimented(work.experimented),
        **of_site(work.scores, texts, work.select_scores, work.shuffled, work.failures),
    )


def _experimented(found: Experimented) -> Experiments:
    return Experiments(
        confidence=found.confidence,
        clauses=[{"text": clause.text, "experiments": list(clause.experiments), "supported": clause.supported} for clause in found.clauses],
        model_calls=found.model_calls,
        stopped=found.stopped or None,
        hypotheses=list(_noted(found)),
        made=[
            {"experiment": step["experiment"], "tool": step["name"], "arguments": step["arguments"]}
            for step in found.steps
            if step.get("experiment") is not None
        ],
    )


def _noted(found: Experimented) -> Iterator[dict[str, Any]]:
    """Every hypothesis as it was noted last, in the order in which they came up."""
    noted: dict[str, dict[str, Any]] = {}
    for step in found.steps:
        if step.get("name") == "note_hypothesis" and "noted" in step["result"]:
            arguments = step["arguments"]
            told = {"status": arguments.get("status", "open"), "evidence_for": step["result"]["for"]}
            noted[arguments["text"]] = {"text": arguments["text"], **told, "evidence_against": step["result"]["against"]}
    yield from noted.values()


def _experiments(works: Sequence[Work]) -> Iterator[dict[str, Any]]:
    """The steps of every site's experimenter, which `agents.experimenter.replay` reads."""
    for work in works:
        for step in () if work.experimented is None else work.experimented.steps:
            yield {"site": work.site.name, "polarity": work.site.polarity, **step}


def means_of(scored: Sequence[SiteResult], seed: int) -> dict[str, Value | Failure]:
    """Means over the scored sites with intervals over sites."""
    columns: dict[str, list[float]] = {}
    for site in scored:
        for name, value in figures(site).items():
            if isinstance(value, Value):
                columns.setdefault(name, []).append(value.value)
    means = {name: mean(values, seed=seed) for name, values in columns.items()}
    return stored(means)


def simulation_rows(
    site: str, polarity: Polarity, splits: Mapping[Split, Sequence[Excerpt]], simulations: Simulations
) -> Iterator[dict[str, Any]]:
    """Rows of simulations.parquet."""
    groups: list[tuple[str, Split, Outcomes]] = [
        ("explanation", "calibrate", simulations.calibrate),
        ("null", "calibrate", simulations.calibrate_null),
        ("explanation", "test", simulations.test),
        ("null", "test", simulations.test_null),
        ("shuffled", "calibrate", simulations.calibrate_shuffled),
        ("shuffled", "test", simulations.shuffled),
    ]
    for of, split, outcomes in groups:
        for excerpt, outcome in zip(splits[split], outcomes, strict=bool(outcomes)):
            yield {
                "site": site,
                "polarity": polarity,
                "split": split,
                "document": excerpt.document,
                "start": excerpt.start,
                "of": of,
                "values": None if isinstance(outcome, Failed) else _values(outcome),
                "failed": outcome.reason if isinstance(outcome, Failed) else None,
            }


def _values(simulation: Simulation) -> list[float | None]:
    return [value if present else None for value, present in zip(simulation.values.tolist(), simulation.present.tolist(), strict=True)]


def simulation_columns() -> Any:
    """Schema of simulations.parquet; `values` are levels, activations or indicators, null where a token has no prediction."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("site", "polarity", "split", "document")]
    return pa.schema([*texts, ("start", pa.int64()), ("of", pa.string()), ("values", pa.list_(pa.float32())), ("failed", pa.string())])


def _explanations(works: Sequence[Work]) -> Iterator[dict[str, Any]]:
    for work in works:
        scores = iter(work.select_scores)
        for candidate in work.candidates:
            row: dict[str, Any] = {"site": work.site.name, "polarity": work.site.polarity}
            if isinstance(candidate, Failed):
                yield row | {"explanation": None, "failed": {"stage": candidate.stage, "reason": candidate.reason}}
            else:
                score = next(scores, None)
                yield row | {
                    "explanation": candidate.text,
                    "explainer": candidate.explainer,
                    "prompt": candidate.prompt,
                    "chosen": candidate is work.chosen,
                    "select_score": None if score is None or isinstance(score, Failed) else score,
                }


def score_rows(sites: Sequence[SiteResult]) -> Iterator[dict[str, Any]]:
    """Long format: one row a number."""
    for site in sites:
        groups: list[tuple[str, str, Scores]] = [("explanation", "all", site.scores), ("lift", "all", {"lift": site.lift})]
        groups += [("explanation", stratum, scores) for stratum, scores in site.by_stratum.items()]
        groups += [(control, "all", scores) for control, scores in site.controls.items()]
        for name, found in site.scorers.items():
            if isinstance(found, ScorerResult):
                groups += [(of, name, scores) for of, scores in (("explanation", found.scores), *found.controls.items())]
        groups += [(twin, "all", beside.scores) for twin, beside in site.twins.items()]
        for of, stratum, scores in groups:
            for name, value in scores.items():
                row: dict[str, Any] = {"site": site.site, "polarity": site.polarity, "of": of, "stratum": stratum, "score": name}
                if isinstance(value, Failure):
                    yield row | {"value": None, "low": None, "high": None, "n": None, "failed": f"{value.stage}: {value.reason}"}
                else:
                    yield row | {"value": value.value, "low": value.low, "high": value.high, "n": value.n, "failed": None}


def score_columns() -> Any:
    """Schema of scores.parquet."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("site", "polarity", "of", "stratum", "score")]
    numbers = [(name, pa.float64()) for name in ("value", "low", "high")]
    return pa.schema([*texts, *numbers, ("n", pa.int64()), ("failed", pa.string())])
