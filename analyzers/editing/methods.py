"""The ways to write facts into a model's weights: each gives an edit, and leaves the model as it was.

Sources: Meng et al. 2022 (ROME; fine-tuning with a bound on every weight's change, section 3.4), Gupta et al. 2024 (r-ROME),
Meng et al. 2023 (MEMIT), algorithm 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analyzers.editing.contexts import Context, contexts, keys
from analyzers.editing.deltas import Delta, Edit, applied
from analyzers.editing.memit import WEIGHT, spread
from analyzers.editing.rome import constrained
from analyzers.editing.values import Found, Search, find_value
from analyzers.facts import Fact
from analyzers.hooks import on_input, on_output, removed
from analyzers.mlps import decoder_blocks, down_projections, linear_shape
from analyzers.padding import padded
from analyzers.progress import Report, quiet
from analyzers.states.reading import bare_pass
from analyzers.text_model import TextModel

ESSENCE = "{} is a"
"""What the subject is said to be behind this should stay (Meng et al. 2022)."""


@dataclass(frozen=True, eq=False)
class Written:
    """An edit, and how well the value that it is to give does of itself."""

    edit: Edit
    probability: float
    """Of the targets in the contexts that the value was found in: a geometric mean."""
    steps: int
    """Gradient steps at most"""


@dataclass(frozen=True)
class Tuning:
    """Of fine-tuning, as in Meng et al. 2022, who hold GPT2-XL within 5e-4 in 25 steps.

    Of five facts that bound lets SmolLM2-135M, whose layers add up a fourth as many inputs, learn none, one of 2e-3 two, and this one
    three, with what is said elsewhere nearly as it was: a baseline that can do nothing would be none.
    """

    steps: int = 50
    rate: float = 1e-3
    most: float = 5e-3
    """That any weight changes."""
    enough: float = 0.01
    """Loss at which it ends."""


def projections(model: TextModel) -> list[tuple[str, nn.Module]]:
    """(name, down-projection) of every block's MLP. Raises SubjectError for a model without readable ones."""
    base = model.model.base_model
    names = {module: name for name, module in base.named_modules()}
    return [(names[module], module) for module in down_projections(base, model.model.config.get_text_config().hidden_size)]


def rome(model: TextModel, fact: Fact, layer: int, covariance: Tensor, before: Sequence[str], search: Search | None = None) -> Written:
    """In the MLP of one block, for one fact whose target is the new one: of rank two, or one where only the prompt itself is before it.

    covariance: of that layer's keys, as `key_covariances`; before: `beginnings`. Raises SubjectError for a target that is no continuation.
    """
    name, module = projections(model)[layer]
    found, value = _value(model, module, fact, before, search)
    apart = _apart(keys(model, module, found))
    with torch.no_grad():
        gives = module(apart.to(model.dtype)).float()
    wanted = (value.before + value.added).expand(len(apart), -1)
    return Written({name: constrained(covariance, apart.T, wanted.T, gives.T)}, value.probability, value.steps)


def memit(
    model: TextModel,
    facts: Sequence[Fact],
    values: Sequence[Found],
    layers: Sequence[int],
    covariances: Mapping[int, Tensor],
    before: Sequence[str],
    *,
    weight: float = WEIGHT,
    report: Report = quiet,
) -> Written:
    """All facts at once, each layer taking its share of what the last one is to give.

    values: of each fact its `memit_value` at the last of the layers, which are in order; covariances by layer. Raises SubjectError as
    `rome` does.
    """
    blocks, modules = decoder_blocks(model.model.base_model), projections(model)
    wanted = [value.before + value.added for value in values]
    found = [contexts(model, fact.prompt, fact.span, before) for fact in facts]
    edit: dict[str, Delta] = {}
    for number, layer in enumerate(layers):
        report("spread over layers", number, len(layers))
        name, module = modules[layer]
        with applied(model, [edit]):
            given = torch.cat([_apart(_given(model, blocks[layers[-1]], own)) for own in found])
            of_facts = [_apart(keys(model, module, own)) for own in found]
        whole = torch.cat([each.expand(len(own), -1) for each, own in zip(wanted, of_facts, strict=True)])
        missing = (whole - given) / (len(layers) - number)
        edit[name] = spread(covariances[layer], torch.cat(of_facts).T, missing.T, weight)
    report("spread over layers", len(layers), len(layers))
    return Written(edit, min(value.probability for value in values), max(value.steps for value in values))


