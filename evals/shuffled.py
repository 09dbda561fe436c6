"""The shuffled control: a site is scored on an explanation with another text, of another site.

Where the run has none to lend, a stand-in is lent, which the template made for a neuron drawn at random. It is drawn by seed and site
before anything is explained, so there are two with different texts: one of them is not the site's own explanation.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from agents.explainers import EXPLAINERS
from agents.explanation import Explanation
from analyzers.errors import Failed, SubjectError
from analyzers.evidence import Evidence
from analyzers.sites import Site
from analyzers.store import ActivationStore
from analyzers.subject import Subject
from evals.work import Work

DRAWN = 100
"""Neurons, at most."""


def drawn_neurons(site: Site, subject: Subject, store: ActivationStore, seed: int) -> Iterator[Evidence]:
    """Yield the evidence of neurons drawn by seed and site, so that they do not depend on the run's other sites."""
    rng = np.random.default_rng([seed, zlib.crc32(str(site).encode())])
    for _ in range(DRAWN):
        layer = int(rng.integers(subject.layers))
        yield store.evidence(Site(layer, int(rng.integers(subject.neurons[layer]))), subject.token_text)


async def stand_ins(site: Site, others: Iterable[Evidence], subject: str) -> tuple[str, ...]:
    """Two template explanations of other sites that differ in text; one where all have the same. subject: its name, for messages.

    Raises SubjectError where none fires.
    """
    template = EXPLAINERS.create("template")
    found: list[str] = []
    for other in others:
        (lent,) = await template.explain(other.splits["explain"], candidates=1, seed=0)
        if isinstance(lent, Explanation) and other.site.name != site.name and not any(_same(lent.text, text) for text in found):
            found.append(lent.text)
        if len(found) == 2:
            break
    if not found:
        raise SubjectError(
            f"{DRAWN} neurons of {subject!r} drawn at random do not fire at all on this corpus; sample more text with --tokens"
        )
    return tuple(found)


def lend(works: Sequence[Work], seed: int) -> None:
    """Give every site with an explanation one with another text: another site's, or else a stand-in; Failed where all are the same."""
    own = [None if work.chosen is None else work.chosen.text for work in works]
    for work, text, found in zip(works, own, lent(own, own, seed), strict=True):
        if text is not None:
            nothing = Failed("shuffle", f"no explanation of another site has another text than {text!r}")
            texts = work.stand_ins if found is None else (found,)
            work.shuffled = next((other for other in texts if not _same(other, text)), nothing)


def lent(own: Sequence[str | None], lendable: Sequence[str | None], seed: int) -> list[str | None]:
    """For every site with an explanation of its own the first lendable text of another site, in an order drawn by seed, that is not the
    same; None where there is none."""
    order = np.random.default_rng([seed, 2]).permutation(len(own)).tolist()
    found: list[str | None] = [None] * len(own)
    for position, index in enumerate(order):
        mine = own[index]
        if mine is not None:
            texts = (lendable[order[(position + step) % len(own)]] for step in range(1, len(own)))
            found[index] = next((text for text in texts if text is not None and not _same(text, mine)), None)
    return found


def _same(a: str, b: str) -> bool:
    return a.casefold().split() == b.casefold().split()
