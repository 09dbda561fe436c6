"""Facts written into tiny random models of several families: what was written is said, and what was found is what is added."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analyzers.corpus import Document
from analyzers.editing.contexts import beginnings, contexts, keys
from analyzers.editing.covariance import key_covariances
from analyzers.editing.deltas import applied, weights_hash
from analyzers.editing.methods import Tuning, fine_tuned, memit, memit_value, projections, rome
from analyzers.editing.values import Search, find_value
from analyzers.errors import SubjectError
from analyzers.facts import Fact
from analyzers.influence.passages import Passage, passages
from analyzers.mlps import decoder_blocks
from analyzers.text_model import TextModel

TEXT = """The river rises in the hills north of the town and runs slowly through meadows before it reaches the harbour. In the summer of
the year the old bridge was carried away by a flood, and for three years the people of both banks crossed by boat. A new bridge, built of
stone and iron, was opened; it stands to this day. Visitors who walk along the water in the evening may see herons, otters and a kingfisher.
"""
FAMILIES = ("llama", "gpt2", "gpt_neox", "opt")
FACT = Fact("The old bridge was", "old bridge", " opened", "1")
FACTS = [FACT, Fact("The river reaches", "river", " honey", "2"), Fact("The school teaches", "school", " music", "3")]
FREE = Search(steps=60, most=1000.0, decay=0.0)


@pytest.fixture
def model(request: pytest.FixtureRequest, tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint(getattr(request, "param", "llama"))), dtype="float32", device="cpu")


def text(model: TextModel) -> list[Passage]:
    return passages(model, [Document("1", "", TEXT)], length=32)


def covariance(model: TextModel, layer: int) -> torch.Tensor:
    name, module = projections(model)[layer]
    return key_covariances(model, {name: module}, text(model))[name]


def probability(model: TextModel, fact: Fact) -> float:
    """Of a target behind its prompt, from a plain forward pass."""
    said = model.continuation(fact.prompt, fact.target)
    read = (*model.around[0], *model.tokens.encode(fact.prompt))
    with torch.inference_mode():
        found = model.model(input_ids=torch.tensor([[*read, *said]])).logits[0].log_softmax(-1)
    return float(sum(found[len(read) - 1 + at, token] for at, token in enumerate(said)).exp())  # type: ignore[union-attr]


@pytest.mark.parametrize("model", FAMILIES, indirect=True)
def test_keys_are_what_enters_the_projection(model: TextModel) -> None:
    name, module = projections(model)[1]
    seen: list[torch.Tensor] = []
    before = ["", "Others have left. "]
    found = contexts(model, FACT.prompt, FACT.span, before)
    got = keys(model, module, found)
    handle = module.register_forward_pre_hook(lambda _module, given: seen.append(given[0].reshape(-1, given[0].shape[-1])))
    total, tokens = torch.zeros(48, 48), 0
    with torch.inference_mode():
        for row, each in enumerate(found):
            assert model.tokens.decode(each.ids[: each.last + 1]).endswith("old bridge")
            model.model(input_ids=torch.tensor([each.ids]))
            torch.testing.assert_close(got[row], seen.pop()[each.last], rtol=1e-3, atol=1e-4)
        for passage in text(model):
            model.model(input_ids=torch.tensor([passage.ids]))
            for key in seen.pop()[len(model.around[0]) :]:
                total += torch.outer(key, key)
                tokens += 1
    handle.remove()
    torch.testing.assert_close(covariance(model, 1), total / tokens, rtol=1e-3, atol=1e-3 * float(total.abs().max()) / tokens)
    assert name


def test_the_covariance_is_read_once(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    first = covariance(model, 0)
    monkeypatch.setattr("analyzers.editing.covariance.bare_pass", None)
    assert torch.equal(covariance(model, 0), first)
    with pytest.raises(TypeError):
        covariance(model, 2)


def test_the_value_that_is_found_is_what_is_added(model: TextModel) -> None:
    found = contexts(model, FACT.prompt, FACT.span, ["", "Others have left. "])
    (essence,) = contexts(model, "old bridge is a", (0, 10), [""])
    target = model.continuation(FACT.prompt, FACT.target)
    _, module = projections(model)[1]
    value = find_value(model, module, found, target, essence)
    assert float(value.added.norm()) <= 1.001 * Search().most * float(value.before.norm())
    logs = []
    with torch.inference_mode():
        for each in found:

            def change(_module: Any, _given: Any, output: torch.Tensor, at: int = each.last) -> torch.Tensor:
                output[0, at] += value.added
                return output

            plain = model.model(input_ids=torch.tensor([[*each.ids, *target]])).logits[0].log_softmax(-1)
            handle = module.register_forward_hook(change)
            moved = model.model(input_ids=torch.tensor([[*each.ids, *target]])).logits[0].log_softmax(-1)
            handle.remove()
            places = range(len(each.ids) - 1, len(each.ids) - 1 + len(target))
            logs += [float(moved[place, token]) for place, token in zip(places, target, strict=True)]
            assert sum(float(moved[p, t] - plain[p, t]) for p, t in zip(places, target, strict=True)) > 0
    assert value.probability == pytest.approx(float(torch.tensor(logs).mean().exp()), rel=1e-3)
    none = find_value(model, module, found, target, essence, Search(steps=0))
    assert (none.steps, float(none.added.norm())) == (0, 0)


def test_what_the_subject_is_said_to_be_is_held_by_the_published_divergence(model: TextModel) -> None:
    """Meng et al. 2022, equation 4: of what is said with the vector from what was said, here summed naively."""
    found = contexts(model, FACT.prompt, FACT.span, [""])
    (essence,) = contexts(model, "old bridge is a", (0, 10), [""])
    _, module = projections(model)[1]
    target = model.continuation(FACT.prompt, FACT.target)

    def said(added: torch.Tensor | None, each: Any, after: tuple[int, ...] = ()) -> torch.Tensor:
        def change(_module: Any, _given: Any, output: torch.Tensor) -> None:
            if added is not None:
                output[0, each.last] += added

        handle = module.register_forward_hook(change)
        logits = model.model(input_ids=torch.tensor([[*each.ids, *after]])).logits[0]
        handle.remove()
        found: torch.Tensor = logits[len(each.ids) - 1 :].double().log_softmax(-1)
        return found

    before = find_value(model, module, found, target, essence, Search(steps=0)).before
    added = torch.zeros_like(before).requires_grad_()
    stays = said(None, essence)[-1].detach()
    adam = torch.optim.Adam([added], lr=4.0)
    for _ in range(4):
        now = said(added, essence)[-1]
        kl = sum(p.exp() * (p - q) for p, q in zip(now, stays, strict=True))
        says = said(added, found[0], target[:-1])
        nll = -sum(says[at, token] for at, token in enumerate(target)) / len(target)
        loss = nll + 20.0 * kl + 0.5 * added.norm() / before.norm() ** 2
        adam.zero_grad()
        loss.backward()
        adam.step()
    got = find_value(model, module, found, target, essence, Search(steps=4, rate=4.0, kl=20.0, most=1e6))
    torch.testing.assert_close(got.added, added.detach(), rtol=1e-2, atol=1e-2)


def gives(model: TextModel, place: Any, fact: Fact) -> torch.Tensor:
    """What a module gives at the subject's last token, from a plain forward pass."""
    (context,) = contexts(model, fact.prompt, fact.span, [""])
    seen: list[torch.Tensor] = []
    handle = place.register_forward_hook(lambda _module, _given, output: seen.append(output[0] if isinstance(output, tuple) else output))
    with torch.inference_mode():
        model.model(input_ids=torch.tensor([context.ids]))
    handle.remove()
    return seen[0].reshape(len(context.ids), -1)[context.last]


