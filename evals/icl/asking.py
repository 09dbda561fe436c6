"""What several analyses do: ask about further items, answer from what is kept of a context, and compare with the whole."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evals.icl.setting import Setting
from evals.icl.task import IclItem
from evals.scores import Floats

if TYPE_CHECKING:
    from analyzers.icl.answers import Answers
    from analyzers.icl.compression import CompressedContext
    from analyzers.icl.prompts import IclPrompt


def of_draw(setting: Setting, draw: int) -> list[int]:
    """Numbers of the cases behind the demonstrations of the draw."""
    return [number for number, case in enumerate(setting.cases) if case.draw == draw]


def some_cases(setting: Setting, draw: int, count: int, rng: np.random.Generator) -> list[int]:
    """So many random ones of these, or all, in their order."""
    every = of_draw(setting, draw)
    return sorted(rng.choice(every, min(count, len(every)), replace=False).tolist())


def further_items(setting: Setting, draw: int, a_class: int) -> list[IclItem]:
    """So many of each class, or all there are, that are neither asked about nor shown, in random order; of a draw of demonstrations."""
    left = dict.fromkeys(range(len(setting.template.labels)), a_class)
    chosen = []
    for item in setting.drawn.further[draw]:
        if left[item.label] > 0:
            left[item.label] -= 1
            chosen.append(item)
    return chosen


def told_examples(labels: Sequence[str], examples: Sequence[Sequence[IclItem]]) -> list[str]:
    """How many further examples [draw] there are of each class, and of which classes a draw has none."""
    counts = np.array([np.bincount([item.label for item in own], minlength=len(labels)) for own in examples])
    each = ", ".join(f"{label} {_range(column)}" for label, column in zip(labels, counts.T, strict=True))
    without = [
        f"of {label} no example was left in {int((column == 0).sum())} of {len(counts)} draws: what is found there says nothing of it"
        for label, column in zip(labels, counts.T, strict=True)
        if not column.all()
    ]
    return [f"further examples a draw, by label: {each}", *without]


def _range(counts: npt.NDArray[np.int64]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def asked_behind(setting: Setting, draw: int, items: Sequence[IclItem]) -> list["IclPrompt"]:
    """A prompt for each item behind the demonstrations of the draw; SubjectError for one that changes how these are read."""
    from analyzers.icl.prompts import check_shared, icl_prompt

    shown = [(item.text, item.label) for item in setting.drawn.shown[draw]]
    prompts = [icl_prompt(setting.model, setting.template, shown, item.text) for item in items]
    check_shared(setting.model, [*(setting.cases[number].prompt for number in of_draw(setting, draw)[:1]), *prompts])
    return prompts


def answered_behind(setting: Setting, cases: Sequence[int], context: "CompressedContext") -> "Answers":
    """What the model answers to the queries of these cases behind what is kept of their demonstrations."""
    from analyzers.icl.answers import Answers

    prompts = [setting.cases[number].prompt for number in cases]
    queries = [prompt.ids[prompt.query.start :] for prompt in prompts]
    return Answers.read(context.logits(setting.model, queries), prompts[0].class_tokens)


def loyalty(setting: Setting, cases: Sequence[int], changed: "Answers") -> dict[str, Floats]:
    """[case] by measure, of other answers to these cases: label_loyalty and word_loyalty to the undisturbed ones, and accuracy."""
    from analyzers.icl.answers import Answers, label_loyalty, word_loyalty

    some, every = list(cases), setting.answers
    before = Answers(every.probabilities[some], every.mass[some], every.words[some])
    right = np.asarray(changed.chosen == setting.gold[some], np.float64)
    return {"label_loyalty": label_loyalty(changed, before), "word_loyalty": word_loyalty(changed, before), "accuracy": right}
