"""Rules of planted neurons, carried out: they mark in the neuron's own sentences just what is planted there."""

import pytest

from evals.planted import Planted, planted
from evals.planted_lab import lab_of

RULED = [neuron for neuron in planted() if neuron.rule is not None]


def test_most_kinds_have_rules() -> None:
    assert {neuron.kind for neuron in RULED} == {"word", "word-class", "format", "position", "next"}
    assert len(RULED) >= 20


@pytest.mark.parametrize("neuron", RULED, ids=lambda neuron: neuron.name)
def test_a_rule_marks_what_is_planted(neuron: Planted) -> None:
    lab = lab_of(neuron)
    assert lab is not None
    for sentence in neuron.sentences:
        text = "".join(token for token, _ in sentence)
        (excerpt,) = lab.activations([text])
        assert excerpt.text == text
        fires = [
            position
            for token, activation in zip(excerpt.tokens, excerpt.activations, strict=True)
            for position in [activation > 0] * len(token)
        ]
        planted_at = [activation > 0 for token, activation in sentence for _ in token]
        marked = {at for at, (one, character) in enumerate(zip(fires, text, strict=True)) if one and not character.isspace()}
        wanted = {at for at, (one, character) in enumerate(zip(planted_at, text, strict=True)) if one and not character.isspace()}
        assert marked == wanted, text


def test_a_neuron_without_a_rule_has_no_laboratory() -> None:
    assert all(lab_of(neuron) is None for neuron in planted() if neuron.rule is None)
