"""Traces of many facts as arrays over facts, in which what a fact does not have is NaN."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analyzers.tracing.kinds import CLASSES
from evals.tracing.summary import Floats

if TYPE_CHECKING:
    from analyzers.tracing.trace import Trace


class Tables:
    """Of traces of one model."""

    def __init__(self, traces: Sequence["Trace"], kinds: Sequence[str], layers: int) -> None:
        self.traces = traces
        self.kinds = kinds
        self.layers = layers

    @cached_property
    def effects(self) -> Mapping[str, Floats]:
        """By kind [fact, layer, token class], the mean over the tokens of a class."""
        return {kind: np.stack([_by_class(trace, kind) for trace in self.traces]) for kind in self.kinds}

    @cached_property
    def total(self) -> Floats:
        """[fact] total effect of noise on the subject"""
        return np.array([trace.probability - trace.corrupted for trace in self.traces])

    @cached_property
    def total_elsewhere(self) -> Floats:
        """[fact]"""
        return np.array([np.nan if trace.elsewhere is None else trace.probability - trace.elsewhere.corrupted for trace in self.traces])

    @cached_property
    def elsewhere(self) -> Mapping[str, Floats]:
        """By kind [fact, layer]"""
        none = [np.nan] * self.layers
        return {
            kind: np.array([none if trace.elsewhere is None else trace.elsewhere.effects[kind] for trace in self.traces])
            for kind in self.kinds
        }

    def random(self, at: str, kind: str) -> Floats:
        """[fact, layer] at the token of a class, last_subject or last."""
        return np.array([trace.random[at][kind] for trace in self.traces])

    def lens(self, name: str) -> Floats:
        """[fact, layer]"""
        return np.array([trace.lens.get(name, [np.nan] * self.layers) for trace in self.traces])

    @cached_property
    def cut(self) -> Floats | str:
        """[fact, layer] by how much p falls when the last token does not see the subject; or why that is not known."""
        rows = []
        for trace in self.traces:
            if isinstance(trace.cut, str) or trace.uncut is None:
                return str(trace.cut)
            rows.append(trace.uncut - np.array(trace.cut))
        return np.array(rows)

    @cached_property
    def cut_elsewhere(self) -> Floats:
        """[fact, layer] the same of as many tokens that are not the subject."""
        none = np.full(self.layers, np.nan)
        return np.array(
            [
                none
                if trace.uncut is None or trace.elsewhere is None or trace.elsewhere.cut is None
                else trace.uncut - np.array(trace.elsewhere.cut)
                for trace in self.traces
            ]
        )


def _by_class(trace: "Trace", kind: str) -> Floats:
    effects = np.array(trace.effects[kind], np.float64)
    found = np.full((len(effects), len(CLASSES)), np.nan)
    for number, name in enumerate(CLASSES):
        places = [place for place, own in enumerate(trace.classes) if own == name]
        if places:
            found[:, number] = effects[:, places].mean(1)
    return found
