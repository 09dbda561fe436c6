"""What is wrong with the data is found, planted one by one, and nothing else is."""

import numpy as np
import pytest

from evals.exchange import Feature, Record, Told
from evals.exchange.explanations import candidates, is_explanation
from evals.exchange.problems import problems_of, problems_of_all

A, B, C, D = (
    "the old bridge was carried away by a flood in summer",
    "visitors who walk along the water see herons and otters",
    "there are markets where farmers sell cheese and apples there",
    "the school teaches music and the history of the valley",
)


def record(text: str, peak: float = 1.0, *, shown: bool = False, group: str = "top") -> Record:
    tokens = tuple(f" {word}" for word in text.split())
    values = np.zeros(len(tokens))
    values[-1] = peak
    return Record(tokens, values, group, shown=shown)


def clean(**changes: object) -> Feature:
    feature = Feature("s", records=[record(A, shown=True), record(B), record(C)], told=[Told("bridges", "x", {"r": 0.5})], shown_known=True)
    for name, value in changes.items():
        setattr(feature, name, value)
    return feature


def kinds(feature: Feature) -> list[tuple[str, int]]:
    return [(problem.kind, problem.n) for problem in problems_of(feature)]


def test_clean_data_has_none() -> None:
    assert kinds(clean()) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"records": []}, [("no-records", 0)]),
        ({"records": [record(A, 0.0), record(B, -1.0)]}, [("dead", 2)]),
        ({"records": [record(A, shown=True), record(A.upper()), record(B), record(B)]}, [("duplicates", 2)]),
        ({"records": [record(A, shown=True), record(B), record(f"{B} too")]}, [("near-duplicates", 1)]),
        ({"shown_known": False}, [("shown-unknown", 3)]),
        ({"told": [Told("Explanation could not be parsed.", "x")]}, [("unparsed-explanation", 1)]),
        ({"told": [Told("", "x")]}, [("unparsed-explanation", 1)]),
        ({"told": [Told("I'm sorry, but I cannot help with that.", "x")]}, [("refusal", 1)]),
        ({"told": [Told("bridges", "x", {"r": None, "q": 0.5})]}, [("undefined-score", 1)]),
        ({"told": [Told("bridges", "x", scored=(f" {A}", f" {B}"))]}, [("leak", 1)]),
        ({"told": [Told("bridges", "x", scored=(f"so {A[:40]}", D))]}, [("leak", 1)]),
        ({"notes": [("inconsistent", "a maximum differs")] * 3}, [("inconsistent", 3)]),
    ],
)
def test_each_is_found(changes: dict[str, object], found: list[tuple[str, int]]) -> None:
    assert kinds(clean(**changes)) == found


def test_records_that_were_scored_are_no_copies_of_themselves() -> None:
    assert kinds(clean(records=[record(A, shown=True), record(B), record(B, group="scored")])) == []


def test_explanations_that_are_shared_and_documents_that_are_not_known() -> None:
    features = [clean(told=[Told(text, "x")]) for text in ("Bridges  old", "bridges old", "", "")]
    assert [(problem.kind, problem.n) for problem in problems_of_all(features)] == [("same-explanation", 2), ("documents-unknown", 4)]


def test_what_is_an_explanation() -> None:
    for text in (
        "Explanation could not be parsed.",
        " ",
        "N/A",
        "None",
        "error",
        "I cannot do that",
        "I'm unable to say",
        "As an AI model",
        "Sorry, but I can't help with that.",
        "**I apologize**, there is nothing to see",
    ):
        assert not is_explanation(Told(text, "x")), text
    for text in (
        '"sorry" and other apologies',
        "sorry",
        '"I cannot", "I can not"',
        "errors in code",
        "the word none",
        "apologies such as I cannot",
        "NaN values in tables",
    ):
        assert is_explanation(Told(text, "x")), text
    told = [Told("", "x"), Told("a", "first"), Told("b", "x"), Told("a", "second")]
    assert [(one.text, one.by) for one in candidates(told)] == [("a", "first"), ("b", "x")]
