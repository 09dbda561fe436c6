"""What the words alone say of the truth: a detector that has read no model."""

from collections.abc import Sequence

import numpy as np

from analyzers.errors import Failed
from analyzers.progress import Report, quiet
from evals.probes.truth_intervals import Flags
from evals.scores import Floats, Indices

WORD = r"(?u)\b\w+\b"


def bag_of_words(texts: Sequence[str], true: Flags, part: Indices, *, report: Report = quiet) -> Floats | Failed:
    """[statement] log-odds of logistic regression on tf-idf of words and pairs of words, trained on all other parts; 0 where a statement
    has no word of them. Failed where no word can be counted."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    found = np.empty(len(texts))
    numbers = np.unique(part)
    for done, number in enumerate(numbers, 1):
        own = part == number
        reading = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=WORD)
        try:
            counts = reading.fit_transform([text for text, left in zip(texts, own, strict=True) if not left])
        except ValueError as error:
            return Failed("bag_of_words", f"no words to count: {error}")
        model = LogisticRegression(max_iter=1000).fit(counts, true[~own])
        found[own] = model.decision_function(reading.transform([text for text, left in zip(texts, own, strict=True) if left]))
        report("bag of words", done, len(numbers))
    return found


def best_threshold(scores: Floats, true: Flags) -> float:
    """The threshold above which most statements are true and below which most are false: halfway between two scores."""
    order = np.argsort(scores, kind="stable")
    ranked, label = scores[order], true[order]
    # Of the cut behind the first k: the false ones before it and the true ones after it are right.
    right = np.concatenate([[0], np.cumsum(~label)]) + np.concatenate([np.cumsum(label[::-1])[::-1], [0]])
    allowed = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
    cut = int(np.argmax(np.where(allowed, right, -1)))
    if cut == 0:
        return float(ranked[0] - 1)
    return float(ranked[-1] + 1) if cut == len(ranked) else float((ranked[cut - 1] + ranked[cut]) / 2)
