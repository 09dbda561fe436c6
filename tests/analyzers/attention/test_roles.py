"""Shares of head roles: planted heads, attention that follows the tokens themselves, naive loops, and a real model."""

from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from analyzers.attention import Role
from analyzers.attention.door import Attended, attending
from analyzers.attention.roles import BATCH, Attend, RoleShares, ordinary_tokens, role_places, role_shares
from analyzers.errors import SubjectError
from analyzers.tokens import Tokens

Tiny = Callable[..., tuple[Any, Any]]

VOCABULARY = range(10, 60)


def attend_by(model: Any, **functions: Any) -> Attend:
    """Reads a model's attention as each layer finds it; what is changed on the way reaches the layers above."""

    def attend(ids: Tensor) -> Tensor:
        seen: list[Attended] = []
        with torch.inference_mode(), attending(model, seen=seen.append, **functions):
            model(input_ids=ids)
        return torch.stack([one.probabilities for one in seen])

    return attend


def even(ids: Tensor, *, causal: bool = True) -> Tensor:
    """Of one layer and head."""
    batch, width = ids.shape
    seen = torch.ones(width, width).tril() if causal else torch.ones(width, width)
    return (seen / seen.sum(-1, keepdim=True)).expand(1, batch, 1, width, width)


def planted_shares(planted: Any, **functions: Any) -> RoleShares:
    tokenizer = planted.tokenizer
    return role_shares(
        attend_by(planted.model, **functions),
        vocabulary=ordinary_tokens(tokenizer),
        causal=True,
        first=[tokenizer.bos_token_id],
        sequences=6,
    )


def roles_of(shares: RoleShares, layer: int, head: int) -> dict[Role, float]:
    """The roles to which the head gives more than .3, in every sequence."""
    return {role: float(values.min(0)[layer, head]) for role, values in shares.shares.items() if values.max(0)[layer, head] > 0.3}


def test_roles_are_found_on_the_planted_heads_and_on_no_other(planted_heads: Any) -> None:
    shares = planted_shares(planted_heads)
    for at in product(range(2), range(4)):
        found = roles_of(shares, *at)
        assert list(found) == ([planted_heads.roles[at]] if at in planted_heads.roles else []), at
        assert all(share > 0.9 for share in found.values())
    assert set(planted_heads.roles.values()) == {"previous", "first", "duplicate", "induction"}


def test_the_planted_heads_without_a_role_attend_evenly(planted_heads: Any) -> None:
    shares = planted_shares(planted_heads)
    others = [at for at in product(range(2), range(4)) if at not in planted_heads.roles]
    assert len(others) == 4
    for (layer, head), (role, values) in product(others, shares.shares.items()):
        np.testing.assert_allclose(values[:, layer, head], shares.chance[role], atol=1e-6)


@pytest.mark.parametrize("instead", ["nothing", "evenly"])
def test_the_induction_head_vanishes_with_the_head_it_builds_on(instead: str, planted_heads: Any) -> None:
    layer_of, head_of = planted_heads.at("previous")

    def changed(layer: int, probabilities: Tensor) -> Tensor | None:
        if layer != layer_of:
            return None
        new = probabilities.clone()
        new[:, head_of] = even(probabilities[:, 0, 0])[0, 0, 0] if instead == "evenly" else 0.0
        return new

    induction = planted_heads.at("induction")
    assert list(roles_of(planted_shares(planted_heads), *induction)) == ["induction"]
    shares = planted_shares(planted_heads, changed=changed)
    assert roles_of(shares, *induction) == {}
    assert list(roles_of(shares, *planted_heads.at("duplicate"))) == ["duplicate"]


