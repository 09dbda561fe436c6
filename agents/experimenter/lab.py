"""What the experimenter can do to a site; `analyzers.laboratory.Laboratory` does it to a subject, and tests to a rule."""

from collections.abc import Sequence
from typing import Literal, Protocol

from analyzers.errors import Failed
from analyzers.evidence import Excerpt, FloatArray


class Lens(Protocol):
    """Tokens that the site's direction makes likelier and less likely, each with what it adds to the logit."""

    @property
    def promoted(self) -> Sequence[tuple[str, float]]: ...

    @property
    def suppressed(self) -> Sequence[tuple[str, float]]: ...


class AblationEffect(Protocol):
    """What changes in one text when the site is ablated."""

    @property
    def tokens(self) -> Sequence[str]: ...

    @property
    def divergence(self) -> FloatArray:
        """[token] Jensen-Shannon divergence of the next-token distributions, nats."""

    @property
    def before(self) -> Sequence[str]:
        """[token] likeliest next token."""

    @property
    def after(self) -> Sequence[str]:
        """[token] likeliest next token under ablation."""


class Steered(Protocol):
    """What the subject writes while the site is held up or down."""

    @property
    def samples(self) -> Sequence[Sequence[str]]:
        """[sample][prompt] what follows the prompt."""


class Laboratory(Protocol):
    """Experiments on one site. Texts are untrusted strings; what fails is Failed in its place."""

    def activations(self, texts: Sequence[str]) -> Sequence[Excerpt | Failed]:
        """An excerpt a text, with the activations of the site's side, >= 0, raw units."""

    def lens(self, k: int = 10) -> Lens | Failed: ...

    def ablated(self, texts: Sequence[str], *, to: Literal["mean", "zero"] = "mean") -> Sequence[AblationEffect | Failed]: ...

    def steered(self, prompts: Sequence[str], *, sign: Literal[1, -1], kl: float, seed: int) -> Steered | Failed:
        """The subject's continuations, the site held up (1) or down (-1) so that the next-token distributions change by `kl` nats."""
