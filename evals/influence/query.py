"""Which passages of a text moved some answers: influence of all of them, many queries in one pass, beside what ranks without the model."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analyzers.corpus import documents
from analyzers.errors import Failed
from analyzers.progress import Report, quiet
from analyzers.whole_text import whole_text
from evals.influence.asked import asked_in, check_same_text, checked, kept_source, method_of, model_of, source_of
from evals.influence.baselines import baselines, places
from evals.influence.config import QueryConfig
from evals.influence.controls import controls_of, elsewhere
from evals.influence.influences import Influence, influence, logprobs
from evals.influence.measures import agreement, concentration, standardised, unit
from evals.influence.prefilter import prefiltered
from evals.influence.results import Concentration, Control, Influences, Queried, RankedPassage, TokenScore
from evals.number_of import number_of
from evals.results import failure, stored
from evals.statistics import mean

if TYPE_CHECKING:
    from analyzers.influence.factors import Factors
    from analyzers.influence.passages import Passage
    from analyzers.influence.scoring import Query
    from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]
FEW = 100
"""Passages below which it is told that there are few."""
CONTROLS = ("control", "elsewhere")
LITTLE_KEPT = 0.9
"""Share of a query's squared norm below which it is told that the low rank loses some."""


def run_query(config: QueryConfig, *, tell: Callable[[str], None] = lambda _: None, report: Report = quiet) -> Influences:
    """Score all passages for all queries. tell: a line of what it takes, before it begins.

    Raises ExplicateError for what the user can mend.
    """
    # What is misspelt, missing or of another text is told before a model is loaded.
    config.check()
    asked = asked_in(config)
    from analyzers.influence.factors import Factors

    factors = Factors.open(config.folder)
    method = method_of(factors, config)
    source = source_of(factors, config, report)
    from analyzers.influence.passages import drawn, passages
    from analyzers.influence.watching import watched

    kept = kept_source(factors)
    model = model_of(factors, config, report)
    queries = checked(model, asked)
    every = passages(model, documents(source["train"], report=report), length=int(kept["length"]), report=report)
    text = every if config.train is not None else drawn(every, int(kept["limit"]) if kept["limit"] else None, int(kept["seed"]))
    if config.train is None:
        check_same_text(factors, text, config)
    candidates = prefiltered(queries, text, config.prefilter)
    modules = watched(model, factors.kind)
    controls = controls_of(model, queries, candidates, seed=config.seed)
    pieces = elsewhere(candidates, seed=config.seed)
    found = influence(
        model,
        modules,
        factors,
        queries,
        [query for query, _ in controls],
        [piece for _, piece in pieces],
        candidates,
        method=method,
        rank=config.rank,
        tell=tell,
        report=report,
    )
    general = found.elsewhere([place for place, _ in pieces])
    tops = [set(_top(found.of(number), config.top)) for number in range(len(queries))]
    others = baselines([query.prompt + query.completion for query in queries], [each.text for each in candidates], report=report)
    said = logprobs(model, queries)
    told = []
    for number, query in enumerate(queries):
        report("measure rankings", number, len(queries))
        rows: dict[str, Floats | Failed] = {name: each if isinstance(each, Failed) else each[number] for name, each in others.items()}
        plain = found.plain(number)
        if plain is not None:
            rows["gradient"] = plain
        rows |= {"control": found.control(number), "elsewhere": general}
        others_top = [top for place, top in enumerate(tops) if place != number]
        told.append(_queried(model, query, controls[number][1], number, found, candidates, rows, others_top, said[number], config))
    report("measure rankings", len(queries), len(queries))
    least = float(found.scores.kept[: len(queries)].min())
    return Influences(
        queries=told,
        layers=list(found.scores.layers),
        method=method,
        rank=config.rank,
        kept=least,
        prefilter=config.prefilter,
        candidates=len(candidates),
        passages=len(text),
        model=factors.model,
        source=source,
        seed=config.seed,
        notes=_notes(config, factors, text, candidates, queries, least),
    )


def _top(influence: Floats, count: int) -> list[int]:
    found: list[int] = np.argsort(-influence, kind="stable")[:count].tolist()
    return found


