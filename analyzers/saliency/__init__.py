"""How much each token of a prompt matters for one continuation, found in few passes over the prompt as it is; each file is one method.

What is explained is the log-probability of the continuation (analyzers.saliency.value), of an encoder that of what stands at its masks,
from which it is predicted as a continuation is from the last tokens. Methods of other scales are here together: of
some the values are nats, signed, of others shares of attention or lengths, never negative; compare their ranks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from analyzers.errors import SubjectError
from analyzers.folder import Folder

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

__all__ = ["SALIENCIES", "Saliency", "SaliencyMethod", "Text"]

Text = Sequence[bool] | None
"""Whether each token of a prompt is of its text, and not of the tokenizer or the chat template; None where all but special ones are."""


@dataclass(frozen=True, eq=False)
class Saliency:
    """What a method found, and what it says of itself."""

    values: npt.NDArray[np.float64]
    """[token of the prompt], of the target's own tokens none."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """Figures on how far the values can be trusted, by name; what they are is said by the method."""
    signed: bool = True
    """Whether a value below 0 speaks against the target; else values are sizes, of what speaks against it, too."""

    def __post_init__(self) -> None:
        """Raises SubjectError for values that are no numbers."""
        if not np.isfinite(self.values).all():
            raise SubjectError("a token has no finite value: the model's numbers overflow, or its weights are damaged; load it in float32")


class SaliencyMethod(Protocol):
    """Of a model, ids of the prompt and of the target behind it, as TextModel.prompt and TextModel.continuation give them, and its text."""

    def __call__(self, model: "TextModel", ids: Sequence[int], target: Sequence[int], text: Text = None, /) -> Saliency:
        """Raises SubjectError for a prompt and target longer than the model takes, an encoder's prompt without a mask for each token of
        the target, and a model that the method cannot read; ValueError for a prompt or target without tokens."""
        ...


SALIENCIES: Folder[SaliencyMethod] = Folder("analyzers.saliency", "method")
