"""What is wrong with somebody else's data: copies, dead sites, scored text that was shown, explanations that are none."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from analyzers.duplicates import normalise, overlap, words
from evals.exchange.explanations import REFUSAL, UNPARSED, is_explanation
from evals.exchange.held_out import grouped
from evals.exchange.record import Feature, Told, distinct
from evals.exchange.results import Problem, ProblemKind
from evals.leak_audit import NEAR_DUPLICATE


def problems_of(feature: Feature) -> Iterator[Problem]:
    """What is wrong with one site."""

    def problem(kind: ProblemKind, n: int, what: str) -> Problem:
        return Problem(kind=kind, site=feature.key, what=what, n=n)

    own = [record for record in feature.records if record.group != "scored" and "explanation" not in record.details]
    unique = distinct(own)
    if not feature.records:
        yield problem("no-records", 0, "There is no text with its activations: nothing can be scored.")
    elif all(record.peak == 0 for record in feature.records):
        yield problem("dead", len(feature.records), f"It does not fire in any of its {len(feature.records)} records.")
    if len(unique) < len(own):
        copies = len(own) - len(unique)
        yield problem("duplicates", copies, f"{copies} of {len(own)} records are copies of others: {len(unique)} texts are left.")
    near = len(unique) - len(grouped([record for record in unique if record.document is None])) if _undocumented(feature) else 0
    if near:
        yield problem("near-duplicates", near, f"{near} of {len(unique)} texts repeat at least half of another.")
    yield from _explanations(feature)
    for kind, count in Counter(feature.notes).items():
        yield problem(_known(kind[0]), count, kind[1][0].upper() + kind[1][1:] + ".")


def _undocumented(feature: Feature) -> bool:
    return all(record.document is None for record in feature.records)


def _known(kind: str) -> ProblemKind:
    return Problem.model_validate({"kind": kind, "site": "", "what": "", "n": 0}).kind


def _explanations(feature: Feature) -> Iterator[Problem]:
    def problem(kind: ProblemKind, n: int, what: str) -> Problem:
        return Problem(kind=kind, site=feature.key, what=what, n=n)

    for told in feature.told:
        if UNPARSED.search(told.text):
            yield problem("unparsed-explanation", 1, f"{told.text[:80]!r} is kept as an explanation and is none.")
        elif REFUSAL.search(told.text):
            yield problem("refusal", 1, f"{told.text[:80]!r} is kept as an explanation and refuses to give one.")
        undefined = [name for name, value in told.published.items() if value is None]
        if undefined:
            yield problem("undefined-score", len(undefined), f"Published without a value: {', '.join(undefined)[:200]}.")
        leaked, closest = _leaked(feature, told)
        if leaked:
            yield problem(
                "leak",
                leaked,
                f"{leaked} of the {len(told.scored)} texts that its published scores are of were shown to the explainer, word for word or "
                f"nearly (largest overlap {closest:.2f}).",
            )
    if feature.told and feature.records and not feature.shown_known:
        yield problem(
            "shown-unknown",
            len(feature.records),
            "It is not known which records the explainer was shown: that it saw some that are scored cannot be ruled out.",
        )


def _leaked(feature: Feature, told: Told) -> tuple[int, float]:
    """How many scored texts stand in a text that was shown, by at least half, and the largest share that does."""
    shown = [record.text for record in distinct(feature.records) if record.shown]
    known = {normalise(text) for text in shown}
    closest = [1.0 if normalise(text) in known else max((overlap(text, other) for other in shown), default=0.0) for text in told.scored]
    found = [share for text, share in zip(told.scored, closest, strict=True) if share >= NEAR_DUPLICATE and words(text)]
    return len(found), max(found, default=0.0)


def problems_of_all(features: Sequence[Feature]) -> Iterator[Problem]:
    """What is wrong with the data as a whole."""
    texts = Counter(" ".join(told.text.casefold().split()) for feature in features for told in feature.told if is_explanation(told))
    for text, count in texts.most_common():
        if count > 1:
            yield Problem(kind="same-explanation", site="", what=f"{text[:80]!r} explains {count} times.", n=count)
    nameless = [feature for feature in features if any(record.document is None for record in feature.records)]
    if nameless:
        yield Problem(
            kind="documents-unknown",
            site="",
            what="The records do not say which documents they are from: they are held apart by their text, not by document.",
            n=len(nameless),
        )


def summed(problems: Sequence[Problem]) -> list[tuple[ProblemKind, str, int]]:
    """Of every kind the first problem, with its site, and how many more there are."""
    kinds: dict[ProblemKind, list[Problem]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(problem)
    return [
        (kind, f"{found[0].site}: {found[0].what}" if found[0].site else found[0].what, len(found) - 1) for kind, found in kinds.items()
    ]
