"""Influence of passages on queries, on what they are held against, and by plain gradients: many in one pass, and kept on disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from analyzers.progress import Report, quiet
from analyzers.settings import settings
from evals.code_version import code_hash
from evals.influence.measures import standardised
from evals.number_of import number_of, size_of

if TYPE_CHECKING:
    from analyzers.influence.factors import Factors
    from analyzers.influence.kinds import Method
    from analyzers.influence.passages import Passage
    from analyzers.influence.scoring import LowRank, Query, Scores
    from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]
ROOM = 2_000_000_000
"""Bytes for what queries, controls among them, are known by that share a pass over the passages: the fewer, the longer they are, the larger
their rank and the model."""


@dataclass(frozen=True, eq=False)
class Influence:
    """Of some queries, of a control of each, and of plain gradients."""

    scores: "Scores"
    """Of the queries, their controls, pieces of text from elsewhere, and where the method is another one the queries by the identity, in
    this order."""
    queries: int
    pieces: int
    gradient: bool

    def of(self, query: int) -> Floats:
        """[passage]"""
        found: Floats = self.scores.total[query].astype(np.float64)
        return found

    def control(self, query: int) -> Floats:
        """[passage] on the control."""
        return self.of(self.queries + query)

    def plain(self, query: int) -> Floats | None:
        """[passage] inner product of the gradients."""
        return self.of(len(self.scores.kept) - self.queries + query) if self.gradient else None

    def elsewhere(self, own: Sequence[int]) -> Floats:
        """[passage] mean over the pieces, each in units of the root mean square over passages; own: of each piece the passage that it is
        of, which does not count for it."""
        rows = np.stack([standardised(self.of(2 * self.queries + piece)) for piece in range(self.pieces)])
        left = np.ones_like(rows)
        left[np.arange(self.pieces), list(own)] = 0.0
        found: Floats = (rows * left).sum(axis=0) / np.maximum(left.sum(axis=0), 1.0)
        return found


def influence(
    model: "TextModel",
    modules: Mapping[str, Any],
    factors: "Factors",
    queries: "Sequence[Query]",
    controls: "Sequence[Query]",
    pieces: "Sequence[Query]",
    passages: "Sequence[Passage]",
    *,
    method: "Method",
    rank: int,
    tell: Callable[[str], None] = lambda _: None,
    report: Report = quiet,
) -> Influence:
    """Of all passages on queries, controls and pieces, and on the queries by plain gradients: as many in a pass as there is room for.

    What is known is kept, so that the same question goes on where it was killed, and is answered at once when it is asked again.
    """
    from analyzers.influence.kept_scores import answered, known_in, noting, question
    from analyzers.influence.scoring import batched, joined, precondition, score, together
    from analyzers.influence.watching import shapes
    from analyzers.pass_folder import content_key

    curved: list[Query] = [*queries, *controls, *pieces]
    asked: list[tuple[Method, Query]] = [(method, query) for query in curved]
    if method != "identity":
        asked += [("identity", query) for query in queries]

    def by(which: "Method", some: "Sequence[tuple[Method, Query]]") -> "Mapping[str, LowRank]":
        chosen = [query for its, query in some if its == which]

        def told(what: str, done: int, total: int) -> None:
            report(f"{what}: {which}", done, total)

        return precondition(model, modules, chosen, lambda name: factors.curvature(name, which, model.device), rank=rank, report=told)

    # Of every layer as many rows of its outputs and inputs as a query has tokens, and then ranks.
    sides = [outputs + inputs for outputs, inputs in shapes(modules).values()]
    row = 4 * sum(sides)
    sizes = [row * (len(query.ids(model)[0]) + rank) for _, query in asked]
    shared = passes(sizes, ROOM)
    tokens = sum(len(passage.ids) - 1 for passage in passages)
    deciding = [code_hash(), version("torch"), dict(model.identity), model.device.type, factors.state(), rank, shared]
    texts = [[(which, query.ids(model)) for which, query in asked], [passage.ids for passage in passages]]
    folder = settings().passes / "influence" / "scores" / content_key(factors.info) / content_key([*deciding, *texts])
    kept = 4 * len(asked) * (len(modules) * len(passages) + tokens)
    # Factors of one layer; scores, and once more while they are noted or those of several passes are joined.
    memory = max(sum(sizes[place] for place in some) for some in shared) + 4 * max(sides) ** 2 + 2 * kept
    tell(
        f"scored before, and kept: {number_of('passage', len(passages))}; nothing is computed again"
        if answered(folder)
        else f"to score: {number_of('passage', len(passages))}, {tokens:,} tokens, for {number_of('gradient', len(asked))} (of queries and "
        f"what they are held against) in {'one pass' if len(shared) == 1 else f'{len(shared)} passes'}; up to {size_of(memory)} of memory "
        f"besides the model and a batch of text, {size_of(kept)} on disk until the next question to these factors"
    )
    found = []
    with question(folder, report):
        for number, own in enumerate(shared):
            some = [asked[place] for place in own]
            known = known_in(folder / str(number), passages)
            low: Mapping[str, LowRank] = {}
            if known is None or known.batches < len(batched(passages)):
                low = together(*(by(which, some) for which in dict.fromkeys(its for its, _ in some)))
            note = noting(folder / str(number), passages)
            found.append(score(model, modules, low, passages, known=known, note=note, report=report))
    return Influence(joined(found), len(queries), len(pieces), method != "identity")


def passes(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Places of what goes together, in order: as many as there is room for, and one at least."""
    found: list[list[int]] = []
    left = 0
    for place, size in enumerate(sizes):
        if not found or size > left:
            found.append([])
            left = room
        found[-1].append(place)
        left -= size
    return found


def logprobs(model: "TextModel", queries: "Sequence[Query]") -> list[float]:
    """Of each completion behind its prompt, in nats."""
    from analyzers.growing.token_scores import score_tokens

    read = [query.ids(model) for query in queries]
    found = score_tokens(model, [ids for ids, _ in read])
    return [float(each.logprobs[first - 1 :].sum()) for each, (_, first) in zip(found, read, strict=True)]
