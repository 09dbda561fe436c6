"""Analyses of in-context learning; each file is one, from the setting that they share to figures and curves."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from analyzers.folder import Folder
from evals.icl.results import Analysis

if TYPE_CHECKING:
    from evals.icl.setting import Setting

__all__ = ["ANALYSES", "IclAnalysis"]

IclAnalysis = Callable[["Setting"], Analysis]

ANALYSES: Folder[IclAnalysis] = Folder("evals.icl.analyses", "analysis")
