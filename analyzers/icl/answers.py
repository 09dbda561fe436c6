"""What a model answers to in-context prompts, and how far other answers to the same prompts keep to it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.icl.prompts import IclPrompt
from analyzers.last_logits import last_only
from analyzers.padding import like_lengths, padded
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]
Within = Callable[[Sequence[int]], AbstractContextManager[None]]
"""A context for the forward pass of the prompts of these numbers, padded on the right to the longest."""

WORDS = 5
"""Next tokens, the likeliest, that word loyalty compares."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What follows each prompt."""

    probabilities: Floats
    """[prompt, class] softmax over the first tokens of the labels alone."""
    mass: Floats
    """[prompt] probability of any of these tokens among all."""
    words: npt.NDArray[np.int64]
    """[prompt, WORDS] ids of the likeliest next tokens, the likeliest first."""

    @property
    def chosen(self) -> npt.NDArray[np.int64]:
        """[prompt] the likeliest class."""
        return np.asarray(self.probabilities.argmax(1), np.int64)

    @classmethod
    def read(cls, logits: Tensor, class_tokens: Sequence[int]) -> "Answers":
        """From logits [prompt, vocabulary] of the next token."""
        all_tokens = logits.float().log_softmax(-1)
        of_labels = all_tokens[:, list(class_tokens)].double()
        found = [of_labels.softmax(-1), of_labels.exp().sum(-1), logits.topk(min(WORDS, logits.shape[1])).indices]
        probabilities, mass, words = (part.cpu().numpy() for part in found)
        return cls(probabilities, mass, words)

    @classmethod
    def joined(cls, parts: Sequence["Answers"], order: Sequence[int]) -> "Answers":
        """Those of all prompts from those of batches; order: which prompt each one of the parts' prompts is."""
        back = np.argsort(np.asarray(order))
        return cls(*(np.concatenate([getattr(part, name) for part in parts])[back] for name in ("probabilities", "mass", "words")))


@torch.inference_mode()
def answers(
    model: TextModel, prompts: Sequence[IclPrompt], *, within: Within | None = None, what: str = "answer prompts", report: Report = quiet
) -> Answers:
    """What the model answers to each prompt, each batch within a context of its own where one is given.

    All prompts have the same class_tokens. Raises SubjectError for a model without a head for language or whose logits are no numbers,
    ValueError where there is no prompt.
    """
    if not prompts:
        raise ValueError("no prompts to answer")
    parts, order = [], []
    for batch in like_lengths([len(prompt) for prompt in prompts]):
        with nullcontext() if within is None else within(batch):
            logits = next_logits(model, [prompts[number] for number in batch])
        parts.append(Answers.read(logits, prompts[0].class_tokens))
        order += batch
        report(what, len(order), len(prompts))
    return Answers.joined(parts, order)


def next_logits(model: TextModel, prompts: Sequence[IclPrompt]) -> Tensor:
    """[prompt, vocabulary] logits of what follows each prompt, in one forward pass, within autograd where it is on.

    Raises as `answers` does.
    """
    ids, mask = padded([prompt.ids for prompt in prompts])
    keep = ids.shape[1] - min(map(len, prompts)) + 1
    logits = model.logits(model.forward(ids, mask, **last_only(model.model, ids.shape[1], keep)))
    places = torch.tensor([prompt.q for prompt in prompts], device=logits.device) - ids.shape[1] + keep
    found: Tensor = logits[:, -keep:][torch.arange(len(prompts), device=logits.device), places]
    if not bool(found.isfinite().all()):
        raise SubjectError(f"{model.name!r} gives a prompt logits that are no numbers in {model.identity['dtype']}; load it in float32")
    return found


def label_loyalty(changed: Answers, before: Answers) -> Floats:
    """[prompt] 1 where the same class is chosen as before, else 0."""
    return np.asarray(changed.chosen == before.chosen, np.float64)


def word_loyalty(changed: Answers, before: Answers) -> Floats:
    """[prompt] Jaccard index of the likeliest next tokens and of those before: 1 for the same set, 0 for none in common."""
    shared = (changed.words[:, :, None] == before.words[:, None, :]).sum((1, 2))
    return np.asarray(shared / (changed.words.shape[1] + before.words.shape[1] - shared), np.float64)