def test_the_planted_model_predicts_what_followed_last_time(planted_heads: Any) -> None:
    tokenizer = planted_heads.tokenizer
    text = "The quick, Abz9 The quick"
    ids = tokenizer(text).input_ids
    assert ids == [0, *(tokenizer.convert_tokens_to_ids(list(text)))]
    assert tokenizer.decode(ids[1:], clean_up_tokenization_spaces=False) == text
    draw = np.random.default_rng(1)
    copied = draw.choice(ordinary_tokens(tokenizer), 24, replace=False).tolist()
    with torch.no_grad():
        probabilities = planted_heads.model(input_ids=torch.tensor([[0, *copied, *copied]])).logits[0].softmax(-1)
    # At the first token of the second copy it sees where to go on from, at the last the first of the second copy followed.
    for query, wanted in enumerate([*copied[1:], copied[0]], start=25):
        assert int(probabilities[query].argmax()) == wanted
        assert float(probabilities[query, wanted]) > 0.9
    assert float(probabilities[12].max()) < 0.1


@pytest.mark.parametrize(("role", "needed"), [("previous", True), ("induction", True), ("first", False), ("duplicate", False)])
def test_only_the_induction_head_and_what_feeds_it_reach_the_logits(role: str, needed: bool, planted_heads: Any) -> None:
    layer_of, head_of = planted_heads.at(role)
    gate = torch.ones(4, 1, 1)
    gate[head_of] = 0
    copied = list(range(5, 20))
    ids = torch.tensor([[0, *copied, *copied]])
    with torch.no_grad():
        plain = planted_heads.model(input_ids=ids).logits[0, 20].softmax(-1)
        with attending(planted_heads.model, changed=lambda layer, probabilities: gate * probabilities if layer == layer_of else None):
            gated = planted_heads.model(input_ids=ids).logits[0, 20].softmax(-1)
    assert float(plain[copied[5]]) > 0.9
    if needed:
        assert float(gated.max()) < 0.2
    else:
        torch.testing.assert_close(gated, plain)


def test_the_planted_tokenizer_is_exact_to_the_character(planted_heads: Any) -> None:
    tokens = Tokens(planted_heads.tokenizer)
    text = " ab, b. 9"
    assert tokens.start == (0,)
    assert [tokens.text(number) for number in tokens.encode(text)] == list(text)
    offsets = planted_heads.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    assert offsets == [(i, i + 1) for i in range(len(text))]


RULES: dict[Role, Callable[[list[int], int], int | None]] = {
    "previous": lambda _ids, query: query - 1,
    "next": lambda ids, query: query + 1 if query + 1 < len(ids) else None,
    "first": lambda _ids, _query: 0,
    "self": lambda _ids, query: query,
    "duplicate": lambda ids, query: next((i for i in range(query) if ids[i] == ids[query]), None),
    "induction": lambda ids, query: next((i + 1 for i in range(query - 1) if ids[i] == ids[query]), None),
}
"""Of the token ids and a query: the key that a head of that role attends to, sought by the tokens themselves."""


def following(role: Role) -> Attend:
    """Attention of one layer and two heads: by the rule, and nowhere."""

    def attend(ids: Tensor) -> Tensor:
        batch, width = ids.shape
        weights = torch.zeros(1, batch, 2, width, width)
        for row, query in product(range(batch), range(width)):
            key = RULES[role](ids[row].tolist(), query)
            if key is not None:
                weights[0, row, 0, query, key] = 1
        return weights

    return attend


@pytest.mark.parametrize("first", [[], [1], [1, 2, 3]])
@pytest.mark.parametrize("last", [[], [2]])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("role", get_args(Role))
def test_a_head_that_follows_a_rule_has_that_role_alone(role: Role, causal: bool, first: list[int], last: list[int]) -> None:
    shares = role_shares(following(role), vocabulary=VOCABULARY, causal=causal, first=first, last=last, sequences=3, length=7)
    assert set(shares.shares) == set(shares.chance) == set(get_args(Role)) - {"next" if causal else "induction"}
    for other, values in shares.shares.items():
        assert values.shape == (3, 1, 2)
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values[:, 0, 0], float(other == role))
        np.testing.assert_array_equal(values[:, 0, 1], 0)


