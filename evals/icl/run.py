"""Analyse how a model learns a task from examples in its context, by the model's name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import ExplicateError, SubjectError
from analyzers.progress import Report, quiet
from evals.icl.analyses import ANALYSES
from evals.icl.config import IclConfig, check_loading
from evals.icl.drawing import Drawn, draw, shown_again
from evals.icl.results import Analysis, IclResults, TaskTold
from evals.icl.setting import Case, Setting
from evals.icl.task import IclTask, load_icl_task
from evals.number_of import number_of
from evals.results import Failure

if TYPE_CHECKING:
    from analyzers.text_model import TextModel


def run_icl(config: IclConfig, *, report: Report = quiet) -> IclResults:
    """All analyses of the configuration on the same answers. Raises ExplicateError for what the user can mend."""
    # What is misspelt or missing is told before a model is fetched and loaded, and before transformers is imported, which takes longer.
    config.check()
    task = load_icl_task(config.task, items=config.items, report=report)
    drawn = draw(task.items, task.labels, shots=config.shots, n=config.n, seeds=config.seeds, seed=config.seed)
    check_loading(config.dtype, config.device)
    from analyzers.icl.prompts import Template
    from analyzers.text_model import TextModel

    Template(task.template, task.labels)
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    setting = prepared(model, task, drawn, seed=config.seed, report=report)
    chosen = np.bincount(setting.answers.chosen, minlength=len(task.labels)) / len(setting.cases)
    counts = np.bincount([item.label for item in drawn.asked], minlength=len(task.labels))
    return IclResults(
        model=model.identity,
        task=TaskTold(
            name=task.name,
            template=task.template,
            labels=list(task.labels),
            source=task.source,
            digest=task.digest,
            left_out=task.left_out,
            near_duplicates=task.near_duplicates,
        ),
        shots=config.shots,
        seeds=config.seeds,
        seed=config.seed,
        items=len(drawn.asked),
        asked={label: int(count) for label, count in zip(task.labels, counts, strict=True)},
        accuracy=setting.mean(np.asarray(setting.answers.chosen == setting.gold, np.float64)),
        largest_class=float(counts.max() / counts.sum()),
        label_mass=setting.mean(setting.answers.mass),
        chosen={label: float(share) for label, share in zip(task.labels, chosen, strict=True)},
        analyses=analysed(setting, config.analyses),
        notes=_notes(task, drawn, config.n),
    )


def _notes(task: IclTask, drawn: Drawn, n: int) -> list[str]:
    notes = []
    if len(drawn.asked) < n:
        notes.append(
            f"--n {n} asks for more than there are: of {number_of('item', len(task.items))} {len(drawn.asked)} are asked about, and the "
            "others are kept to be shown; give more (--items), or show fewer (--shots, --seeds)"
        )
    if task.near_duplicates:
        notes.append(f"left out, nearly the same as another text: {number_of('text', task.near_duplicates)}")
    if again := shown_again(drawn, len(task.labels)):
        told = ", ".join(
            f"{task.labels[label]} ({number_of('item', items)} in {number_of('place', places)})" for label, (items, places) in again.items()
        )
        notes.append(
            f"too few items are left beside those asked about for each draw to show others: {told}; ask about fewer (--n), or give more "
            "(--items)"
        )
    return notes


def analysed(setting: Setting, names: Sequence[str]) -> dict[str, Analysis]:
    """By name; one that the model or the task does not allow has its failure. Raises its SubjectError where no other one is left."""
    found: dict[str, Analysis] = {}
    for name in names:
        try:
            found[name] = ANALYSES.get(name)(setting)
        except SubjectError as error:
            if name == names[-1] and all(one.failure for one in found.values()):
                raise
            found[name] = Analysis(failure=Failure(stage=name, reason=str(error)))
    return found


def prepared(model: "TextModel", task: IclTask, drawn: Drawn, *, seed: int = 0, report: Report = quiet) -> Setting:
    """The prompts of all draws and what the model answers to them. Raises ExplicateError for what the user can mend."""
    from analyzers.attention.door import can_intervene
    from analyzers.icl.answers import answers
    from analyzers.icl.prompts import Template, check_shared, icl_prompt

    if not can_intervene(model.model):
        raise ExplicateError(
            f"{model.name!r} computes attention inside its modules, so that it cannot be masked or changed; choose a model whose family "
            "takes attention functions, such as llama, qwen, gemma, mistral, phi, gpt2, gpt_neox or opt"
        )
    template = Template(task.template, task.labels)
    cases = []
    for number, shown in enumerate(drawn.shown):
        demonstrations = [(item.text, item.label) for item in shown]
        prompts = [icl_prompt(model, template, demonstrations, item.text) for item in drawn.asked]
        check_shared(model, prompts)
        cases += [Case(item, number, prompt) for item, prompt in zip(drawn.asked, prompts, strict=True)]
    before = answers(model, [case.prompt for case in cases], report=report)
    return Setting(model, template, drawn, tuple(cases), before, seed, report)
