"""Where information flows: into labels, from labels to the answer, and between other tokens; and whether attention to labels foretells it.

Source: Wang et al. 2023, arXiv 2305.14160, sections 2.1 and 2.3.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from evals.icl.analyses import ANALYSES
from evals.icl.asking import of_draw
from evals.icl.auroc import mean_auroc
from evals.icl.kept import Kept
from evals.icl.results import Analysis, Curve
from evals.icl.setting import Setting
from evals.number_of import number_of
from evals.results import Failure, Value, stored
from evals.scores import Floats, Masked, Statistic
from evals.statistics import bootstrap

KINDS = ("wp", "pq", "ww")
CHANCE = 0.5
FLOW = "saliency flow"


@ANALYSES.add("flow")
def flow(setting: Setting) -> Analysis:
    """Curves over layers: shares of wp, pq and ww (also `_by_head`, of the footnote's variant), the AUROC of the attention that the last
    position pays to each class's labels against the class that the model chooses, and the part of all its excess over chance that
    lies up to a layer. Figures: what the shape is, from the first and the last third of the layers, by itself and beside the same of
    random tokens. That wp is less in late layers than in early ones needs no anchors: in the last layer it is 0 in every model, for the
    loss hangs on the last position alone.
    """
    from analyzers.icl.deep_attention import label_attention
    from analyzers.icl.saliency_flow import attention_saliency, random_others, saliency_flow

    outside: list[Floats | Failed] = []
    by_head: list[Floats | Failed] = []
    random: list[Floats | Failed] = []
    rng = np.random.default_rng(setting.seed)
    for done, case in enumerate(setting.cases):
        setting.report(FLOW, done, len(setting.cases))
        saliency = attention_saliency(setting.model, case.prompt, case.item.label)
        found = saliency_flow(saliency, case.prompt)
        outside.append(found.shares())
        by_head.append(saliency_flow(saliency, case.prompt, by_head=True).shares())
        others = random_others(case.prompt, rng)
        none = Failed("flow", "the demonstrations have no tokens but their labels")
        random.append(saliency_flow(saliency, case.prompt, at=others).shares(found) if others else none)
    setting.report(FLOW, len(setting.cases), len(setting.cases))
    shares = _shares(outside)
    figures = _shape(setting, shares) | _beside_random(setting, shares, _shares(random))
    curves = _curves(setting, shares) | {f"{kind}_by_head": curve for kind, curve in _curves(setting, _shares(by_head)).items()}
    attention = label_attention(setting.model, setting.prompts, report=setting.report)
    foretold = foretelling(attention, setting)
    notes = [*_notes(setting), *foretold.notes]
    return Analysis(figures=figures | foretold.figures, curves=curves | foretold.curves, notes=notes)


def foretelling(attention: Floats, setting: Setting) -> Analysis:
    """Curves `auroc` and `cumulated` over layers, and `auroc_late`, from attention [case, layer, class].

    An AUROC is the mean over draws of demonstrations of that among the answers behind one of them, for a draw that turns both attention
    and answers to one label would pass for foretelling; `cumulated` is of these means. n counts the answers that have a part in it (in
    all the layers of a figure of several), and notes say what has none.
    """
    layers = attention.shape[1]
    of = Kept(_within_draws(attention, setting))
    late = _thirds(layers)[1]
    statistics: dict[str, Statistic] = {f"auroc {layer}": _at(of, layer) for layer in range(layers)}
    statistics |= {f"cumulated {layer}": _cumulated(of, layer) for layer in range(layers)}
    statistics["late"] = lambda weights: np.ma.masked_array(of(weights)[late].mean(axis=0))
    counted = _counted(attention, setting)
    counts = {f"auroc {layer}": int(counted[layer].sum()) for layer in range(layers)}
    counts |= {f"cumulated {layer}": int(counted.all(axis=0).sum()) for layer in range(layers)} | {
        "late": int(counted[late].all(axis=0).sum())
    }
    found = stored(bootstrap(statistics, len(set(setting.units)), n=len(setting.cases), seed=setting.seed))
    told = {name: value.model_copy(update={"n": counts[name]}) if isinstance(value, Value) else value for name, value in found.items()}
    curves = {name: _curve([told[f"{name} {layer}"] for layer in range(layers)]) for name in ("auroc", "cumulated")}
    return Analysis(figures={"auroc_late": told["late"]}, curves=curves, notes=_uncounted(setting, counted))


def _counted(attention: Floats, setting: Setting) -> npt.NDArray[np.bool_]:
    """[layer, case] whether it has a part in the AUROC: it pays labels some attention, and behind its draw several classes are chosen."""
    some = np.asarray(attention.sum(axis=2).T > 0)
    for draw in range(len(setting.drawn.shown)):
        part = np.array(of_draw(setting, draw))
        for layer in some:
            if len(set(setting.answers.chosen[part[layer[part]]].tolist())) < 2:
                layer[part] = False
    return some


def _uncounted(setting: Setting, counted: npt.NDArray[np.bool_]) -> list[str]:
    """What has no AUROC, or no part in it."""
    labels, draws = setting.template.labels, len(setting.drawn.shown)
    chosen = [set(setting.answers.chosen[of_draw(setting, draw)].tolist()) for draw in range(draws)]
    alone = [own for own in chosen if len(own) < 2]
    notes = []
    if alone:
        named = ", ".join(sorted({labels[number] for own in alone for number in own}))
        notes.append(f"AUROC: left out with their answers: {len(alone)} of {draws} draws, behind which one label alone is chosen ({named})")
    never = [sum(number not in own for own in chosen if len(own) > 1) for number in range(len(labels))]
    if any(never):
        named = ", ".join(f"{label} in {count}" for label, count in zip(labels, never, strict=True) if count)
        notes.append(f"AUROC: a label has none in a draw behind which it is never chosen ({named} of {draws} draws)")
    several = np.array([len(chosen[case.draw]) > 1 for case in setting.cases])
    if lost := int((several & ~counted.all(axis=0)).sum()):
        notes.append(f"AUROC: {number_of('answer', lost)} without a part in it in some layer, where no attention goes to labels")
    return notes


def _within_draws(attention: Floats, setting: Setting) -> Statistic:
    """[layer, resample]; a draw of demonstrations behind which one class alone is chosen has no AUROC and is left out."""
    unit = np.unique(setting.units, return_inverse=True)[1]
    chosen = setting.answers.chosen
    parts = [np.array(of_draw(setting, draw)) for draw in range(len(setting.drawn.shown))]
    owns = [np.unique(unit[part]) for part in parts]
    statistics = [
        [mean_auroc(attention[part, layer], chosen[part], unit[part].tolist()) for part in parts] for layer in range(attention.shape[1])
    ]

    def of(weights: Floats) -> Masked:
        found = [np.ma.stack([one(weights[:, own]) for one, own in zip(layer, owns, strict=True)]).mean(axis=0) for layer in statistics]
        return np.ma.masked_array(np.ma.stack(found))

    return of


def _at(of: Kept, layer: int) -> Statistic:
    return lambda weights: np.ma.masked_array(of(weights)[layer])


def _cumulated(of: Kept, layer: int) -> Statistic:
    """R_l, undefined where the layers together are not above chance."""

    def value(weights: Floats) -> Masked:
        above = of(weights) - CHANCE
        total = above.sum(axis=0)
        whole = np.ma.getmaskarray(above).any(axis=0) | (np.ma.filled(total, 0.0) <= 0)
        return np.ma.masked_array(above[: layer + 1].sum(axis=0) / np.where(whole, 1.0, np.ma.filled(total, 1.0)), whole)

    return value


def _shares(found: Sequence[Floats | Failed]) -> Floats | Failure:
    """[case, kind, layer]; a Failure where a prompt has a layer without saliency."""
    fine = [one for one in found if not isinstance(one, Failed)]
    failed = [one for one in found if isinstance(one, Failed)]
    if failed:
        return Failure(stage=failed[0].stage, reason=f"{len(failed)} of {len(found)} prompts: {failed[0].reason}")
    return np.stack(fine)


def _curves(setting: Setting, shares: Floats | Failure) -> dict[str, Curve]:
    layers = setting.model.layers
    if isinstance(shares, Failure):
        return {kind: _curve([shares] * layers) for kind in KINDS}
    return {kind: _curve([setting.mean(shares[:, at, layer]) for layer in range(layers)]) for at, kind in enumerate(KINDS)}


def _shape(setting: Setting, shares: Floats | Failure) -> dict[str, Value | Failure]:
    names = ("wp_early_minus_late", "pq_late_minus_early", "pq_minus_wp_late", "pq_minus_ww_late")
    if isinstance(shares, Failure):
        return dict.fromkeys(names, shares)
    early, late = (shares[:, :, layers].mean(axis=2) for layers in _thirds(setting.model.layers))
    wp, pq, ww = range(3)
    values = (early[:, wp] - late[:, wp], late[:, pq] - early[:, pq], late[:, pq] - late[:, wp], late[:, pq] - late[:, ww])
    return {name: setting.mean(value) for name, value in zip(names, values, strict=True)}


def _beside_random(setting: Setting, shares: Floats | Failure, random: Floats | Failure) -> dict[str, Value | Failure]:
    """Paired differences of shares of the same total, so that their signs are those of the saliency itself."""
    names = ("wp_early_minus_random", "pq_late_minus_random")
    if isinstance(shares, Failure):
        return dict.fromkeys(names, shares)
    if isinstance(random, Failure):
        return dict.fromkeys(names, random)
    more = shares - random
    early, late = _thirds(setting.model.layers)
    values = (more[:, KINDS.index("wp"), early].mean(axis=1), more[:, KINDS.index("pq"), late].mean(axis=1))
    return {name: setting.mean(value) for name, value in zip(names, values, strict=True)}


def _thirds(layers: int) -> tuple[slice, slice]:
    """The first and the last third, of at least one layer each."""
    third = max(1, layers // 3)
    return slice(0, third), slice(layers - third, layers)


def _curve(values: Sequence[Value | Failure]) -> Curve:
    return Curve(over="layer", at=[float(layer) for layer in range(len(values))], values=list(values))


def _notes(setting: Setting) -> list[str]:
    early, late = _thirds(setting.model.layers)
    return [
        f"early: layers {early.start} to {early.stop - 1}; late: layers {late.start} to {late.stop - 1}",
        "random: in place of each label a random token of its demonstration that is of no label, its saliency as a share of the same total",
    ]