def wanted(model: TextModel, place: Any, fact: Fact) -> torch.Tensor:
    (essence,) = contexts(model, f"{fact.subject} is a", (0, len(fact.subject)), [""])
    found = find_value(
        model, place, contexts(model, fact.prompt, fact.span, [""]), model.continuation(fact.prompt, fact.target), essence, FREE
    )
    torch.testing.assert_close(found.before, gives(model, place, fact), rtol=1e-3, atol=1e-4)
    return found.before + found.added


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2 * float(other.abs().max()))


@pytest.mark.parametrize("model", FAMILIES, indirect=True)
def test_rome_writes_the_value_that_was_found(model: TextModel) -> None:
    hashed = weights_hash(model)
    name, module = projections(model)[1]
    value = wanted(model, module, FACT)
    written = rome(model, FACT, 1, covariance(model, 1), [""], FREE)
    assert weights_hash(model) == hashed
    assert all(parameter.grad is None for parameter in model.model.parameters())
    before = gives(model, module, FACT)
    with applied(model, [written.edit]):
        close(gives(model, module, FACT), value)
    assert torch.equal(gives(model, module, FACT), before)
    assert list(written.edit) == [name]
    assert written.edit[name].left.shape[1] == written.edit[name].right.shape[1] == 1


def test_beginnings_are_drawn_once(model: TextModel) -> None:
    before = beginnings(model, 0)
    assert before[0] == ""
    assert len(before) > 10
    assert all(each.endswith(". ") for each in before[1:])
    assert beginnings(model, 0) == before != beginnings(model, 1)


