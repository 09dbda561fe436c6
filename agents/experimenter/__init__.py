"""An explainer that experiments: it writes texts, measures the site on them, looks for counter-examples and revises its hypotheses."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from agents.experimenter.lab import Laboratory
    from agents.experimenter.limits import ExperimentLimits
    from agents.experimenter.outcome import Clause, Experimented
    from agents.experimenter.replaying import Difference, Replayed, replay
    from agents.experimenter.run import experiment

__all__ = ["Clause", "Difference", "ExperimentLimits", "Experimented", "Laboratory", "Replayed", "experiment", "replay"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Laboratory": "agents.experimenter.lab",
        "ExperimentLimits": "agents.experimenter.limits",
        **dict.fromkeys(("Clause", "Experimented"), "agents.experimenter.outcome"),
        **dict.fromkeys(("Difference", "Replayed", "replay"), "agents.experimenter.replaying"),
        "experiment": "agents.experimenter.run",
    },
)
