"""The planted neurons against executable rules: the truth recomputes what fires, and no false explanation comes near it."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analyzers.errors import ExplicateError
from evals.planted import DEFAULT, Planted, fingerprint, planted

Fired = set[int]


class Rule:
    """Which tokens of a sentence fire."""

    def __init__(self, fires: Callable[[list[str]], Fired]) -> None:
        self.fires = fires

    def __or__(self, other: "Rule") -> "Rule":
        return Rule(lambda tokens: self.fires(tokens) | other.fires(tokens))

    def __sub__(self, other: "Rule") -> "Rule":
        return Rule(lambda tokens: self.fires(tokens) - other.fires(tokens))


def low(tokens: list[str]) -> list[str]:
    return [token.strip().lower() for token in tokens]


def word(wanted: str) -> Rule:
    return Rule(lambda tokens: {i for i, token in enumerate(low(tokens)) if token in wanted.split()})


def shifted(rule: Rule, by: int) -> Rule:
    return Rule(lambda tokens: {i + by for i in rule.fires(tokens) if 0 <= i + by < len(tokens)})


def before(rule: Rule) -> Rule:
    return shifted(rule, -1)


def after(rule: Rule) -> Rule:
    return shifted(rule, 1)


def both(a: Rule, b: Rule) -> Rule:
    return Rule(lambda tokens: a.fires(tokens) & b.fires(tokens))


def when(rule: Rule, cues: str) -> Rule:
    return Rule(lambda tokens: rule.fires(tokens) if set(cues.split()) & set(low(tokens)) else set())


def unless(rule: Rule, cues: str) -> Rule:
    return rule - when(rule, cues)


def match(pattern: str, group: int = 0) -> Rule:
    def fires(tokens: list[str]) -> Fired:
        spans = [found.span(group) for found in re.finditer(pattern, "".join(tokens))]
        starts = [sum(map(len, tokens[:i])) + len(token) - len(token.lstrip()) for i, token in enumerate(tokens)]
        return {i for i, start in enumerate(starts) if any(first <= start < last for first, last in spans)}

    return Rule(fires)


def nth(place: int) -> Rule:
    """The word at a place in each sentence, 1 the first and -1 the last."""

    def fires(tokens: list[str]) -> Fired:
        found, sentence = set(), []
        for i, token in enumerate(low(tokens)):
            if token.isalnum():
                sentence.append(i)
            if token in ".?!" and sentence:
                found.add(sentence[place - 1 if place > 0 else place])
                sentence = []
        return found

    return Rule(fires)


DIGITS, CAPITALISED, COMMA, COLON = match(r"\b\d+\b"), match(r"\b[A-Z]\w*"), word(","), word(":")
COLOURS = word("red orange yellow green blue purple violet pink brown black white grey golden")
DAYS = word("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = match("January|February|March|April|May|June|July|August|September|October|November|December")
NUMBERS = word("one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred")
FAMILY = word("mother father brother sister son daughter uncle aunt cousin grandfather grandmother nephew niece")
ANIMALS = word(
    "fox foxes horse horses goat goats parrot parrots dog dogs cat cats rabbit rabbits heron goose geese sheep cow cows bee bees hens bird"
)
MOTION = word("ran jumped flew walked climbed crawled drove marched came went swam")
NAMES = word("peter helen anna carlos martin oscar")
STOPPING = word("stop stopped ceased halt halted quit end ended")
PEOPLE = word("children nurses soldiers passengers")
CLOTHES = word("coat sleeves shoes shirt trousers hat")
SEVERAL = word("dogs horses cats foxes geese")
CITIES = word("madrid vienna oslo rome dublin")
SPEAKING = word("tell told speak say said ask asked")
WEATHER = word("rain rained snow storm fog wind")
PRAISE = word("excellent wonderful great superb")
QUOTED, ROUND, SQUARE = match(r'"([^"]*)"', 1), match(r"\(([^)]*)\)", 1), match(r"\[([^\]]*)\]", 1)
HTML, CAPITALS = match(r"</?[a-z]\w*>"), match(r"\b[A-Z]{2,}\b")

RULES: dict[str, list[Rule]] = {
    # the true rule, then those of the false explanations in their order
    "the word river": [word("river"), word("bridge"), word("sea lake river"), word("weather")],
    "the word because": [word("because"), word("although"), word("when if although because"), word("shop owner")],
    "the word every": [word("every"), word("each"), word("all some most each every"), word("door gate")],
    "the word between": [word("between"), word("among"), word("among under near beside between"), word("village path")],
    "the word engine": [word("engine"), word("wheel"), word("brake clutch wheel engine"), word("trumpet band")],
    "the word again": [word("again"), word("once"), word("soon often never again once"), word("crowd")],
    "colours": [COLOURS, word("red"), COLOURS | word("tall heavy narrow quiet pleasant wide small tiled little deeper"), DAYS],
    "animals": [ANIMALS, word("parrot swan"), ANIMALS | word("oak willow ferns mosses"), word("bus tractor bicycles")],
    "numbers in words": [NUMBERS, DIGITS, NUMBERS | DIGITS, word("miles minutes metres litres")],
    "verbs of motion": [
        MOTION,
        MOTION | word("said had told are thought signed slept sneezed"),
        word("said told"),
        word("ferry tram bus"),
    ],
    "family members": [FAMILY, word("mother"), FAMILY | word("doctor nurse driver teacher soldiers"), word("arm hands knees")],
    "days of the week": [DAYS, MONTHS, DAYS | MONTHS | word("tomorrow morning week winter noon evening"), NAMES],
    "bank of a river": [
        unless(word("bank"), "money account fee"),
        word("bank"),
        when(word("bank"), "money account fee"),
        both(word("bank"), nth(-1)),
    ],
    "right as a direction": [when(word("right"), "left"), word("right"), unless(word("right"), "left"), when(word("right"), "?")],
    "light in weight": [
        unless(word("light"), "corridor beam switched"),
        word("light"),
        when(word("light"), "corridor beam switched"),
        when(word("light"), "boats"),
    ],
    "match as a game": [
        unless(word("match"), "struck curtains lit"),
        word("match"),
        when(word("match"), "struck lit"),
        when(word("match"), "curtains"),
    ],
    "like for enjoying": [
        both(word("like"), after(word("i you sisters never"))),
        word("like"),
        both(word("like"), after(word("ran looked sounds"))),
        when(word("like"), "?"),
    ],
    "spring as a season": [
        unless(word("spring"), "rusty water clock"),
        word("spring"),
        when(word("spring"), "rusty clock"),
        when(word("spring"), "water"),
    ],
    "HTML tags": [HTML, word("< >"), HTML | match(r"^for i in.*"), QUOTED],
    "full dates": [match(r"\b\d{1,2} [A-Z][a-z]+ \d{4}\b"), DIGITS, MONTHS, word("noon")],
    "words in capitals": [
        CAPITALS,
        CAPITALISED,
        CAPITALS | match("Please|touch|Wait outside|do not run|must"),
        match("Maria|Thomas|Lisbon|New York|Green|Bath|Rosa"),
    ],
    "quoted text": [QUOTED, word("said asked whispered"), QUOTED | match("would come in later|be quiet"), ROUND],
    "round brackets": [ROUND, SQUARE, ROUND | SQUARE | QUOTED | match(", (the younger one|an old friend),", 1), DIGITS],
    "dollar amounts": [match(r"\$\d+"), DIGITS, word("paid bank money pounds euros dollars"), word("grams")],
    "first word of a sentence": [nth(1), CAPITALISED, nth(-1), match("Laura|Old Bridge|Mostar|Dublin|Hale|Lisbon|Moreno")],
    "last word before a comma": [
        before(COMMA),
        COMMA,
        after(COMMA),
        nth(-1),
        word("rain chairs bread butter jar honey doctor door evening concert canal maps coast market brother car"),
    ],
    "third word of a sentence": [
        nth(3),
        nth(1),
        nth(2),
        word("baker shop noon fridays town flood usher hens hole fence form end may answer teacher class"),
    ],
    "last word of a sentence": [
        nth(-1),
        word("."),
        nth(1),
        before(COMMA),
        word("bus front museum gloves scarf temper winter pond november road song judge letter"),
    ],
    "first word after a comma": [after(COMMA), COMMA, before(COMMA), nth(1)],
    "first word after a colon": [after(COLON), COLON, before(COLON), word("rope lamp socks apples pears plums"), nth(1)],
    "before the word of": [
        before(word("of")),
        word("of"),
        after(word("of")),
        word("roof church slate cup tea paper guests station captain crew patience dark sound flute child heights"),
    ],
    "before a number": [before(DIGITS), DIGITS, after(DIGITS), word("page room platform")],
    "before a person's name": [before(NAMES), NAMES, after(NAMES), word("doctor uncle")],
    "before a colour": [before(COLOURS), COLOURS, after(COLOURS), word("a the")],
    "before the word than": [
        before(word("than")),
        word("than"),
        after(word("than")),
        word("longer better worse colder smaller quieter more"),
    ],
    "before the word not": [
        before(word("not")),
        word("not"),
        word("not never nobody"),
        word("would did should is"),
        after(word("not")),
    ],
    "stopping when negated": [
        both(STOPPING, after(word("not never"))),
        STOPPING,
        word("not never nobody"),
        after(word("not never")),
        word("began"),
    ],
    "numbers of people": [both(NUMBERS, before(PEOPLE)), NUMBERS, PEOPLE, NUMBERS - before(PEOPLE)],
    "colours of clothes": [both(COLOURS, before(CLOTHES)), COLOURS, CLOTHES, COLOURS - before(CLOTHES)],
    "animals in the plural": [SEVERAL, ANIMALS, SEVERAL | word("wagons apples trucks chairs tables"), ANIMALS - SEVERAL],
    "cities that somebody goes to": [
        both(CITIES, after(word("to"))),
        CITIES,
        word("flew took drove walked move left came walking cycled"),
        both(CITIES, after(word("to"))) | word("coast beach lake"),
        both(CITIES, after(word("left"))),
    ],
    "speaking in questions": [
        when(SPEAKING, "?"),
        SPEAKING,
        when(SPEAKING | word("did can does opened end"), "?"),
        unless(SPEAKING, "?"),
        word("?"),
    ],
    "weather to come": [when(WEATHER, "will"), WEATHER, word("will tomorrow next"), unless(WEATHER, "will")],
    "praise of food": [
        when(PRAISE, "soup cake bread stew"),
        PRAISE,
        word("soup cake bread stew beans pepper"),
        unless(PRAISE, "soup cake bread stew"),
        word("cold stale"),
    ],
}

NEURONS = {neuron.name: neuron for neuron in planted()}
each_neuron = pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)


def fired(neuron: Planted) -> list[Fired]:
    return [{i for i, (_, activation) in enumerate(sentence) if activation} for sentence in neuron.sentences]


def recomputed(neuron: Planted, rule: Rule) -> list[Fired]:
    return [rule.fires([text for text, _ in sentence]) for sentence in neuron.sentences]


def test_there_are_enough_of_every_kind() -> None:
    kinds = Counter(neuron.kind for neuron in NEURONS.values())
    assert set(kinds) == {"word", "word-class", "context", "format", "position", "next", "conditional"}
    assert min(kinds.values()) >= 5
    assert kinds.total() >= 36


def test_every_neuron_has_a_rule_for_every_explanation() -> None:
    assert {name: len(rules) for name, rules in RULES.items()} == {
        name: 1 + len(neuron.false_explanations) for name, neuron in NEURONS.items()
    }


def test_no_name_key_is_lost_to_a_duplicate() -> None:
    pairs = json.loads(DEFAULT.read_text("utf-8"), object_pairs_hook=list)
    assert len(pairs) == len({name for name, _ in pairs}) == len(NEURONS)


@each_neuron
def test_the_true_rule_recomputes_what_fires(neuron: Planted) -> None:
    assert fired(neuron) == recomputed(neuron, RULES[neuron.name][0])


@each_neuron
def test_every_false_explanation_is_wrong(neuron: Planted) -> None:
    truth = np.concatenate([excerpt.activations for excerpt in neuron.excerpts()])
    for text, rule in zip(neuron.false_explanations, RULES[neuron.name][1:], strict=True):
        prediction = np.array(
            [i in found for sentence, found in zip(neuron.sentences, recomputed(neuron, rule), strict=True) for i in range(len(sentence))]
        )
        assert prediction.any(), f"{text!r} fires nowhere: it is too easy"
        assert np.corrcoef(truth, prediction)[0, 1] < 0.85, f"{text!r} is too nearly true"


@each_neuron
def test_the_sentences_hold_what_a_test_needs(neuron: Planted) -> None:
    assert 6 <= len(neuron.sentences) <= 10
    assert len(set(neuron.sentences)) == len(neuron.sentences)
    assert len(neuron.false_explanations) >= 3
    assert sum(map(bool, fired(neuron))) >= 2
    for sentence in neuron.sentences:
        assert 7 <= len(sentence) <= 25
        assert max(activation for _, activation in sentence) <= 10
        assert not sentence[0][0].startswith(" ")
        assert all(text == text.rstrip() for text, _ in sentence)
    # somewhere a false rule fires in a sentence in which the neuron is silent
    silent = [i for i, found in enumerate(fired(neuron)) if not found]
    if silent:
        assert any(recomputed(neuron, rule)[i] for i in silent for rule in RULES[neuron.name][1:])


@pytest.mark.parametrize("name", [name for name, neuron in NEURONS.items() if neuron.kind == "conditional"])
def test_a_conditional_neuron_is_silent_on_its_bare_words(name: str) -> None:
    truth, bare = fired(NEURONS[name]), recomputed(NEURONS[name], RULES[name][1])
    assert all(here <= there for here, there in zip(truth, bare, strict=True))
    assert sum(bool(there and not here) for here, there in zip(truth, bare, strict=True)) >= 2


@pytest.mark.parametrize("name", [name for name, neuron in NEURONS.items() if neuron.kind == "word"])
def test_a_word_neuron_fires_on_the_quoted_word_alone(name: str) -> None:
    (quoted,) = re.findall(r'"(\w+)"', NEURONS[name].explanation)
    assert fired(NEURONS[name]) == recomputed(NEURONS[name], word(quoted))


def test_no_sentence_is_in_two_neurons() -> None:
    texts = [tuple(text for text, _ in sentence) for neuron in NEURONS.values() for sentence in neuron.sentences]
    assert len(set(texts)) == len(texts)


def test_excerpts_carry_text_and_activations() -> None:
    excerpt = NEURONS["the word river"].excerpts()[1]
    assert excerpt.text == "In spring the lake floods, and the river below it turns brown."
    assert [excerpt.tokens[i] for i in np.flatnonzero(excerpt.activations)] == [" river"]
    assert excerpt.activations.max() == 9
    assert {e.stratum for e in NEURONS["the word river"].excerpts()} == {"top", "random"}


GOOD = {"explanation": "cats", "false_explanations": ["dogs"], "sentences": [["A", [" cat", 3], "."]]}


def test_a_file_without_kinds_and_with_other_keys_loads(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"cats": {**GOOD, "name": "another name", "note": "x"}}))
    (neuron,) = planted(path)
    assert (neuron.name, neuron.kind) == ("cats", "unspecified")
    assert neuron.sentences == ((("A", 0.0), (" cat", 3.0), (".", 0.0)),)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ([], "not an object"),
        ({k: v for k, v in GOOD.items() if k != "explanation"}, "explanation: Field required"),
        ({**GOOD, "explanation": " "}, "explanation"),
        ({**GOOD, "false_explanations": []}, "false_explanations"),
        ({**GOOD, "false_explanations": ["Cats "]}, "must all differ"),
        ({**GOOD, "sentences": []}, "sentences"),
        ({**GOOD, "sentences": [[]]}, "sentences[0]"),
        ({**GOOD, "sentences": [["A", [" cat", "loud"]]]}, "sentences[0][1][1]"),
        ({**GOOD, "sentences": [["A", [" cat", -1]]]}, "sentences[0][1][1]"),
        ({**GOOD, "sentences": [["A", [" cat", 1, 2]]]}, "sentences[0][1]"),
        ({**GOOD, "sentences": [["", [" cat", 1]]]}, "sentences[0][0][0]"),
        ({**GOOD, "sentences": [["A", " cat"]]}, "activations are all the same"),
    ],
)
def test_a_wrong_entry_is_named_in_one_line(tmp_path: Path, entry: object, says: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"good": GOOD, "bad one": entry}))
    with pytest.raises(ExplicateError) as caught:
        planted(path)
    message = str(caught.value)
    assert says in message
    assert "mine.json" in message
    assert "'bad one'" in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3"])
def test_a_file_that_holds_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ExplicateError, match=r"mine\.json"):
        planted(path)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExplicateError, match="No such file"):
        planted(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExplicateError, match="not JSON"):
        planted(tmp_path / "binary.json")


def test_the_fingerprint_is_of_the_content_not_the_layout(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"cats": GOOD}))
    first = fingerprint(planted(path))
    path.write_text(json.dumps({"cats": dict(reversed(GOOD.items()))}, indent=3))
    assert fingerprint(planted(path)) == first
    path.write_text(json.dumps({"cats": {**GOOD, "sentences": [["A", [" cat", 4], "."]]}}))
    assert fingerprint(planted(path)) != first
