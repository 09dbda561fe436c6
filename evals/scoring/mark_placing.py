"""Which tokens of an excerpt are marked, for questions about a place in it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agents.explainers.marked_text import MARKED_LEVEL, marked_line, marks
from agents.untrusted import one_line
from analyzers.evidence import Excerpt
from evals.scoring.material import LOUD, SILENT

Bools = npt.NDArray[np.bool_]
"""[token]"""


def shown(excerpt: Excerpt, marked: Bools) -> str:
    """The excerpt on one line, runs of marked tokens between <<>> (or more brackets, where the text itself has some)."""
    levelled = [(token, MARKED_LEVEL if mark else 0) for token, mark in zip(excerpt.tokens, marked.tolist(), strict=True)]
    return marked_line(levelled, *marks([one_line(excerpt.text)])).strip()


def listed(excerpt: Excerpt, marked: Bools) -> str:
    """What is marked, with a comma between two stretches."""
    return ", ".join(one_line("".join(excerpt.tokens[run])).strip() for run in runs(marked))


def fires(excerpt: Excerpt, peak: float) -> Bools:
    """The tokens on which the site fires."""
    return np.asarray(excerpt.activations >= LOUD * peak)


def silent(excerpt: Excerpt, peak: float) -> Bools:
    """The tokens on which it verifiably does not and that can be seen when marked."""
    seen = np.array([bool(token.strip()) for token in excerpt.tokens])
    quiet: Bools = seen & (excerpt.activations < SILENT * peak)
    return quiet


def runs(marked: Bools) -> list[slice]:
    """The stretches of marked tokens."""
    edges = np.flatnonzero(np.diff(np.r_[False, marked, False]))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def moved(marked: Bools, free: Bools, tokens: Sequence[str], rng: np.random.Generator) -> Bools | None:
    """As many marks in stretches as long, drawn among the free tokens; None where these are too few.

    The stretches do not touch, and each begins with a token of the sort that the one it stands for begins with, a word or a sign, where
    there is one: else that alone would tell the wrong marks from the right ones. A stretch for which there is no place is broken up.
    """
    words = np.array([any(c.isalnum() for c in token) for token in tokens])
    lengths = [(run.stop - run.start, bool(words[run.start])) for run in runs(marked)]
    taken = np.zeros_like(marked)
    for length, word in sorted(lengths, reverse=True):
        places = _places(free, taken, length)
        if not len(places) and length > 1:
            # Apart, they may touch others.
            left = np.flatnonzero(free & ~taken)
            if len(left) < length:
                return None
            taken[rng.choice(left, length, replace=False)] = True
            continue
        if not len(places):
            places = np.flatnonzero(free & ~taken)
        if not len(places):
            return None
        alike = places[words[places] == word]
        start = int(rng.choice(alike if len(alike) else places))
        taken[start : start + length] = True
    return taken


def _places(free: Bools, taken: Bools, length: int) -> npt.NDArray[np.intp]:
    """Where a stretch could begin without touching another."""
    near = taken | np.r_[taken[1:], False] | np.r_[False, taken[:-1]]
    blocked = np.r_[0, np.cumsum(~free | near)]
    return np.flatnonzero(blocked[length:] == blocked[: len(blocked) - length])


def draw_for(seed: int, excerpt: Excerpt) -> np.random.Generator:
    """Draws that depend on the seed and the excerpt alone, whatever else is asked."""
    return np.random.default_rng([seed, *excerpt.key.encode()])