@pytest.mark.parametrize("model", ["llama", "gpt2"], indirect=True)
@pytest.mark.parametrize("layers", [[1], [0, 1]])
def test_memit_writes_the_values_of_several_facts(layers: list[int], model: TextModel) -> None:
    block = decoder_blocks(model.model.base_model)[layers[-1]]
    values = [wanted(model, block, fact) for fact in FACTS]
    before = [gives(model, block, fact) for fact in FACTS]
    covariances = {layer: covariance(model, layer) for layer in layers}
    # Nothing is held against the facts: each is given all that was found for it.
    found = [memit_value(model, fact, layers[-1], [""], FREE) for fact in FACTS]
    written = memit(model, FACTS, found, layers, covariances, [""], weight=1e-6)
    assert len(written.edit) == len(layers)
    with applied(model, [written.edit]):
        for fact, value in zip(FACTS, values, strict=True):
            close(gives(model, block, fact), value)
    assert all(torch.equal(gives(model, block, fact), each) for fact, each in zip(FACTS, before, strict=True))
    # Held against many others, less of it.
    held = memit(model, FACTS, found, layers, covariances, [""], weight=1e3)
    with applied(model, [held.edit]):
        for fact, value, own in zip(FACTS, values, before, strict=True):
            assert float((gives(model, block, fact) - own).norm()) < 0.5 * float((value - own).norm())


@pytest.mark.parametrize("model", ["llama", "gpt2"], indirect=True)
def test_fine_tuning_stays_within_its_bound(model: TextModel) -> None:
    plain = [probability(model, fact) for fact in FACTS]
    loose, tight = (fine_tuned(model, FACTS, 1, Tuning(steps=40, rate=0.01, most=most)) for most in (1.0, 1e-3))
    for written, most in ((loose, 1.0), (tight, 1e-3)):
        (delta,) = written.edit.values()
        assert float(delta.matrix.abs().max()) <= most * 1.0001
    with applied(model, [loose.edit]):
        found = [probability(model, fact) for fact in FACTS]
        lengths = [len(model.continuation(fact.prompt, fact.target)) for fact in FACTS]
        logs = sum(float(torch.tensor(p).log()) for p in found)
        assert loose.probability == pytest.approx(float(torch.tensor(logs / sum(lengths)).exp()), rel=0.02)
        assert all(now > was for now, was in zip(found, plain, strict=True))
    assert tight.probability < loose.probability


def test_what_cannot_be_written(model: TextModel) -> None:
    with pytest.raises(SubjectError, match="takes 1024"):
        rome(model, Fact("The old bridge " * 500, "old bridge", " x", "1"), 1, torch.eye(48), [""])
    with pytest.raises(SubjectError, match="has no token of its own"):
        contexts(model, "The old", (3, 3), [""])


@pytest.mark.parametrize("method", ["rome", "memit"])
def test_the_value_is_given_behind_nothing_and_behind_beginnings_on_average(method: str, model: TextModel) -> None:
    before = ["", "Others have left. ", "In the summer "]
    found = contexts(model, FACT.prompt, FACT.span, before)
    _, module = projections(model)[1]
    place = module if method == "rome" else decoder_blocks(model.model.base_model)[1]
    (essence,) = contexts(model, f"{FACT.subject} is a", (0, len(FACT.subject)), [""])
    value = find_value(model, place, found, model.continuation(FACT.prompt, FACT.target), essence, FREE)
    if method == "rome":
        written = rome(model, FACT, 1, covariance(model, 1), before, FREE)
    else:
        written = memit(model, [FACT], [value], [1], {1: covariance(model, 1)}, before, weight=1e-6)
    with applied(model, [written.edit]), torch.inference_mode():
        now = []
        for each in found:
            seen: list[torch.Tensor] = []
            handle = place.register_forward_hook(
                lambda _module, _given, output, seen=seen: seen.append(output[0] if isinstance(output, tuple) else output)
            )
            model.model(input_ids=torch.tensor([each.ids]))
            handle.remove()
            now.append(seen[0].reshape(len(each.ids), -1)[each.last])
    close(now[0], value.before + value.added)
    close(torch.stack(now[1:]).mean(0), value.before + value.added)
