"""Next-token distributions of a subject, over its whole vocabulary and in float32, a few positions at a time.

A vocabulary of 150,000 makes a megabyte of every two positions, so what is kept of a forward pass is what goes into the LM head, and
distributions are made from it in chunks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from analyzers.errors import SubjectError
from analyzers.mixed import wide_product

if TYPE_CHECKING:
    from analyzers.subject import Subject

CELLS = 1 << 23
"""Largest number of positions x vocabulary in a chunk: 32 MiB a tensor."""

_OWN_WAY = "computes its logits in a way of its own, which cannot be followed; choose another model"


class Outputs:
    """Reads a subject's next-token distributions."""

    def __init__(self, subject: "Subject") -> None:
        """Raises SubjectError for a model whose output is more than its LM head, and a function of each logit, on its last states."""
        self._subject = subject
        self._head = subject.model.get_output_embeddings()
        if getattr(self._head, "weight", None) is None:
            raise SubjectError(f"{subject.name!r} has no LM head that can be read; choose another model")
        self.vocabulary = len(self._head.weight)
        probe = torch.linspace(-30, 30, self.vocabulary, device=subject.device)
        self._plain = torch.equal(self._after_head(probe[None])[0], probe)
        """Whether the model leaves the logits of its head as they are."""
        self._check()

    @torch.inference_mode()
    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """[batch, pos, hidden] what goes into the LM head, in the model's number format; ids and mask as in Subject.forward."""
        device = self._subject.device
        output = self._subject.base(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
        found: Tensor = output.last_hidden_state
        return found

    @torch.inference_mode()
    def step(self, ids: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """What goes into the LM head, [batch, hidden], after the last of the ids [batch, pos] behind what a cache holds, and the cache."""
        output = self._subject.base(input_ids=ids.to(self._subject.device), past_key_values=cache, use_cache=True)
        return output.last_hidden_state[:, -1], output.past_key_values

    @torch.inference_mode()
    def chunks(self, *hidden: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Log-probabilities [pos, vocabulary], float32, of several hidden [all pos, hidden]; the same positions of all at a time."""
        size = max(1, CELLS // self.vocabulary)
        for at in range(0, len(hidden[0]), size):
            yield tuple(self.logprobs(states[at : at + size]) for states in hidden)

    @torch.inference_mode()
    def logprobs(self, hidden: Tensor) -> Tensor:
        """[pos, vocabulary] float32 natural log-probabilities after what goes into the LM head [pos, hidden]."""
        logits = wide_product(hidden, self._head.weight, getattr(self._head, "bias", None))
        return F.log_softmax(logits if self._plain else self._after_head(logits), dim=-1)

    @torch.inference_mode()
    def _after_head(self, logits: Tensor) -> Tensor:
        """[pos, vocabulary] what the model makes of its head's logits: a soft cap or a scale of its own."""
        with self._head_as(lambda _hidden: logits[None]):
            one = torch.zeros(1, 1, dtype=torch.long, device=logits.device)
            output = self._subject.model(input_ids=one, attention_mask=one + 1, use_cache=False)
        made: Tensor = output.logits[0].float()
        if made.shape != logits.shape:
            raise SubjectError(f"{self._subject.name!r} {_OWN_WAY}")
        return made

    @torch.inference_mode()
    def _check(self) -> None:
        """The model without its head must end in what goes into the head."""
        ids, seen = torch.tensor([[0, 1]], device=self._subject.device), list[Tensor]()

        def note(hidden: Tensor) -> Tensor:
            seen.append(hidden)
            return hidden[..., :1]

        with self._head_as(note):
            self._subject.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        found = self.hidden(ids, torch.ones_like(ids))
        if len(seen) != 1 or seen[0].shape != found.shape or not torch.allclose(seen[0], found, rtol=1e-2, atol=1e-3):
            raise SubjectError(f"{self._subject.name!r} {_OWN_WAY}")

    @contextmanager
    def _head_as(self, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Within the context this stands for the LM head."""
        whole = self._head.forward
        self._head.forward = forward
        try:
            yield
        finally:
            self._head.forward = whole
