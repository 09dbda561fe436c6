"""A run held against a baseline: which metrics moved by more than their noise, and what else changed."""

from evals.comparison.compare import compare
from evals.comparison.results import Change, Comparison, MetricKey, ProvenanceChange, Threshold

__all__ = ["Change", "Comparison", "MetricKey", "ProvenanceChange", "Threshold", "compare"]