def memit_value(model: TextModel, fact: Fact, layer: int, before: Sequence[str], search: Search | None = None) -> Found:
    """What a block is to give for a fact, which no other fact changes. Raises SubjectError as `rome` does."""
    return _value(model, decoder_blocks(model.model.base_model)[layer], fact, before, search)[1]


def fine_tuned(model: TextModel, facts: Sequence[Fact], layer: int, tuning: Tuning | None = None) -> Written:
    """Gradient steps on the down-projection of one block, every weight's change held within a bound.

    Raises SubjectError as `rome` does.
    """
    tuning = tuning or Tuning()
    name, module = projections(model)[layer]
    first = decoder_blocks(model.model.base_model)[0]
    read = [contexts(model, fact.prompt, fact.span, [""])[0] for fact in facts]
    targets = [model.continuation(fact.prompt, fact.target) for fact in facts]
    ids, mask = padded([(*each.ids, *target[:-1]) for each, target in zip(read, targets, strict=True)])
    places = [
        (row, len(each.ids) - 1 + at) for row, (each, target) in enumerate(zip(read, targets, strict=True)) for at in range(len(target))
    ]
    rows, at = torch.tensor(places).T
    wanted = torch.tensor([token for target in targets for token in target], device=model.device)
    given: list[Tensor] = []
    shape = linear_shape(module)
    assert shape is not None
    added = torch.zeros(*reversed(shape), device=model.device, requires_grad=True)
    optimizer = torch.optim.Adam([added], lr=tuning.rate)

    def keep(entering: Tensor) -> None:
        given[:] = [entering]

    handles = on_input(module, first, keep)
    handles += on_output(module, first, lambda leaving: leaving + (given[0].float() @ added.T).to(leaving.dtype))
    step = 0
    with removed(handles):
        while True:
            logits = model.logits(model.forward(ids, mask))[rows, at].float()
            loss = F.cross_entropy(logits, wanted)
            if float(loss.detach()) < tuning.enough or step == tuning.steps:
                break
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                added.clamp_(-tuning.most, tuning.most)
            step += 1
    return Written({name: Delta.whole(added.detach())}, float(loss.detach().neg().exp()), step)


def _value(model: TextModel, place: nn.Module, fact: Fact, before: Sequence[str], search: Search | None) -> tuple[list[Context], Found]:
    found = contexts(model, fact.prompt, fact.span, before)
    (essence,) = contexts(model, ESSENCE.format(fact.subject), (0, len(fact.subject)), [""])
    return found, find_value(model, place, found, model.continuation(fact.prompt, fact.target), essence, search)


def _apart(of: Tensor) -> Tensor:
    """[1 or 2, ...] of [context, ...] that of the prompt as it stands, and the mean of those behind beginnings, where there are some.

    A subject that begins the text has other tokens than within it, and another key, of which a mean over all contexts has little.
    """
    return of if len(of) == 1 else torch.stack([of[0], of[1:].mean(0)])


@torch.inference_mode()
def _given(model: TextModel, place: nn.Module, found: Sequence[Context]) -> Tensor:
    """float32 [context, output] what a place gives at the subject's last token."""
    kept: list[Tensor] = []
    with removed(on_output(place, decoder_blocks(model.model.base_model)[0], kept.append)):
        bare_pass(model, *padded([each.ids for each in found]))
    return kept[0][torch.arange(len(found)), torch.tensor([each.last for each in found])].float()
