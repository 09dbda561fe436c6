"""Whether a model uses a direction of truth: what adding it does to the model's answer to the question whether a statement is true.

As in Marks and Tegmark (arXiv 2310.06824), but at the last token of the statement and one layer, without examples in the prompt, and beside
random directions of equal length that are drawn from the states' own spread: directions in which states do not vary would be too easy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import Failed, SubjectError
from analyzers.probes.truth import Detector
from analyzers.progress import Report, quiet
from evals.probes.truth_folds import Parts
from evals.probes.truth_intervals import Flags, Sample
from evals.probes.truth_results import Causal, Strength
from evals.probes.truth_topics import in_proportion, without_period
from evals.results import Failure, Value, failure, stored
from evals.scores import Floats, Indices, Masked, Statistic
from evals.statistics import LEVEL, bootstrap, permutation_p

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

STRENGTHS = (1.0, 4.0)
DIRECTIONS = 20
"""Random ones."""
ASKED = 400
"""Statements at most that the model is asked about with nothing added: a single pass of each, and an AUROC within topics needs many."""

Answers = Callable[[Sequence[int], Floats], Floats]
"""[row, 2] log-probabilities of true and of false for the statements of these numbers, with [row, width] added."""


def run_causal(
    model: "TextModel", texts: Sequence[str], parts: Parts, penalty: Mapping[int, float], layer: int, limit: int, *, report: Report = quiet
) -> Causal | Failed:
    """On so many of the statements [statement], in proportion to topics and labels. Failed, with the reason, where the model cannot be
    asked or the detector has no direction."""
    from analyzers.adding import Asked, answers_after, asked
    from prompts import load

    if not model.causal:
        return Failed("causal", f"{model.name} is an encoder, which answers no question; choose a causal language model")
    prompt = load("truth_statement")
    drawn, plain = (in_proportion(parts.topic * 2 + parts.true, each, parts.seed) for each in (limit, max(limit, ASKED)))
    try:
        prompts: dict[int, Asked] = {}
        answers: list[int] = []
        for number in sorted({*drawn.tolist(), *plain.tolist()}):
            bare = without_period(texts[number])
            text = prompt.render("prompt", statement=bare if bare.endswith(("!", "?", '."')) else f"{bare}.")
            prompts[number] = asked(model, text, len(bare))
            answers = answers or [model.continuation(text, " " + prompt.sections[name].text)[0] for name in ("true", "false")]
        if len(set(answers)) < 2:
            return Failed("causal", f"{model.name} begins both answers with the same token")

        def after(numbers: Sequence[int], added: Floats) -> Floats:
            return answers_after(model, [prompts[number] for number in numbers], answers, layer=layer, added=added, report=report)

        return measured(after, parts, penalty, layer, drawn, plain)
    except SubjectError as error:
        return Failed("causal", str(error))


def measured(after: Answers, parts: Parts, penalty: Mapping[int, float], layer: int, drawn: Indices, asked: Indices) -> Causal | Failed:
    """The effects on the statements of the numbers drawn [statement], each with the direction that was trained without its part; asked
    [statement] are answered as they are."""
    x = parts.bank.at(layer).astype(np.float64)
    kind = parts.kind if parts.kind != "saplma" else "mass-mean"
    steps = np.empty((len(drawn), x.shape[1]))
    for part in np.unique(parts.part[drawn]).tolist():
        rows = parts.part != part
        detector = parts.train(layer, rows, c=penalty[part], kind=kind)
        if isinstance(detector, Failed):
            return detector
        steps[parts.part[drawn] == part] = step(detector, x[rows], parts.true[rows])
    sample = Sample(parts.topic[drawn], parts.true[drawn], parts.seed)
    numbers = drawn.tolist()
    controls = _random_steps(x, steps, parts.seed)
    # All at once, so that passes are of full batches: [change] of [row, width], the first none.
    changes = [np.zeros_like(steps)] + [sign * k * one for k in STRENGTHS for one in (steps, *controls) for sign in (1, -1)]
    plain, *told = np.split(after(numbers * len(changes), np.concatenate(changes)), len(changes))
    strengths = []
    for k in STRENGTHS:
        (plus, minus, *others), told = told[: 2 + 2 * len(controls)], told[2 + 2 * len(controls) :]
        random = np.array([sample.plain_rate(_effect(more, less)) for more, less in zip(others[::2], others[1::2], strict=True)])
        effect = sample.rate(_effect(plus, minus))
        low, high = np.quantile(random, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        nie = _indirect(plain, plus, minus, sample.true, parts.seed)
        strengths.append(
            Strength(
                k=k,
                effect=failure(effect) if isinstance(effect, Failed) else effect,
                random=Value(value=float(random.mean()), low=float(low), high=float(high), n=len(random)),
                p=permutation_p(sample.plain_rate(_effect(plus, minus)), np.abs(random)),
                nie_false=nie["nie_false"],
                nie_true=nie["nie_true"],
            )
        )
    answered = Sample(parts.topic[asked], parts.true[asked], parts.seed)
    own = answered.auroc(_log_odds(after(asked.tolist(), np.zeros((len(asked), x.shape[1])))))
    return Causal(
        layer=layer,
        direction=kind,
        statements=len(drawn),
        directions=len(controls),
        asked=failure(own) if isinstance(own, Failed) else own,
        strengths=strengths,
    )


def step(detector: Detector, x: Floats, true: Flags) -> Floats:
    """[width] along the detector's direction as far as the means of true and false states x [row, width] are apart along it."""
    direction = detector.direction
    if direction is None:
        raise ValueError(f"a {detector.kind} detector has no direction")
    unit = direction / np.linalg.norm(direction)
    return np.asarray(unit * float((x[true].mean(0, dtype=np.float64) - x[~true].mean(0, dtype=np.float64)) @ unit))


