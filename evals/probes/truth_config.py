"""What `explicate probe truth` was asked for."""

from dataclasses import dataclass

from analyzers.errors import ExplicateError
from analyzers.probes.truth import KINDS, Kind
from evals.label_config import parse_layers
from evals.probes.truth_topics import samples

CAUSAL = 40
"""Statements whose answers are read again and again with a direction added, by default."""


@dataclass(frozen=True)
class TruthConfig:
    """All that decides the figures, but for the model's weights."""

    model: str
    csv: tuple[str, ...] = ()
    """A topic each; empty: the small ones that come with explicate."""
    also: tuple[str, ...] = ()
    """Negated, joined or other statements that are only scored."""
    leave_topic_out: bool = False
    detector: Kind = "logistic"
    layers: str = ""
    """As `0-30` or `0,7,14`; empty: all."""
    limit: int = 0
    """Statements that are drawn from all topics together; 0: all."""
    keep_period: bool = False
    causal: int = CAUSAL
    """0: none."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    @property
    def sources(self) -> tuple[str, ...]:
        """Of the topics."""
        return self.csv or tuple(samples())

    def check(self) -> None:
        """Raises ExplicateError for what is wrong whatever the model and the statements are."""
        if self.detector not in KINDS:
            raise ExplicateError(f"--detector {self.detector!r} is none of {', '.join(KINDS)}")
        if self.leave_topic_out and len(self.sources) < 2:
            raise ExplicateError(
                "--leave-topic-out trains on other topics, and --csv names a single file; give several with commas between, a topic each"
            )
        if twice := [each for each in self.also if each in self.sources]:
            raise ExplicateError(f"{twice[0]!r} is in --csv and in --also; what is only scored must not be trained on: name it once")

    def layers_of(self, count: int) -> list[int]:
        """The layers to probe of a model with `count` blocks. Raises SubjectError for one that it does not have."""
        return parse_layers(self.layers, count + 1)
