"""How much each passage of training text moves the log-probability of a completion, by the tokens of the passage and by layer.

Influence is the gradient of the query, made small in rank by layer, times the inverse curvature times the gradient of the passage; a
positive one says that the passage, had it counted more in training, would have made the completion more probable. Many queries share one
pass over the passages. Source: Grosse et al. 2023, equations 5 and 28 to 31, query batching of section 3.2.2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from analyzers.errors import SubjectError
from analyzers.influence.curvature import DAMPING, Curvature
from analyzers.influence.passages import Passage
from analyzers.influence.watching import Traces, own_tokens, traces
from analyzers.padding import like_lengths
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float32]
RANK = 32
"""Of a query's preconditioned gradient at each layer (Grosse et al. 2023)."""
BATCH_TOKENS = 1024
PRECONDITION, SCORE = "precondition queries", "score passages"


@dataclass(frozen=True)
class Query:
    """What was said, and behind what."""

    prompt: str
    completion: str

    def ids(self, model: TextModel) -> tuple[tuple[int, ...], int]:
        """(token ids behind what stands before every text, how many of them are only read).

        Raises SubjectError as TextModel.continuation does, and without a prompt where nothing stands before it.
        """
        read = model.begun(self.prompt).ids
        if self.prompt:
            said = model.continuation(self.prompt, self.completion)
        else:
            said = tuple(model.prompt(self.completion).ids)
            said = said[len(read) :] if said[: len(read)] == read else said
        if not read:
            raise SubjectError("a completion needs a prompt of at least one token; give --prompt")
        model.check_length(len(read) + len(said))
        return (*read, *said), len(read)


@dataclass(frozen=True)
class Tokens(Query):
    """A completion that is given by its tokens, as one that no text may read."""

    said: tuple[int, ...]

    def ids(self, model: TextModel) -> tuple[tuple[int, ...], int]:
        """As of any query; `completion` has no part in it."""
        read = model.begun(self.prompt).ids
        model.check_length(len(read) + len(self.said))
        return (*read, *self.said), len(read)


@dataclass(frozen=True)
class LowRank:
    """Preconditioned gradients of queries at one layer: the product of left and right transposed."""

    left: Tensor
    """[query, output, rank]"""
    right: Tensor
    """[query, input, rank]"""
    kept: tuple[float, ...]
    """Of each query the share of its squared norm that the rank keeps."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Influence of every passage on every query."""

    layers: tuple[str, ...]
    by_layer: Floats
    """[query, layer, passage]"""
    by_token: tuple[Floats, ...]
    """[passage][query, pos]: of every token that is read, all layers together; the last token is never read."""
    kept: Floats
    """[query, layer] share of the query's squared norm that its low rank keeps"""

    @property
    def total(self) -> Floats:
        """[query, passage]"""
        total: Floats = self.by_layer.sum(1)
        return total


@dataclass(eq=False)
class Known:
    """Scores of the passages of the first batches; the others have none yet."""

    by_layer: Floats
    """[query, layer, passage]"""
    by_token: list[Floats]
    """[passage][query, pos]"""
    kept: Floats
    """[query, layer]"""
    batches: int = 0

    @classmethod
    def none(cls, kept: Floats, passages: int) -> "Known":
        """Of so many passages."""
        return cls(np.zeros((*kept.shape, passages), np.float32), [np.zeros((len(kept), 0), np.float32)] * passages, kept)


def batched(passages: Sequence[Passage]) -> list[list[int]]:
    """Numbers of the passages that are scored together, in order."""
    return list(like_lengths([len(passage.ids) for passage in passages], BATCH_TOKENS))


def followed(model: TextModel, modules: Mapping[str, nn.Module], query: Query) -> dict[str, Traces]:
    """Of one query by layer: the log-probability of its completion, traced to every token before."""
    ids, first = query.ids(model)
    return traces(model, modules, [ids], own_tokens, [first])


def precondition(
    model: TextModel,
    modules: Mapping[str, nn.Module],
    queries: Sequence[Query],
    curvature: Callable[[str], Curvature],
    *,
    rank: int = RANK,
    damping: float = DAMPING,
    report: Report = quiet,
) -> dict[str, LowRank]:
    """By layer, the curvature's inverse times each query's gradient, in low rank.

    Every layer's curvature is read once for all queries. Raises SubjectError for a query that is no continuation or too long, or whose
    gradient is not finite, and for a layer of which nothing is curved.
    """
    # Traces, not gradients: of a few tokens they are small, and gradients of all layers at once would be as large as the model.
    wanted = [followed(model, modules, query) for query in queries]
    found = {}
    for done, name in enumerate(modules):
        report(PRECONDITION, done, len(modules))
        curved = curvature(name)
        try:
            parts = [_low_rank(curved, each[name], damping, rank) for each in wanted]
        except FloatingPointError as error:
            raise SubjectError(
                f"{model.name!r}, layer {name!r}: {error} in {model.identity.get('dtype')!r}; fit with --dtype float32"
            ) from error
        except ArithmeticError as error:
            raise SubjectError(f"layer {name!r}: {error}; fit to more text") from error
        left, right, kept = zip(*parts, strict=True)
        found[name] = LowRank(torch.stack(left), torch.stack(right), kept)
    report(PRECONDITION, len(modules), len(modules))
    return found