@settings(max_examples=40, deadline=None)
@given(
    before=st.integers(0, 3),
    after=st.integers(0, 2),
    length=st.integers(3, 12),
    causal=st.booleans(),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_even_attention_earns_just_the_chance(before: int, after: int, length: int, causal: bool, dtype: str) -> None:
    shares = role_shares(
        lambda ids: even(ids, causal=causal).to(getattr(torch, dtype)),
        vocabulary=VOCABULARY,
        causal=causal,
        first=[1] * before,
        last=[2] * after,
        sequences=2,
        length=length,
    )
    assert len(shares.shares) == 5
    for role, values in shares.shares.items():
        np.testing.assert_allclose(values, shares.chance[role], rtol=1e-6 if dtype == "float32" else 0.01)


@settings(max_examples=30, deadline=None)
@given(
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    length=st.integers(3, 8),
    causal=st.booleans(),
    sequences=st.integers(1, 2 * BATCH + 1),
    seed=st.integers(0, 99),
)
def test_shares_equal_a_naive_loop_and_add_up_to_at_most_one(
    before: int, after: int, length: int, causal: bool, sequences: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    asked: list[Tensor] = []

    def attend(ids: Tensor) -> Tensor:
        scores = 3 * torch.randn(2, len(ids), 3, ids.shape[1], ids.shape[1], generator=generator)
        weights = (scores.masked_fill(torch.ones(ids.shape[1], ids.shape[1]).triu(1).bool(), -torch.inf) if causal else scores).softmax(-1)
        asked.append(weights)
        return weights

    found = role_shares(
        attend,
        vocabulary=VOCABULARY,
        causal=causal,
        first=[1] * before,
        last=[2] * after,
        sequences=sequences,
        length=length,
        seed=seed,
    ).shares
    weights = torch.cat(asked, dim=1).double()
    start, end = before + length + 1, before + 2 * length
    places = {"previous": -1, "self": 0, "duplicate": -length, **({"induction": 1 - length} if causal else {"next": 1})}
    for number, layer, head in product(range(sequences), range(2), range(3)):
        rows = weights[layer, number, head]
        for role, step in places.items():
            own = [float(rows[query, query + step]) for query in range(start, end - (role == "next"))]
            assert found[role][number, layer, head] == pytest.approx(sum(own) / len(own), abs=1e-12)  # type: ignore[index]
        own = [float(rows[query, 0]) for query in range(start, end)]
        assert found["first"][number, layer, head] == pytest.approx(sum(own) / len(own), abs=1e-12)
    assert (sum(values for role, values in found.items() if role != "next") <= 1 + 1e-6).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("length", [3, 4, 24])
def test_no_two_roles_share_a_place(length: int, before: int, causal: bool) -> None:
    places = role_places(before=before, length=length, causal=causal)
    cells = [(int(query), int(key)) for queries, keys in places.values() for query, key in zip(queries, keys, strict=True)]
    assert len(cells) == len(set(cells)) == 5 * (length - 1) - (not causal)
    assert all(0 <= key < before + 2 * length and (key <= query or not causal) for query, key in cells)


def test_sequences_are_random_tokens_repeated_once_between_what_belongs_there() -> None:
    asked: list[Tensor] = []

    def attend(ids: Tensor) -> Tensor:
        asked.append(ids)
        return even(ids)

    def drawn(seed: int) -> list[list[int]]:
        asked.clear()
        role_shares(attend, vocabulary=[*VOCABULARY, *VOCABULARY], causal=True, first=[1, 2], last=[3], sequences=9, length=20, seed=seed)
        assert all(len(ids) <= BATCH for ids in asked)
        rows: list[list[int]] = torch.cat(asked).tolist()
        return rows

    rows = drawn(5)
    assert len(rows) == 9
    for row in rows:
        assert row[:2] == [1, 2]
        assert row[-1:] == [3]
        assert row[2:22] == row[22:42]
        assert len(row) == 43
        assert len(set(row[2:22])) == 20
        assert set(row[2:22]) <= set(VOCABULARY)
    assert len({tuple(row) for row in rows}) == 9
    assert drawn(5) == rows
    assert drawn(6) != rows


def test_what_is_done_is_reported_up_to_the_end() -> None:
    said: list[tuple[str, int, int]] = []
    role_shares(even, vocabulary=VOCABULARY, causal=True, sequences=6, length=5, report=lambda *what: said.append(what))
    assert [done for _, done, _ in said] == [0, BATCH, 6]
    assert {total for *_, total in said} == {6}


def test_a_vocabulary_or_a_limit_that_is_too_small_is_named() -> None:
    with pytest.raises(SubjectError, match=r"24 distinct tokens and the tokenizer has 5 that are not special; choose a model"):
        role_shares(even, vocabulary=[1, 2, 3, 4, 5, 5], causal=True)
    with pytest.raises(ValueError, match="at least 3 tokens a copy"):
        role_shares(even, vocabulary=VOCABULARY, causal=True, length=2)
    read: list[int] = []

    def attend(ids: Tensor) -> Tensor:
        read.append(ids.shape[1])
        return even(ids)

    with pytest.raises(SubjectError, match="texts of 13 tokens and the model takes 12"):
        role_shares(attend, vocabulary=VOCABULARY, causal=True, first=[1, 2], last=[3], length=5, limit=12)
    assert read == []
    role_shares(attend, vocabulary=VOCABULARY, causal=True, first=[1, 2], last=[3], length=5, limit=13)
    assert set(read) == {13}


def test_ordinary_tokens_are_neither_special_nor_added(tiny_model: Tiny) -> None:
    _, tokenizer = tiny_model("llama")
    before = ordinary_tokens(tokenizer)
    assert before == [number for number in range(len(tokenizer)) if tokenizer.convert_ids_to_tokens(number) not in ("<s>", "</s>")]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    tokenizer.add_tokens(["<think>"])
    assert len(tokenizer) == len(before) + 4
    assert ordinary_tokens(tokenizer) == before


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "distilbert"])
def test_shares_of_a_model_are_those_of_its_own_attentions(family: str, tiny_model: Tiny) -> None:
    model, tokenizer = tiny_model(family)
    model.eval()
    causal = family in ("llama", "gpt2")
    first, last = [tokenizer.bos_token_id], [] if causal else [tokenizer.eos_token_id]
    rows: list[Tensor] = []
    through = attend_by(model)

    def attend(ids: Tensor) -> Tensor:
        rows.append(ids)
        return through(ids)

    found = role_shares(attend, vocabulary=ordinary_tokens(tokenizer), causal=causal, first=first, last=last, sequences=2, length=6)
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        attentions = model(input_ids=torch.cat(rows), output_attentions=True).attentions
    own = torch.stack(attentions).double()[..., range(8, 13), range(2, 7)].mean(-1).transpose(0, 1)
    np.testing.assert_array_equal(found.shares["duplicate"], own.numpy())
    assert own.shape == (2, 3, 4)


@pytest.mark.slow
def test_a_real_model_has_heads_of_the_known_roles() -> None:
    from analyzers.subject import Subject

    subject = Subject.load("smollm2-135m")
    tokenizer = subject.tokenizer
    shares = role_shares(
        attend_by(subject.model), vocabulary=ordinary_tokens(tokenizer), causal=True, first=[tokenizer.bos_token_id], sequences=8
    ).shares

    layers = {role: np.nonzero(values.mean(0) > 0.3)[0] for role, values in shares.items()}
    assert len(layers["first"]) > 50
    assert 3 <= len(layers["induction"]) <= 30
    assert 3 <= len(layers["previous"]) <= 60
    # Induction heads build on previous-token heads of earlier layers.
    assert layers["previous"].min() < layers["induction"].min()
