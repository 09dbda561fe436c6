"""What is said of where facts are stored, held against the traces of one model and their controls.

The layer at which an effect is told is chosen for each fact by all others, so that no peak is there by choice alone.
"""

from collections.abc import Mapping

import numpy as np

from analyzers.tracing.kinds import CLASSES
from evals.results import Failure, Value
from evals.tracing.results import Claim
from evals.tracing.summary import Floats, figure, held_out_peaks, peak
from evals.tracing.tables import Tables

LAST_SUBJECT, LAST = (CLASSES.index(name) for name in ("last_subject", "last"))


def claims(tables: Tables, *, seed: int) -> dict[str, Claim]:
    """Those that the kinds measured allow.

    subject_noise: noise on the subject makes the model forget more than noise elsewhere. mlp_last_subject: MLPs of middle layers write
    the fact at the subject's last token. attention_last: attention of the later layers brings it to the last token.
    subject_attention: the last token needs to attend to the subject.
    """
    layers = tables.layers
    found = {"subject_noise": _claim(tables.total, {"elsewhere": tables.total - tables.total_elsewhere}, seed=seed)}
    if "mlp" in tables.kinds:
        own = tables.effects["mlp"][:, :, LAST_SUBJECT]
        beside = {
            "other_tokens": _others(tables, "mlp", LAST_SUBJECT),
            "random": tables.random("last_subject", "mlp"),
            "elsewhere": tables.elsewhere["mlp"],
        }
        if "attention" in tables.kinds:
            beside["attention"] = tables.effects["attention"][:, :, LAST_SUBJECT]
        found["mlp_last_subject"] = _peaked(own, beside, (layers // 4, max(layers // 4, 3 * layers // 4 - 1)), seed=seed)
    if "attention" in tables.kinds:
        own = tables.effects["attention"][:, :, LAST]
        beside = {"other_tokens": _others(tables, "attention", LAST), "random": tables.random("last", "attention")}
        if "mlp" in tables.kinds:
            beside["mlp"] = tables.effects["mlp"][:, :, LAST]
        found["attention_last"] = _peaked(own, beside, (layers // 2, layers - 1), seed=seed)
    if not isinstance(tables.cut, str):
        found["subject_attention"] = _peaked(tables.cut, {"elsewhere": tables.cut_elsewhere}, None, seed=seed)
    return found


def _others(tables: Tables, kind: str, own: int) -> Floats:
    """[fact, layer] mean over the other token classes that the fact has."""
    others: Floats = np.nanmean(np.delete(tables.effects[kind], own, axis=2), axis=2)
    return others


def _peaked(own: Floats, beside: Mapping[str, Floats], within: tuple[int, int] | None, *, seed: int) -> Claim:
    facts, at = np.arange(len(own)), held_out_peaks(own)
    here = own[facts, at]
    lifts = {name: here - other[facts, at] for name, other in beside.items()}
    return _claim(here, lifts, peak=peak(own, seed=seed), within=within, seed=seed)


def _claim(
    effect: Floats, lifts: Mapping[str, Floats], *, peak: Value | Failure | None = None, within: tuple[int, int] | None = None, seed: int
) -> Claim:
    whole = figure(effect, seed=seed)
    told = {name: figure(values, seed=seed) for name, values in lifts.items()}
    seen = all(isinstance(value, Value) and value.low > 0 for value in (whole, *told.values()))
    if within is not None:
        seen &= isinstance(peak, Value) and within[0] <= peak.low and peak.high <= within[1]
    return Claim(seen=seen, peak=peak, within=within, effect=whole, lifts=told)
