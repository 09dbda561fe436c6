"""What a model answers when chosen tokens of a prompt may not look back: whether its labels must gather what stands before them.

Source: Wang et al. 2023, arXiv 2305.14160, section 2.2.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from analyzers.attention.door import attending, blocked
from analyzers.icl.answers import Answers, answers
from analyzers.icl.prompts import IclPrompt
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

LAYERS = 5
"""First or last ones in which tokens are isolated."""


def isolated(
    model: TextModel,
    prompts: Sequence[IclPrompt],
    positions: Sequence[Collection[int]],
    layers: Collection[int],
    *,
    what: str = "isolate tokens",
    report: Report = quiet,
) -> Answers:
    """Answers where in these layers the positions [prompt] attend to no token before them, but to themselves with all of it.

    Raises SubjectError for a model whose attention cannot be exchanged, and as `answers` does; ValueError for a layer or position that
    does not exist.
    """
    if unknown := set(layers) - set(range(model.layers)):
        raise ValueError(f"layers {sorted(unknown)} do not exist: {model.name} has the layers 0 to {model.layers - 1}")
    if any(not 0 <= at < len(prompt) for prompt, own in zip(prompts, positions, strict=True) for at in own):
        raise ValueError("a position to isolate is no position of its prompt")

    @contextmanager
    def within(batch: Sequence[int]) -> Iterator[None]:
        longest = max(len(prompts[number]) for number in batch)
        mask = blocked(_earlier(longest, [positions[number] for number in batch]).to(model.device), model.dtype)
        with attending(model.model, masked=lambda layer: mask if layer in layers else None):
            yield

    return answers(model, prompts, within=within, what=what, report=report)


def label_positions(prompt: IclPrompt) -> list[int]:
    """All tokens of all labels: of a label of several, the later ones could gather in place of the first."""
    return sorted(chain.from_iterable(prompt.label_tokens))


def random_positions(prompt: IclPrompt, rng: np.random.Generator) -> list[int]:
    """Of each demonstration as many of its `others` as its label has tokens, or all where they are fewer: the control."""
    drawn: list[int] = []
    for others, label in zip(prompt.others, prompt.label_tokens, strict=True):
        drawn += rng.choice(others, min(len(label), len(others)), replace=False).tolist() if others else []
    return sorted(drawn)


def first_layers(layers: int, count: int = LAYERS) -> range:
    """The first `count` layers, but at most half of them, so that they are none of the last ones."""
    return range(_at_most_half(layers, count))


def last_layers(layers: int, count: int = LAYERS) -> range:
    """As `first_layers`, the last ones."""
    return range(layers - _at_most_half(layers, count), layers)


def _at_most_half(layers: int, count: int) -> int:
    return max(1, min(count, layers // 2))


def _earlier(longest: int, positions: Sequence[Collection[int]]) -> Tensor:
    """[prompt, 1, query, key] whether the query is one of the prompt's positions and the key before it."""
    chosen = torch.zeros(len(positions), 1, longest, 1, dtype=torch.bool)
    for number, own in enumerate(positions):
        chosen[number, 0, list(own)] = True
    return chosen & torch.ones(longest, longest, dtype=torch.bool).tril(-1)
