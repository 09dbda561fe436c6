"""What ranks passages without the model: words that they share with a query, and how near they are in meaning."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from analyzers.progress import Report, quiet

Floats = npt.NDArray[np.float64]
K1, B = 1.2, 0.75
"""Of BM25 (Robertson and Zaragoza 2009)."""
WORD = r"(?u)\b\w+\b"
EMBEDDER = "minilm"
NO_WORDS = "no word stands in the passages"


def baselines(queries: Sequence[str], texts: Sequence[str], *, report: Report = quiet) -> dict[str, Floats | Failed]:
    """By name [query, text] how near each text is to each query: bm25, tf_idf, embedding."""
    return {"bm25": bm25(queries, texts), "tf_idf": tf_idf(queries, texts), "embedding": embedding(queries, texts, report=report)}


def bm25(queries: Sequence[str], texts: Sequence[str]) -> Floats | Failed:
    """[query, text] Okapi BM25, with the inverse document frequency that is never below 0; a word that a query has twice counts twice."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter: Any = CountVectorizer(token_pattern=WORD)
    try:
        counts = counter.fit_transform(texts).astype(np.float64)
    except ValueError:
        return Failed("baseline", NO_WORDS)
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    with_word = np.bincount(counts.indices, minlength=counts.shape[1])
    rarity = np.log1p((len(texts) - with_word + 0.5) / (with_word + 0.5))
    rows = np.repeat(np.arange(len(texts)), np.diff(counts.indptr))
    slack = K1 * (1 - B + B * lengths[rows] / lengths.mean())
    counts.data = rarity[counts.indices] * counts.data * (K1 + 1) / (counts.data + slack)
    found: Floats = np.asarray((counter.transform(queries) @ counts.T).todense(), np.float64)
    return found


def tf_idf(queries: Sequence[str], texts: Sequence[str]) -> Floats | Failed:
    """[query, text] cosine of their words' counts, each weighed by how rare it is among the texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigher: Any = TfidfVectorizer(token_pattern=WORD)
    try:
        weighed = weigher.fit_transform(texts)
    except ValueError:
        return Failed("baseline", NO_WORDS)
    found: Floats = np.asarray((weigher.transform(queries) @ weighed.T).todense(), np.float64)
    return found


def embedding(queries: Sequence[str], texts: Sequence[str], *, report: Report = quiet) -> Floats | Failed:
    """[query, text] cosine of sentence embeddings; Failed where the encoder was not fetched before, since a query fetches nothing."""
    from analyzers.asset_table import assets
    from analyzers.embeddings import Embedder

    if not any(asset.name == EMBEDDER and asset.cached is not None for asset in assets()):
        return Failed("baseline", f"{EMBEDDER} is not on this machine; `explicate models {EMBEDDER}` fetches it")
    vectors = Embedder.load(EMBEDDER, report=report).embed([*queries, *texts], report=report)
    found: Floats = (vectors[: len(queries)] @ vectors[len(queries) :].T).astype(np.float64)
    return found


def places(values: npt.ArrayLike) -> Floats:
    """[text] rank of each value, 1 the largest; equal ones share the mean of their ranks, as if they were drawn at random."""
    from scipy.stats import rankdata

    found: Floats = rankdata(-np.asarray(values, np.float64))
    return found


def known(scores: Mapping[str, Floats | Failed]) -> dict[str, Floats]:
    """Those that did not fail."""
    return {name: each for name, each in scores.items() if not isinstance(each, Failed)}
