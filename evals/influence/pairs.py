"""Whether a text that is expected to move a query more than another one does: a translation against text of the same language that says
something else, or key phrases in the order of the query against the flipped order (Grosse et al. 2023).

That a text moves a query says little where it moves every query: each pair is also put to all other queries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.corpus import Document
from analyzers.errors import CorpusError, Failed
from analyzers.progress import Report, quiet
from evals.influence.asked import checked, kept_source, method_of, model_of, text_lines_of
from evals.influence.baselines import Floats, baselines, known
from evals.influence.config import PAIR, PairsConfig
from evals.influence.evaluate_results import Measure
from evals.influence.influences import influence, logprobs
from evals.influence.known_truth import Scores, apart, of_others, other_queries, preferred
from evals.influence.measures import standardised
from evals.influence.pairs_results import Both, Pairs, ScoredPair
from evals.influence.query import notes_of_rank
from evals.number_of import number_of
from evals.results import Failure, Value, failure
from evals.source_files import sources
from evals.statistics import not_excluded

if TYPE_CHECKING:
    from analyzers.influence.factors import Factors
    from analyzers.influence.kinds import Method
    from analyzers.influence.passages import Passage
    from analyzers.influence.scoring import Query
    from analyzers.text_model import TextModel

FEW = 20
"""Pairs below which it is told that there are few."""
NOT_APART = ("tf_idf", "length")
"""Methods whose scores are not told in units."""


@dataclass(frozen=True)
class Pair:
    """A line of the file."""

    where: str
    """What it is called in messages."""
    prompt: str
    completion: str
    one: str
    other: str


def run_pairs(config: PairsConfig, *, tell: Callable[[str], None] = lambda _: None, report: Report = quiet) -> Pairs:
    """Score both texts of every pair for all queries. tell: as in `run_query`. Raises ExplicateError for what the user can mend."""
    # What is misspelt or missing is told before a model is loaded.
    config.check()
    every = pairs_in(config.pairs)
    from analyzers.influence.factors import Factors

    factors = Factors.open(config.folder)
    method, source = method_of(factors, config), kept_source(factors)
    from analyzers.influence.passages import drawn
    from analyzers.influence.watching import watched

    pairs = drawn(every, config.limit, config.seed)
    model = model_of(factors, config, report)
    queries = checked(model, [(f"{pair.where}: ", pair.prompt, pair.completion) for pair in pairs])
    length = int(source["length"])
    texts, cut = texts_of(model, pairs, length)
    modules = watched(model, factors.kind)
    scores, kept = pair_scores(model, modules, factors, queries, texts, method=method, rank=config.rank, tell=tell, report=report)
    share = preferred(scores, seed=config.seed)
    return Pairs(
        measures={"preferred": share, "apart": _apart(scores, config.seed)},
        pairs=_told(pairs, texts, scores, logprobs(model, queries)),
        in_file=len(every),
        cut=cut,
        length=length,
        layers=list(modules),
        method=method,
        rank=config.rank,
        kept=kept,
        model=factors.model,
        source={**sources([config.pairs]), "curvature": source["train"]},
        seed=config.seed,
        notes=_notes(len(pairs), share.figures[method], cut, length, kept),
    )


def pairs_in(path: Path) -> list[Pair]:
    """Raises CorpusError, which names file and line, for what is no pair, for a query that is asked twice, and for less than two pairs."""
    found: list[Pair] = []
    asked: dict[tuple[str, str], str] = {}
    for where, (prompt, completion, one, other) in text_lines_of(path, "--pairs", ("prompt", "completion", "one", "other"), PAIR):
        if one.strip() == other.strip() or not (one.strip() and other.strip()):
            raise CorpusError(f"{where}: `one` and `other` are the same, or one is blank: they are compared; give lines such as {PAIR}")
        before = asked.setdefault((prompt, completion), where)
        if before != where:
            # It would stand among its own control, and intervals would count it as two.
            raise CorpusError(f"{where} asks what {before} asks: give each query once, and other texts for it in another file")
        found.append(Pair(where, prompt, completion, one, other))
    if len(found) < 2:
        raise CorpusError(f"--pairs {str(path)!r} holds {number_of('pair', len(found))}: intervals are over pairs; give two or more")
    return found


def texts_of(model: "TextModel", pairs: Sequence[Pair], length: int) -> "tuple[list[Passage], int]":
    """(of all pairs the one as the model reads it, then the other of all, how many were cut at so many tokens).

    Raises CorpusError for a text of which the model says no token, and for two that it reads alike.
    """
    from analyzers.influence.passages import passages

    written = [pair.one for pair in pairs] + [pair.other for pair in pairs]
    first: dict[str, Passage] = {}
    for passage in passages(model, [Document(str(place), "", text) for place, text in enumerate(written)], length=length):
        first.setdefault(passage.document, passage)
    for place, pair in enumerate([*pairs, *pairs]):
        if str(place) not in first:
            raise CorpusError(f"{pair.where}: {written[place]!r} is a single token, of which {model.name} says nothing; give a longer text")
    found = [first[str(place)] for place in range(len(written))]
    for pair, one, other in zip(pairs, found[: len(pairs)], found[len(pairs) :], strict=True):
        if one.ids == other.ids:
            raise CorpusError(
                f"{pair.where}: `one` and `other` are the same for the {length} tokens that are read, as many as the factors were fitted "
                "to; fit with a larger --length, or give texts that differ sooner"
            )
    return found, sum(text.span[1] < len(whole.rstrip()) for text, whole in zip(found, written, strict=True))


def pair_scores(
    model: "TextModel",
    modules: Mapping[str, Any],
    factors: "Factors",
    queries: "Sequence[Query]",
    texts: "Sequence[Passage]",
    *,
    method: "Method",
    rank: int,
    tell: Callable[[str], None] = lambda _: None,
    report: Report = quiet,
) -> tuple[dict[str, Floats | Failed], float]:
    """(by method [query, text], the method itself first, smallest share of a query that the low rank keeps at any layer)."""
    found = influence(model, modules, factors, queries, [], [], texts, method=method, rank=rank, tell=tell, report=report)
    each = range(len(queries))
    ours = np.stack([found.of(query) for query in each])
    plain = [row for row in map(found.plain, each) if row is not None]
    words = baselines([query.prompt + query.completion for query in queries], [text.text for text in texts], report=report)
    lengths = np.tile([float(len(text.ids)) for text in texts], (len(queries), 1))
    gradients = {"gradient": np.stack(plain)} if plain else {}
    return {method: ours, **gradients, **words, "length": lengths}, float(found.scores.kept[: len(queries)].min())


def _apart(scores: Scores, seed: int) -> Measure:
    """In units of the root mean square over all texts of the file; beside it what the same texts do to the other queries."""
    inside = {name: each for name, each in scores.items() if name not in NOT_APART}
    ours = known(scores)[next(iter(scores))]
    elsewhere = of_others(np.stack([standardised(row) for row in ours]))
    return apart({**inside, "other_queries": elsewhere}, {**inside, "other_queries": np.ones_like(elsewhere)}, ("one", "other"), seed=seed)


def _told(pairs: Sequence[Pair], texts: "Sequence[Passage]", scores: Scores, said: Sequence[float]) -> list[ScoredPair]:
    many = len(pairs)
    others = other_queries(known(scores)[next(iter(scores))])
    return [
        ScoredPair(
            prompt=pair.prompt,
            completion=pair.completion,
            logprob=said[at],
            one=texts[at].text,
            other=texts[many + at].text,
            scores={
                name: failure(each) if isinstance(each, Failed) else Both(one=float(each[at, at]), other=float(each[at, many + at]))
                for name, each in scores.items()
            },
            other_queries=float(others[at]),
        )
        for at, pair in enumerate(pairs)
    ]


def _notes(many: int, share: Value | Failure, cut: int, length: int, kept: float) -> list[str]:
    notes = []
    if isinstance(share, Value) and share.low == share.high:
        notes.append(
            f"all {many} pairs came out alike, so that their interval has no width: of others like them up to {1 - not_excluded(many):.0%} "
            "may not"
        )
    if many < FEW:
        notes.append(f"few pairs ({many}): intervals over them are likely too narrow")
    if cut:
        notes.append(
            f"{number_of('text', cut)} of {2 * many} had more than the {length} tokens that are read; of these the beginning counts"
        )
    return notes + notes_of_rank(kept)