def _random_steps(x: Floats, steps: Floats, seed: int) -> list[Floats]:
    """[direction] of [row, width]: random mixtures of the states, less their mean, as long as each row's own step."""
    rng = np.random.default_rng(seed)
    centred = x - x.mean(0, dtype=np.float64)
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    mixed = [rng.normal(size=len(x)) @ centred for _ in range(DIRECTIONS)]
    return [lengths * (one / np.linalg.norm(one)) for one in mixed]


def _log_odds(logprobs: Floats) -> Floats:
    return np.asarray(logprobs[:, 0] - logprobs[:, 1])


def _effect(plus: Floats, minus: Floats) -> Floats:
    """[statement]"""
    return (_log_odds(plus) - _log_odds(minus)) / 2


def _indirect(plain: Floats, plus: Floats, minus: Floats, true: Flags, seed: int) -> dict[str, Value | Failure]:
    """Both normalised indirect effects, of differences of probabilities."""
    before, added, taken = (np.exp(each[:, 0]) - np.exp(each[:, 1]) for each in (plain, plus, minus))
    apart = before[true].mean() - before[~true].mean()
    if apart <= 0:
        failed = Failed("causal", "asked, the model says true no more of true statements than of false ones, so that no share can be told")
        return stored(dict.fromkeys(("nie_false", "nie_true"), failed))

    def ratio(change: Floats, own: Flags) -> Statistic:
        def of(weights: Floats) -> Masked:
            trues, falses = weights @ true, weights @ ~true
            counted = np.minimum(trues, falses) > 0
            whole = weights @ (before * true) / np.maximum(trues, 1) - weights @ (before * ~true) / np.maximum(falses, 1)
            share = weights @ (change * own) / np.maximum(weights @ own, 1)
            return np.ma.masked_array(share / np.where(whole > 0, whole, 1), ~counted | (whole <= 0))

        return of

    both = {"nie_false": ratio(added - before, ~true), "nie_true": ratio(before - taken, true)}
    return stored(bootstrap(both, len(true), n=len(true), seed=seed))
