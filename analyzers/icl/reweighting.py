"""Answers from anchors that are weighed anew: how much of each label's attention the last position takes, learned from few examples.

A_lh(q, p_i) becomes exp(beta[class of i, l, h]) A_lh(q, p_i), and the row is not normalised again.
Source: Wang et al. 2023, arXiv 2305.14160, section 4.1.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from analyzers.attention.door import attending
from analyzers.icl.answers import Answers, answers
from analyzers.icl.compression import CompressedContext, read_context
from analyzers.icl.prompts import IclPrompt
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

RATE = 0.01
"""Of Adam, as in the paper."""
EPOCHS = 10


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Learned weights of labels."""

    beta: Tensor
    """float32 [class, layer, head] on the CPU; 0 leaves attention as it is."""
    losses: tuple[float, ...]
    """[epoch] mean cross-entropy over the examples in nats, each before the step that it led to."""


def learn_weights(
    model: TextModel,
    prompts: Sequence[IclPrompt],
    gold: Sequence[int],
    *,
    rate: float = RATE,
    epochs: int = EPOCHS,
    seed: int = 0,
    report: Report = quiet,
) -> Reweighting:
    """Weights under which the labels `gold` [prompt] are likeliest among all: Adam from 0, one prompt a step, in seeded random order.

    The last position alone attends anew, so that all before it is computed once for all steps. Raises SubjectError for a model whose
    attention cannot be exchanged, and as `read_context` does; ValueError where there is no prompt.
    """
    if not prompts:
        raise ValueError("no prompts to learn from")
    beta = torch.zeros(len(prompts[0].class_tokens), model.layers, model.heads, device=model.device, requires_grad=True)
    optimizer = torch.optim.Adam([beta], lr=rate)
    before = [read_context(model, prompt.ids[:-1]) for prompt in prompts]
    rng = np.random.default_rng(seed)
    losses = []
    for epoch in range(epochs):
        total = 0.0
        for step, number in enumerate(rng.permutation(len(prompts)).tolist()):
            report("learn weights of labels", epoch * len(prompts) + step, epochs * len(prompts))
            loss = _loss(model, before[number], prompts[number], gold[number], beta)
            (beta.grad,) = torch.autograd.grad(loss, [beta])
            optimizer.step()
            total += loss.item()
        losses.append(total / len(prompts))
    report("learn weights of labels", epochs * len(prompts), epochs * len(prompts))
    return Reweighting(beta.detach().cpu(), tuple(losses))


def reweighted(
    model: TextModel, prompts: Sequence[IclPrompt], beta: Tensor, *, what: str = "answer with weights", report: Report = quiet
) -> Answers:
    """What the model answers to each prompt with these weights; errors as in `answers` and `attending`."""
    beta = beta.to(model.device)

    @contextmanager
    def within(batch: Sequence[int]) -> Iterator[None]:
        chosen = [prompts[number] for number in batch]
        with attending(model.model, changed=_weighed(beta, chosen, [prompt.q for prompt in chosen], max(map(len, chosen)))):
            yield

    return answers(model, prompts, within=within, what=what, report=report)


def elsewhere(prompts: Sequence[IclPrompt], positions: Sequence[int]) -> list[IclPrompt]:
    """The prompts with these positions [demonstration] weighed in place of their labels: a control of what weighing any token gains.

    ValueError for another number of positions, or one that is behind the demonstrations.
    """
    if any(len(positions) != len(prompt.labels) or not all(0 <= at < prompt.query.start for at in positions) for prompt in prompts):
        raise ValueError("in place of the labels stands one position of the demonstrations for each")
    return [replace(prompt, labels=tuple(positions)) for prompt in prompts]


def _loss(model: TextModel, before: CompressedContext, prompt: IclPrompt, gold: int, beta: Tensor) -> Tensor:
    with torch.enable_grad(), attending(model.model, changed=_weighed(beta, [prompt], [0], len(prompt))):
        output = model.forward(
            torch.tensor([[prompt.ids[-1]]]), torch.ones(1, len(prompt), dtype=torch.long), **before.read_with(model, rows=1, width=1)
        )
        logits = output.logits[:, -1, list(prompt.class_tokens)].float()
        return cross_entropy(logits, torch.tensor([gold], device=logits.device))


def _weighed(beta: Tensor, prompts: Sequence[IclPrompt], queries: Sequence[int], keys: int) -> Callable[[int, Tensor], Tensor]:
    """What attention becomes; queries: the row of each prompt's last position, keys: how many there are."""
    at = torch.zeros(len(prompts), len(beta), keys, device=beta.device)
    for row, prompt in enumerate(prompts):
        at[row, list(prompt.classes), list(prompt.labels)] = 1
    rows, places = torch.arange(len(prompts), device=beta.device), torch.tensor(queries, device=beta.device)

    def changed(layer: int, probabilities: Tensor) -> Tensor:
        factors = torch.einsum("ch,bck->bhk", beta[:, layer], at).exp()
        new = probabilities.clone()
        new[rows, :, places] = (probabilities[rows, :, places] * factors).to(new.dtype)
        return new

    return changed
