"""Logs of Inspect (inspect-ai), which `inspect view` opens: one .eval file for every task."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzers.errors import ExplicateError
from analyzers.whole_files import replaced
from evals.exports import EXPORTS
from evals.exports.facts import Facts, facts_of
from evals.exports.items import Item, Score, items_of_run
from evals.exports.long_table import whole
from evals.exports.places import make_folder
from evals.results import Failure, Value
from evals.run_folder import read_json

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

FOLDER = "logs"
"""Where `inspect view` looks when it is told nothing."""


@EXPORTS.add("inspect")
def export_inspect(run: Path, out: str | None) -> list[str]:
    """A file for each task in the folder `logs`, where nothing else is said; `out` may also be one .eval file."""
    try:
        from inspect_ai.log import write_eval_log
    except ImportError:
        raise ExplicateError(
            "logs of Inspect are written by the package inspect-ai, from the extra `inspect`: .venv/bin/pip install -e '.[inspect]'"
        ) from None
    found = list(facts_of(run))
    single = out is not None and out.endswith(".eval")
    if single and len(found) != 1:
        raise ExplicateError(f"--out {out!r} is one file, and {str(run)!r} has {len(found)} tasks; name a folder")
    folder = Path(out).parent if out is not None and single else Path(out or FOLDER)
    make_folder(folder)
    written = []
    for facts in found:
        path = Path(out) if out is not None and single else folder / _name(facts)
        with replaced(path) as temporary:
            write_eval_log(_log(facts), str(temporary), format="eval")
        written.append(str(path))
    return written


def _name(facts: Facts) -> str:
    """As Inspect names its own: time, task, id."""
    moment = facts.finished.isoformat(timespec="seconds").replace(":", "-")
    task = "".join(character if character.isalnum() else "-" for character in facts.name)
    return f"{moment}_{task}_{facts.digest[:22]}.eval"


def _log(facts: Facts) -> "EvalLog":
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalMetric, EvalResults, EvalScore, EvalSpec, EvalStats

    samples = [_sample(item, _model(facts)) for item in items_of_run(facts.folder, facts.kind)]
    scores: dict[str, EvalScore] = {}
    for metric in facts.metrics:
        name = whole(metric.of) or facts.kind
        score = scores.setdefault(name, EvalScore(name=name, scorer=name, metadata={"failed": {}}))
        if isinstance(metric.value, Failure):
            assert score.metadata is not None
            score.metadata["failed"][metric.name] = _why(metric.value)
            continue
        interval = {"low": metric.value.low, "high": metric.value.high, "n": metric.value.n, "n_failed": metric.n_failed}
        score.metrics[metric.name] = EvalMetric(name=metric.name, value=metric.value.value, metadata=interval)
    moment = facts.finished.isoformat()
    config = dict(facts.manifest.get("config", {}))
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=moment,
            run_id=facts.digest[:22],
            eval_id=facts.digest[22:44],
            task=facts.name,
            task_id=facts.digest[44:],
            task_args=config,
            dataset=EvalDataset(
                name=str(config.get("task") or config.get("corpus") or ""),
                samples=len(samples),
                sample_ids=[sample.id for sample in samples],
            ),
            model=_model(facts),
            config=EvalConfig(),
            packages={"explicate": str(facts.manifest.get("version", ""))},
            metadata={key: value for key, value in facts.manifest.items() if key != "config"},
            tags=["explicate", facts.kind],
        ),
        results=EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=list(scores.values())),
        stats=EvalStats(started_at=moment, completed_at=moment, model_usage=_usage(facts)),
        samples=samples,
    )


def _sample(item: Item, model: str) -> "EvalSample":
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput

    asked, written = whole(item.asked), whole(item.written)
    return EvalSample(
        id=item.key,
        epoch=1,
        input=asked,
        target=whole(item.gold or ""),
        messages=[ChatMessageUser(content=asked), ChatMessageAssistant(content=written)],
        output=ModelOutput.from_content(model, written),
        scores={whole(of): _score(found) for of, found in item.scores.items()},
    )


def _score(found: Any) -> Any:
    from inspect_ai.scorer import Score as InspectScore

    failed = {name: _why(value) for name, value in found.items() if isinstance(value, Failure)}
    values = {name: _number(value) for name, value in found.items()}
    return InspectScore(value=values, explanation="; ".join(f"{name}: {why}" for name, why in failed.items()) or None)


def _number(value: Score) -> float | None:
    """None stands for what failed: Inspect leaves it out of its means."""
    return None if isinstance(value, Failure) else value.value if isinstance(value, Value) else value


def _why(failed: Failure) -> str:
    return whole(f"{failed.stage}: {failed.reason}")


def _model(facts: Facts) -> str:
    """provider/model, as Inspect writes it."""
    return facts.model.replace(":", "/", 1) if ":" in facts.model else f"local/{facts.model}"


def _usage(facts: Facts) -> Any:
    from inspect_ai.model import ModelUsage

    spent = read_json(facts.folder / "results.json").get("tokens") or {}
    prompt, completion = int(spent.get("prompt", 0)), int(spent.get("completion", 0))
    return {_model(facts): ModelUsage(input_tokens=prompt, output_tokens=completion, total_tokens=prompt + completion)}
