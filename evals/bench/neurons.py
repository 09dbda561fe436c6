"""The neurons of the benchmarks, chosen by a fixed rule from a pass over the default corpus."""

import numpy as np

from analyzers.evidence import Evidence
from analyzers.passes import open_pass
from analyzers.sites import Site
from analyzers.store import ActivationStore
from analyzers.subject import Subject

SUBJECT = "smollm2-135m"
CORPUS = "wikipedia-sample"
TOKENS = 200_000
SEED = 0
MOST_TYPES = 3
"""Different tokens at the peaks of the top explain excerpts, up to which a neuron counts as token-concentrated."""
LEAST_DOCUMENTS = 5
"""Documents that the top explain excerpts come from, at least: a word that one article repeats is not what the neuron fires on."""
DRAWN = 4000
"""Random neurons among which the token-concentrated ones are sought."""
LEAST_PEAK = 12.0
"""Standard deviations of the loudest peak from the mean, from which it does."""


def bench_pass() -> tuple[Subject, ActivationStore]:
    """The subject and its pass, made once and kept."""
    subject = Subject.load(SUBJECT)
    return subject, open_pass(subject, CORPUS, tokens=TOKENS, excerpt_tokens=32, seed=SEED)


def random_evidence(subject: Subject, store: ActivationStore, count: int) -> list[Evidence]:
    """Evidence of neurons drawn uniformly over all layers, the louder side of each, dead ones left out."""
    rng = np.random.default_rng(SEED)
    found: list[Evidence] = []
    while len(found) < count:
        layer = int(rng.integers(subject.layers))
        index = int(rng.integers(subject.neurons[layer]))
        evidence = store.evidence(Site(layer, index, store.dominant(layer, index)), subject.token_text)
        if evidence.peak > 0:
            found.append(evidence)
    return found


def concentrated_evidence(subject: Subject, store: ActivationStore, count: int) -> list[Evidence]:
    """Evidence of the first `count` token-concentrated neurons of the draw."""
    return [evidence for evidence in random_evidence(subject, store, DRAWN) if _concentrated(evidence)][:count]


def _concentrated(evidence: Evidence) -> bool:
    """Whether the neuron fires on few tokens, case and spaces aside, in several documents, and far above its usual."""
    tops = [excerpt for excerpt in evidence.splits["explain"] if excerpt.stratum == "top"]
    types = {excerpt.tokens[int(excerpt.activations.argmax())].strip().lower() for excerpt in tops}
    moments = evidence.moments
    documents = {excerpt.document for excerpt in tops}
    return (
        len(types) <= MOST_TYPES
        and len(documents) >= LEAST_DOCUMENTS
        and evidence.peak - evidence.site.sign * moments.mean > LEAST_PEAK * moments.variance**0.5
    )
