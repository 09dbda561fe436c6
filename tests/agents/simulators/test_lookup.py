"""Look-up tables against hand-counted means, and against figures measured on a published data set."""

import json
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.explanation import Simulation
from agents.simulators.lookup import LookUp, fit_bigram, fit_token
from analyzers.evidence import Excerpt


def excerpt(tokens: list[str], activations: list[float]) -> Excerpt:
    return Excerpt("d", 0, tuple(tokens), np.array(activations, np.float32), "random")


async def predicted(table: LookUp, *tokens: str, explanation: str = "anything") -> list[float]:
    (outcome,) = await table.simulate(explanation, [excerpt(list(tokens), [0.0] * len(tokens))])
    assert isinstance(outcome, Simulation)
    assert outcome.scale == table.scale == "activation"
    assert outcome.present.all()
    return [float(value) for value in outcome.values]


SEEN = [excerpt(["The", " cat", " sat"], [1, 2, 0]), excerpt([" the", " dog", " THE", " cat"], [3, 4, 5, 8])]


async def test_token_means() -> None:
    table = fit_token(SEEN)
    assert table.name == "token_lookup"
    assert await predicted(table, "the", "CAT", " dog", " sat", " bird") == [3, 5, 4, 0, 0]


async def test_bigram_means_back_off_to_the_token_then_to_nothing() -> None:
    table = fit_bigram(SEEN)
    assert table.name == "bigram_lookup"
    # the+cat was seen twice; sat+cat never: its token's mean; dog+the once; bird never
    assert await predicted(table, " the", " cat", " sat", " cat", " bird", " dog", " the") == [3, 5, 0, 5, 0, 4, 5]


async def test_the_first_token_has_no_previous_one() -> None:
    table = fit_bigram([excerpt(["a"], [2]), excerpt([" ", "a"], [0, 6])])
    assert await predicted(table, "a") == [4]
    assert await predicted(table, " ", "a") == [0, 6]


async def test_the_explanation_is_ignored_and_nothing_seen_predicts_zero() -> None:
    table = fit_token(SEEN)
    assert await predicted(table, " cat", explanation="") == await predicted(table, " cat", explanation='the word "dog"')
    assert await predicted(fit_bigram([]), " cat", " dog") == [0, 0]
    assert await table.simulate("", []) == []


async def test_white_space_tokens_are_told_apart() -> None:
    excerpts = [excerpt(["a", "\n", "b", " "], [1, 5, 2, 0])]
    assert await predicted(fit_token(excerpts), "\n", " ", "\t") == [5, 0, 0]
    assert await predicted(fit_bigram(excerpts), "a", "\n", "a", " ") == [1, 5, 1, 0]


KINDS = {"a": "a", " A": "a", "b": "b", " c": "c", "\n": "line", " ": "space"}
"""Tokens, and the name under which each is counted."""


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from(list(KINDS)), st.integers(0, 9)), min_size=1, max_size=6), min_size=1, max_size=6))
async def test_both_equal_naive_means(rows: list[list[tuple[str, int]]]) -> None:
    excerpts = [excerpt([token for token, _ in row], [float(value) for _, value in row]) for row in rows]
    single, double = defaultdict(list), defaultdict(list)
    for row in rows:
        names = [KINDS[token] for token, _ in row]
        for i, (_, value) in enumerate(row):
            single[names[i]].append(value)
            if i:
                double[names[i - 1], names[i]].append(value)
    for table, order in ((fit_token(excerpts), 1), (fit_bigram(excerpts), 2)):
        for row, outcome in zip(rows, await table.simulate("", excerpts), strict=True):
            assert isinstance(outcome, Simulation)
            names = [KINDS[token] for token, _ in row]
            expected = [np.mean(double[names[i - 1], names[i]] if order == 2 and i else single[names[i]]) for i in range(len(row))]
            assert outcome.values == pytest.approx(expected, abs=1e-5)


@pytest.mark.replication
@pytest.mark.skipif("EXPLICATE_REPLICATION" not in os.environ, reason="EXPLICATE_REPLICATION does not name the folder of published data")
async def test_held_out_correlation_on_a_published_feature() -> None:
    """Feature 0 of a GPT-2 small sparse autoencoder, layer 0: .973 measured independently; feature 1 never fires."""
    path = Path(os.environ["EXPLICATE_REPLICATION"]) / "sae_dashboard" / "batch-0.json"
    features = {feature["feature_index"]: feature["activations"] for feature in json.loads(path.read_text())["features"]}

    async def held_out(index: int) -> tuple[list[float], list[float]]:
        unique = {tuple(record["tokens"]): record["values"] for record in features[index]}
        loudest = sorted(unique.items(), key=lambda item: -max(item[1]))
        excerpts = [excerpt(list(tokens), values) for tokens, values in loudest]
        outcomes = await fit_token(excerpts[::2]).simulate("", excerpts[1::2])
        predictions = [float(v) for outcome in outcomes if isinstance(outcome, Simulation) for v in outcome.values]
        return [float(v) for e in excerpts[1::2] for v in e.activations], predictions

    truth, prediction = await held_out(0)
    assert np.corrcoef(truth, prediction)[0, 1] == pytest.approx(0.973, abs=0.0006)
    truth, prediction = await held_out(1)
    assert not any(truth)
    assert not any(prediction)