def _queried(
    model: "TextModel",
    query: "Query",
    control: Control,
    number: int,
    found: Influence,
    candidates: "Sequence[Passage]",
    others: Mapping[str, Floats | Failed],
    others_top: Sequence[set[int]],
    said: float,
    config: QueryConfig,
) -> Queried:
    own = found.of(number)
    order = _top(own, config.top)
    controls = {name: each for name in CONTROLS if not isinstance(each := others[name], Failed)}
    ranks = {name: each if isinstance(each, Failed) else places(each) for name, each in others.items() if name not in CONTROLS}
    unspecific = np.any([standardised(each) >= standardised(own) for each in controls.values()], axis=0)
    shared = {name: set(_top(each, len(order))) for name, each in controls.items()}
    shared_top = {name: mean([float(place in top) for place in order], seed=config.seed) for name, top in shared.items()}
    held = concentration(own, seed=config.seed)
    return Queried(
        prompt=query.prompt,
        completion=query.completion,
        logprob=said,
        control=control,
        kept=float(found.scores.kept[number].min()),
        unit=unit(own),
        control_unit=unit(found.control(number)),
        passages=[
            RankedPassage(
                rank=at + 1,
                document=candidates[place].document,
                span=candidates[place].span,
                text=candidates[place].text,
                score=float(own[place]),
                by_layer=dict(zip(found.scores.layers, found.scores.by_layer[number, :, place].tolist(), strict=True)),
                tokens=_tokens(model, candidates[place], found.scores.by_token[place][number].tolist()),
                ranks={name: failure(each) if isinstance(each, Failed) else float(each[place]) for name, each in ranks.items()},
                control=float(controls["control"][place]),
                elsewhere=float(controls["elsewhere"][place]),
                unspecific=bool(unspecific[place]),
                also_top=sum(place in top for top in others_top),
            )
            for at, place in enumerate(order)
        ],
        concentration=Concentration(top_1=held[0.01], top_10=held[0.1], shares=list(held), held=list(held.values())),
        agreement=agreement(own, others, seed=config.seed),
        shared_top=stored(shared_top),
        shared_top_by_chance=len(order) / len(own),
    )


def _tokens(model: "TextModel", passage: "Passage", scores: Sequence[float]) -> list[TokenScore]:
    """Every character of the passage once, though tokens may share one."""
    found, reached = [], 0
    for number, span, score in zip(passage.ids, passage.spans, [*scores, None], strict=True):
        if span is None:
            text = whole_text(model.tokens.text(number))
        else:
            text = passage.text[max(span[0], reached) : span[1]]
            reached = max(reached, span[1])
        found.append(TokenScore(text=text, score=score, special=span is None))
    return found


def _grown_together(query: "Query") -> bool:
    """Whether letters or digits of both ends meet, in a script that has spaces between words."""
    ends = query.prompt[-1:] + query.completion[:1]
    return len(ends) == 2 and ends.isascii() and ends.isalnum()


def _notes(
    config: QueryConfig,
    factors: "Factors",
    text: "Sequence[Passage]",
    candidates: "Sequence[Passage]",
    queries: "Sequence[Query]",
    kept: float,
) -> list[str]:
    notes = []
    if config.prefilter is not None:
        notes.append(
            f"only the {len(candidates):,} of {number_of('passage', len(text))} that are nearest by TF-IDF were scored: what moves an "
            "answer in other words is not among them; `explicate influence evaluate` measures how much that loses"
        )
    if config.train is not None:
        notes.append(f"the curvature is of {factors.info['source']['train']}, the passages are of {config.train}")
    grown = [query for query in queries if _grown_together(query)]
    if grown:
        notes.append(
            f"no space lies between a prompt and its completion: what is scored is {(grown[0].prompt + grown[0].completion)[-30:]!r}; "
            "begin the completion with one if a new word is meant"
        )
    if len(candidates) < FEW:
        notes.append(f"few passages ({len(candidates)}): of so few the most influential ones need not be influential")
    return notes + notes_of_rank(kept)


def notes_of_rank(kept: float) -> list[str]:
    """What is told where a low rank keeps little; kept: the smallest share of a query's squared norm."""
    return (
        [f"the low rank keeps {kept:.0%} of a query's gradient at the layer where it keeps least; more by --rank"]
        if kept < LITTLE_KEPT
        else []
    )
