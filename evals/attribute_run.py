"""Attribute the choice of a model by name: connect, ask, and count what it took."""

from collections.abc import Sequence
from dataclasses import replace

from agents.beliefs import READERS
from agents.self_explanations import ASK, Asking
from analyzers.errors import ExplicateError
from analyzers.progress import Report, quiet
from evals.attribute import Attributed, attribute
from evals.calls import Calls, check_base_url, doing
from evals.label_config import Limits
from evals.task_config import spec_of
from evals.tasks.task import load_task

LEAST = 2
"""Labels between which a model can be torn."""


def asking_of(task: str | None, labels: Sequence[str], *, instruction: str, unit: str) -> Asking:
    """What is asked: a task's question, labels and demonstrations, or labels alone with a plain question; an instruction of the user's
    own in its place. Raises ExplicateError for labels that will not do."""
    asking = Asking("") if task is None else load_task(task)[0].asking("")
    asking = replace(asking, labels=tuple(labels) or asking.labels, instruction=instruction.strip() or asking.instruction)
    if len({label.casefold() for label in asking.labels}) < max(LEAST, len(asking.labels)):
        raise ExplicateError(
            f"--labels {', '.join(asking.labels)!r}: give at least two different ones, such as --labels positive,negative, or a --task"
        )
    if unit == "demonstration" and len(asking.demonstrations) < LEAST:
        raise ExplicateError("--unit demonstration takes away the demonstrations of a --task, and needs two at least")
    return asking


def check_label(label: str | None, asking: Asking) -> None:
    """Raise ExplicateError for a label to attribute that is none of those asked about."""
    if label is not None and label not in asking.labels:
        raise ExplicateError(f"--label {label!r} is none of the labels {', '.join(asking.labels)}")


async def run_attribute(
    model: str,
    asking: Asking,
    text: str,
    *,
    methods: Sequence[str],
    operator: str,
    unit: str,
    most: int,
    label: str | None,
    interactions: bool,
    seed: int,
    limits: Limits,
    base_url: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    report: Report = quiet,
) -> Attributed:
    """As `attribute`, of a model named as in `connect`, or a local one by its name alone; an empty instruction asks which label fits."""
    limits.check()
    spec = spec_of(model)
    check_base_url(base_url, spec)
    check_label(label, asking)
    if spec.startswith("local:"):
        _check_device(device)
    asking = asking if asking.instruction else replace(asking, instruction=ASK.render("instruction"))
    async with Calls(limits, base_url=base_url, report=report) as calls:
        llm = await calls.connect(spec, "model", dtype=dtype, device=device)
        assert llm is not None
        with doing("attribute"):
            found = await attribute(
                llm,
                READERS.pick(llm),
                asking,
                text,
                methods=methods,
                operator=operator,
                unit=unit,
                most=most,
                label=label,
                seed=seed,
                interactions=interactions,
            )
        return found.model_copy(update={"prompt_tokens": calls.budget.spent.prompt_tokens})


def _check_device(device: str) -> None:
    """Raise SubjectError for one that is not there, before a model is fetched."""
    from analyzers.loading import choose_device

    choose_device(device)
