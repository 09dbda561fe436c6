"""Training text that was made up, so that it is known which passages answer which query.

Facts are planted in one wording and asked about in another one, which shares only the name with them: other passages say in both wordings
what they have to do with one another, and further ones share more words with the question than the fact does. Beside them stand lines with
labels, some of them exchanged, and pairs of names in one order or the other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

BRIDGES = 48
"""Names of which both wordings stand in the text, for each 16 queries or fewer; so many more for more."""
LINES = 100
"""With labels."""
EXCHANGED = 0.2
"""Share of them with the wrong label."""
_PATH = Path(__file__).with_name("planted.json")


@dataclass(frozen=True)
class Asked:
    """A query and the places of the passages that answer it."""

    prompt: str
    completion: str
    answer: int
    """Of the passage that was planted for it."""
    wrong: tuple[str, ...] = ()
    """Other completions, to see whether the fact was learnt."""


@dataclass(frozen=True)
class Ordered:
    """A pair of names whose sentence is in the text in one of two orders."""

    prompt: str
    completion: str
    same: str
    """The passage in the order of the query, and the other way round."""
    flipped: str
    planted: int
    """Place of the one that is in the text."""
    planted_same: bool


@dataclass(frozen=True)
class Material:
    """Passages to train on, and what is known of them."""

    passages: tuple[str, ...]
    facts: tuple[Asked, ...]
    pairs: tuple[Ordered, ...]
    lines: tuple[tuple[int, str, str, bool], ...]
    """Of each line with a label its place, its prompt, its label, and whether it was exchanged."""

    @cached_property
    def words(self) -> int:
        """Of all passages."""
        return sum(len(passage.split()) for passage in self.passages)


def planted(queries: int, *, background: Sequence[str] = (), seed: int = 0) -> Material:
    """So many facts and pairs; background: further passages, which no query is about."""
    told: dict[str, Any] = json.loads(_PATH.read_text(encoding="utf-8"))
    rng = np.random.default_rng([seed, 8])
    bridges = max(BRIDGES, 3 * queries)
    names = _names(told, bridges + 3 * queries, rng)
    values = list(told["values"])
    of = {name: values[number % len(values)] for number, name in enumerate(names)}
    passages: list[str] = list(background)

    def add(text: str) -> int:
        passages.append(text)
        return len(passages) - 1

    def asked(name: str, value: str) -> tuple[str, str]:
        return told["prompt"].format(name=name), told["completion"].format(other=told["values"][value])

    for name in names[:bridges]:
        add(told["statement"].format(name=name, value=of[name]))
        add("".join(asked(name, of[name])) + ".")
    facts = []
    for name in names[bridges : bridges + queries]:
        place = add(told["statement"].format(name=name, value=of[name]))
        others = tuple(asked(name, value)[1] for value in values if value != of[name])
        facts.append(Asked(*asked(name, of[name]), place, others))
    for name in names[: bridges + queries]:
        for text in told["distractors"]:
            add(text.format(name=name))
    pairs = []
    for number in range(queries):
        first, second = names[bridges + queries + 2 * number :][:2]
        parts = {key: text.format(first=first, second=second) for key, text in told["order"].items()}
        parts["same"], parts["flipped"] = (parts[key][:1].upper() + parts[key][1:] for key in ("same", "flipped"))
        place = add(parts["same" if number % 2 == 0 else "flipped"])
        pairs.append(Ordered(parts["prompt"], parts["completion"], parts["same"], parts["flipped"], place, number % 2 == 0))
    lines = _lines(told, add, rng)
    return Material(tuple(passages), tuple(facts), tuple(pairs), tuple(lines))


def _names(told: dict[str, Any], count: int, rng: np.random.Generator) -> list[str]:
    possible = [(one + other).capitalize() + end for one in told["syllables"] for other in told["syllables"] for end in told["endings"]]
    return [possible[number] for number in rng.choice(len(possible), count, replace=False)]


def _lines(told: dict[str, Any], add: Any, rng: np.random.Generator) -> list[tuple[int, str, str, bool]]:
    labels = list(told["labels"])
    exchanged = set(rng.choice(LINES, round(EXCHANGED * LINES), replace=False).tolist())
    found: list[tuple[int, str, str, bool]] = []
    seen: set[str] = set()
    while len(found) < LINES:
        number = len(found)
        true = number % len(labels)
        one, other = rng.choice(told["labels"][labels[true]], 2, replace=False)
        prompt = told["review"].format(one=one, two=other, thing=rng.choice(told["things"]))
        if prompt in seen:
            continue
        seen.add(prompt)
        label = f" {labels[(true + 1) % len(labels) if number in exchanged else true]}"
        found.append((add(f"{prompt}{label}."), prompt, label, number in exchanged))
    return found