def joined(some: Sequence[Scores]) -> Scores:
    """Scores of the same passages on queries that were not scored together, one after the other."""
    return Scores(
        some[0].layers,
        np.concatenate([each.by_layer for each in some]),
        tuple(np.concatenate(rows) for rows in zip(*(each.by_token for each in some), strict=True)),
        np.concatenate([each.kept for each in some]),
    )


def together(*some: Mapping[str, LowRank]) -> dict[str, LowRank]:
    """Queries that were preconditioned apart, as of several methods, one after the other, for one pass; all of the same layers."""
    return {
        name: LowRank(
            torch.cat([each[name].left for each in some]),
            torch.cat([each[name].right for each in some]),
            tuple(kept for each in some for kept in each[name].kept),
        )
        for name in some[0]
    }


def norms(model: TextModel, modules: Mapping[str, nn.Module], passages: Sequence[Passage], *, report: Report = quiet) -> Floats:
    """[passage] length of each passage's gradient over all layers."""
    found = np.zeros(len(passages), np.float32)
    done = 0
    for batch in like_lengths([len(passage.ids) for passage in passages], BATCH_TOKENS):
        report("measure gradients", done, len(passages))
        total: Tensor | float = 0.0
        for each in traces(model, modules, [passages[number].ids for number in batch], own_tokens).values():
            # |E^T A|^2 is the sum over pairs of tokens of both inner products: no gradient is written out.
            total = total + ((each.errors @ each.errors.mT) * (each.inputs @ each.inputs.mT)).sum((1, 2))
        assert isinstance(total, Tensor)
        found[batch] = total.clamp(min=0).sqrt().cpu().numpy()
        done += len(batch)
    report("measure gradients", done, len(passages))
    return found


def _low_rank(curved: Curvature, query: Traces, damping: float, rank: int) -> tuple[Tensor, Tensor, float]:
    matrix = curved.solve_within(query, damping)
    if not matrix.isfinite().all():
        raise FloatingPointError("a query's gradient is not finite")
    if rank >= min(matrix.shape):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        right = right.T
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            left, values, right = torch.svd_lowrank(matrix, q=min(rank + max(rank, 16), *matrix.shape), niter=2)
    whole = float(matrix.square().sum())
    left, values, right = left[:, :rank], values[:rank], right[:, :rank]
    return *curved.out_of(left * values, right), float(values.square().sum()) / whole if whole else 1.0


def score(
    model: TextModel,
    modules: Mapping[str, nn.Module],
    queries: Mapping[str, LowRank],
    passages: Sequence[Passage],
    *,
    known: Known | None = None,
    note: Callable[[Known], None] = lambda _: None,
    report: Report = quiet,
) -> Scores:
    """Influence of all passages on all queries, by one forward and half a backward pass over them.

    known: scores of the same queries from before; where it has those of all passages, no query is needed. note: told what is known after
    every batch. Raises SubjectError for what is not finite.
    """
    names = tuple(modules)
    batches = batched(passages)
    if known is None:
        known = Known.none(np.array([queries[name].kept for name in names], np.float32).T, len(passages))
    done = sum(map(len, batches[: known.batches]))
    for batch in batches[known.batches :]:
        report(SCORE, done, len(passages))
        texts = [passages[number].ids for number in batch]
        total: Tensor | float = 0.0
        for at, (name, each) in enumerate(traces(model, modules, texts, own_tokens).items()):
            left = torch.einsum("bto,qor->btqr", each.errors, queries[name].left)
            right = torch.einsum("bti,qir->btqr", each.inputs, queries[name].right)
            tokens = (left * right).sum(-1)
            known.by_layer[:, at, batch] = tokens.sum(1).T.cpu().numpy()
            total = total + tokens
        assert isinstance(total, Tensor)
        for row, number in enumerate(batch):
            known.by_token[number] = total[row, : len(passages[number].ids) - 1].T.cpu().numpy()
        if not np.isfinite(known.by_layer[:, :, batch]).all():
            raise SubjectError(f"{model.name!r}: influences are not finite in {model.identity.get('dtype')!r}; fit with --dtype float32")
        done += len(batch)
        known.batches += 1
        note(known)
    report(SCORE, done, len(passages))
    return Scores(names, known.by_layer, tuple(known.by_token), known.kept)
