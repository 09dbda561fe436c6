"""Whether weighing the labels of demonstrations anew, learned from a few further examples, answers better than showing these examples.

Weights of classes can undo a model's bias for some of its labels, for which no attention is needed: so the gain stands beside that of a
bias of each class, fitted to the same examples, and of weights of other tokens. Source: Wang et al. 2023, arXiv 2305.14160, section 4.1.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from analyzers.errors import SubjectError
from evals.icl.analyses import ANALYSES
from evals.icl.asking import asked_behind, further_items, of_draw, told_examples
from evals.icl.results import Analysis, Curve
from evals.icl.setting import Setting
from evals.icl.task import IclItem
from evals.number_of import number_of
from evals.results import Failure, Value, stored
from evals.scores import Floats
from evals.statistics import mean

if TYPE_CHECKING:
    from analyzers.icl.prompts import IclPrompt

A_CLASS = 4
"""Examples of each class to learn from, as in the paper."""
OTHERS = ("vanilla", "bias_only", "random_positions", "more_shots")


@ANALYSES.add("reweight")
def reweight(setting: Setting) -> Analysis:
    """Figures `accuracy/<vanilla, reweighted, bias_only, random_positions or more_shots>`, and paired differences
    `accuracy/reweighted_minus_<other>`. Curve `loss` over epochs, with intervals over draws.

    bias_only adds to the log-probability of each class a number (`class_bias`); random_positions learns weights in the same way of a
    random other token of each demonstration in place of its label; more_shots shows the examples that all of these are learned from.
    """
    draws = range(len(setting.drawn.shown))
    examples = [further_items(setting, draw, A_CLASS) for draw in draws]
    right = np.asarray(setting.answers.chosen == setting.gold, np.float64)
    figures: dict[str, Value | Failure] = {"accuracy/vanilla": setting.mean(right)}
    if not all(examples):
        none = Failure(stage="reweight", reason="no items are left to learn from beside those shown and asked about; give more (--items)")
        names = ["reweighted", *OTHERS[1:], *(f"reweighted_minus_{other}" for other in OTHERS)]
        return Analysis(figures=figures | {f"accuracy/{name}": none for name in names})
    found: dict[str, list[Floats | Failure]] = {name: [] for name in OTHERS[1:]}
    weighed, losses = [], []
    for draw in draws:
        prompts = asked_behind(setting, draw, examples[draw])
        own, at_random, of_loss = _weighed(setting, draw, prompts, examples[draw])
        weighed.append(own)
        losses.append(of_loss)
        found["bias_only"].append(_biased(setting, draw, prompts, examples[draw]))
        found["random_positions"].append(at_random)
        found["more_shots"].append(_with_more_shown(setting, draw, examples[draw]))
    reweighted = _joined(setting, weighed)
    figures["accuracy/reweighted"] = _mean(setting, reweighted)
    others = {"vanilla": right, **{name: _joined(setting, parts) for name, parts in found.items()}}
    figures |= {f"accuracy/{name}": _mean(setting, others[name]) for name in OTHERS[1:]}
    for name, other in others.items():
        figures[f"accuracy/reweighted_minus_{name}"] = _mean(setting, reweighted, other)
    by_epoch = {str(epoch): mean(values, seed=setting.seed) for epoch, values in enumerate(zip(*losses, strict=True))}
    told = list(stored(by_epoch).values())
    return Analysis(
        figures=figures,
        curves={"loss": Curve(over="epoch", at=[float(at) for at in range(len(told))], values=told)},
        notes=_notes(setting, examples),
    )


def class_bias(log_probabilities: Floats, gold: Sequence[int]) -> Floats:
    """[class] what is added to log-probabilities [example, class] so that the cross-entropy of the classes `gold` is least.

    Each class counts as if one more example had its label, spread over all examples, so that a class without any is not ruled out; with
    as many of each class that changes nothing. At the least the mean probability of a class is its share of the labels. They sum to 0.
    """
    examples, classes = log_probabilities.shape
    shares = (np.bincount(gold, minlength=classes) + 1) / (examples + classes)

    def loss(bias: Floats) -> tuple[float, Floats]:
        raw = log_probabilities + bias
        highest = raw.max(axis=1, keepdims=True)
        scaled = np.exp(raw - highest)
        total = scaled.sum(axis=1, keepdims=True)
        return float((np.log(total) + highest).mean() - shares @ bias), (scaled / total).mean(axis=0) - shares

    bias = np.asarray(minimize(loss, np.zeros(classes), jac=True, method="BFGS", options={"gtol": 1e-9}).x, np.float64)
    centred: Floats = bias - bias.mean()
    return centred


def _weighed(
    setting: Setting, draw: int, prompts: "Sequence[IclPrompt]", examples: Sequence[IclItem]
) -> "tuple[Floats, Floats | Failure, tuple[float, ...]]":
    """[case of the draw] right answers with weights of labels, and with those of random other positions; the losses of the former."""
    from analyzers.icl.reweighting import elsewhere, learn_weights, reweighted
    from analyzers.icl.saliency_flow import random_others

    cases = of_draw(setting, draw)
    own, gold = [setting.cases[number].prompt for number in cases], setting.gold[cases]
    labels = [item.label for item in examples]
    seed = setting.seed + draw
    learned = learn_weights(setting.model, prompts, labels, seed=seed, report=setting.report)
    right = _right(reweighted(setting.model, own, learned.beta, report=setting.report).chosen, gold)
    # The demonstrations of a draw are the same tokens in every prompt.
    at = random_others(own[0], np.random.default_rng([setting.seed, draw]))
    if len(at) < len(own[0].labels):
        return right, Failure(stage="reweight", reason="a demonstration has no tokens but its label"), learned.losses
    control = learn_weights(setting.model, elsewhere(prompts, at), labels, seed=seed, report=setting.report)
    chosen = reweighted(setting.model, elsewhere(own, at), control.beta, report=setting.report).chosen
    return right, _right(chosen, gold), learned.losses


def _biased(setting: Setting, draw: int, prompts: "Sequence[IclPrompt]", examples: Sequence[IclItem]) -> Floats:
    """[case of the draw] right answers with a bias of each class."""
    from analyzers.icl.answers import answers

    cases = of_draw(setting, draw)
    of_examples = answers(setting.model, prompts, what="answer examples", report=setting.report).probabilities
    bias = class_bias(_log(of_examples), [item.label for item in examples])
    return _right((_log(setting.answers.probabilities[cases]) + bias).argmax(axis=1), setting.gold[cases])


def _log(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))


def _with_more_shown(setting: Setting, draw: int, examples: Sequence[IclItem]) -> Floats | Failure:
    """[case of the draw] right answers with the examples among the demonstrations, in random order; a Failure where they are too long."""
    from analyzers.icl.answers import answers
    from analyzers.icl.prompts import icl_prompt

    every = [*setting.drawn.shown[draw], *examples]
    order = np.random.default_rng([setting.seed, draw]).permutation(len(every))
    shown = [(every[number].text, every[number].label) for number in order]
    cases = of_draw(setting, draw)
    try:
        prompts = [icl_prompt(setting.model, setting.template, shown, setting.cases[number].item.text) for number in cases]
    except SubjectError as error:
        return Failure(stage="reweight", reason=f"the examples cannot all be shown: {error}")
    return _right(answers(setting.model, prompts, what="show more", report=setting.report).chosen, setting.gold[cases])


def _right(chosen: npt.NDArray[np.int64], gold: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(chosen == gold, np.float64)


def _joined(setting: Setting, parts: Sequence[Floats | Failure]) -> Floats | Failure:
    """[case] from [draw] of [case of the draw]; the first failure where there is one."""
    joined = np.zeros(len(setting.cases))
    for draw, part in enumerate(parts):
        if isinstance(part, Failure):
            return part
        joined[of_draw(setting, draw)] = part
    return joined


def _mean(setting: Setting, of: Floats | Failure, less: Floats | Failure | None = None) -> Value | Failure:
    if isinstance(of, Failure):
        return of
    if isinstance(less, Failure):
        return less
    return setting.mean(of if less is None else of - less)


def _notes(setting: Setting, examples: Sequence[Sequence[IclItem]]) -> list[str]:
    counts = sorted({len(own) for own in examples})
    return [
        f"examples a draw that were learned from, at most {A_CLASS} of each class: {' to '.join(map(str, counts))}",
        *told_examples(setting.template.labels, examples),
        "bias_only: no weights, but a number added to the log-probability of each label, fitted to the same examples by the same loss",
        "random_positions: weights learned in the same way of a random token of each demonstration that is of no label, one choice a draw",
        f"the loss and its intervals are over {number_of('draw', len(examples))} of demonstrations, not over items",
    ]
