"""Whether weighing the labels of demonstrations anew, learned from a few further examples, answers better than showing these examples.

Source: Wang et al. 2023, arXiv 2305.14160, section 4.1.
"""

from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import SubjectError
from evals.icl.analyses import ANALYSES
from evals.icl.asking import asked_behind, further_items, of_draw
from evals.icl.results import Analysis, Curve
from evals.icl.setting import Setting
from evals.icl.task import IclItem
from evals.results import Failure, Value, stored
from evals.scores import Floats
from evals.statistics import mean

if TYPE_CHECKING:
    from analyzers.icl.prompts import IclPrompt

A_CLASS = 4
"""Examples of each class to learn from, as in the paper."""


@ANALYSES.add("reweight")
def reweight(setting: Setting) -> Analysis:
    """Figures `accuracy/<vanilla, reweighted or more_shots>`, where more_shots shows the examples that the weights are learned from, and
    paired differences `accuracy/reweighted_minus_<vanilla or more_shots>`. Curve `loss` over epochs, with intervals over draws.
    """
    from analyzers.icl.answers import answers
    from analyzers.icl.reweighting import learn_weights, reweighted

    draws = range(len(setting.drawn.shown))
    examples = [further_items(setting, draw, A_CLASS) for draw in draws]
    gold = setting.gold
    right = np.asarray(setting.answers.chosen == gold, np.float64)
    figures: dict[str, Value | Failure] = {"accuracy/vanilla": setting.mean(right)}
    if not all(examples):
        none = Failure(stage="reweight", reason="no items are left to learn from beside those shown and asked about; give more (--items)")
        for name in ("reweighted", "more_shots", "reweighted_minus_vanilla", "reweighted_minus_more_shots"):
            figures[f"accuracy/{name}"] = none
        return Analysis(figures=figures)
    weighed, losses = np.zeros(len(setting.cases)), []
    more: Floats | Failure = np.zeros(len(setting.cases))
    for draw in draws:
        cases = of_draw(setting, draw)
        prompts = asked_behind(setting, draw, examples[draw])
        labels = [item.label for item in examples[draw]]
        learned = learn_weights(setting.model, prompts, labels, seed=setting.seed + draw, report=setting.report)
        losses.append(learned.losses)
        own = [setting.cases[number].prompt for number in cases]
        weighed[cases] = reweighted(setting.model, own, learned.beta, report=setting.report).chosen == gold[cases]
        shown = _more_shown(setting, draw, examples[draw])
        if isinstance(more, Failure) or isinstance(shown, Failure):
            more = shown if isinstance(shown, Failure) else more
            continue
        more[cases] = answers(setting.model, shown, what="show more", report=setting.report).chosen == gold[cases]
    figures["accuracy/reweighted"] = setting.mean(weighed)
    figures["accuracy/more_shots"] = more if isinstance(more, Failure) else setting.mean(more)
    figures["accuracy/reweighted_minus_vanilla"] = setting.mean(weighed - right)
    figures["accuracy/reweighted_minus_more_shots"] = more if isinstance(more, Failure) else setting.mean(weighed - more)
    by_epoch = {str(epoch): mean(values, seed=setting.seed) for epoch, values in enumerate(zip(*losses, strict=True))}
    told = list(stored(by_epoch).values())
    return Analysis(
        figures=figures,
        curves={"loss": Curve(over="epoch", at=[float(at) for at in range(len(told))], values=told)},
        notes=_notes(examples),
    )


def _more_shown(setting: Setting, draw: int, examples: list[IclItem]) -> "list[IclPrompt] | Failure":
    """Prompts with the examples among the demonstrations, in random order; a Failure where they are too long."""
    from analyzers.icl.prompts import icl_prompt

    every = [*setting.drawn.shown[draw], *examples]
    order = np.random.default_rng([setting.seed, draw]).permutation(len(every))
    shown = [(every[number].text, every[number].label) for number in order]
    try:
        texts = [setting.cases[number].item.text for number in of_draw(setting, draw)]
        return [icl_prompt(setting.model, setting.template, shown, text) for text in texts]
    except SubjectError as error:
        return Failure(stage="reweight", reason=f"the examples cannot all be shown: {error}")


def _notes(examples: list[list[IclItem]]) -> list[str]:
    counts = sorted({len(own) for own in examples})
    return [
        f"learned from {' to '.join(map(str, counts))} examples a draw, at most {A_CLASS} of each class",
        f"the loss and its intervals are over {len(examples)} draws of demonstrations, not over items",
    ]
