"""How influence is told, in the terminal and on its pages."""

from collections.abc import Mapping

from evals.influence.pairs_results import Pairs
from evals.influence.results import Queried, RankedPassage
from evals.results import Failure, Value
from explicate.probe_words import number

BASELINES: Mapping[str, str] = {
    "bm25": "BM25",
    "tf_idf": "TF-IDF",
    "embedding": "embedding",
    "gradient": "gradient",
    "control": "control",
    "elsewhere": "elsewhere",
}
KNOWS: Mapping[str, str] = {
    "bm25": "words that passage and query share, rare ones above others",
    "tf_idf": "the same, as the cosine of weighed counts",
    "embedding": "cosine of sentence embeddings",
    "gradient": "inner product of both gradients of the model, without its curvature",
    "control": "influence on a completion that says something else behind the same prompt; what helps one answer takes from others, so "
    "that a negative correlation with it is no sign that a ranking is specific",
    "elsewhere": "influence on pieces of other passages that were drawn: what moves them, too, moves whatever is said",
}
METHODS: Mapping[str, str] = {"ekfac": "EK-FAC", "kfac": "K-FAC", "diagonal": "diagonal", "identity": "identity (plain gradients)"}
SILENT = (
    "Influence is a local, first-order estimate of what a little more weight on a passage would do to the log-probability of the "
    "completion; it is not what leaving the passage out and training anew would do. Only passages that were scored have a rank. And they "
    "need not have been in training at all: the text that a published model was trained on is mostly not this file, so that a passage "
    "stands for others like it."
)


def headline(query: Queried, candidates: int, *, others: bool) -> str:
    """What is seen of a query with what it is to be read against; others: whether there are other queries."""
    top = query.concentration.top_10
    held = (
        f"the most influential tenth of {candidates:,} passages holds {percent(top)} of all positive influence (spread evenly: 10%)"
        if isinstance(top, Value)
        else f"no passage is known to help it ({top.reason})"
    )
    shown = len(query.passages)
    alike = sum(passage.unspecific for passage in query.passages)
    again = sum(passage.also_top > 0 for passage in query.passages)
    beside = f", and {again} are at the top for another query, too" if others else ""
    return (
        f"{held}; of the {shown} passages at the top {alike} raise what says something else at least as much, each in its own units{beside}"
    )


def pairs_headline(found: Pairs) -> str:
    """How often the expected text moves its query more, with what the same texts do to other queries, and with words alone."""
    figures = found.measures["preferred"].figures
    parts = [
        f"{what} {percent(value) if isinstance(value, Value) else 'not measured'}"
        for what, value in (
            ("the expected text moves its query more in", figures[found.method]),
            ("the same texts, put to the queries of other pairs:", figures["other_queries"]),
            ("by words in common (BM25):", figures["bm25"]),
        )
    ]
    return f"of {len(found.pairs):,} pairs {'; '.join(parts)}; chance is 50%"


def percent(value: Value) -> str:
    """A share with its interval."""
    return f"{value.value:.0%} [{value.low:.0%}, {value.high:.0%}]"


def rank_told(rank: float | Failure) -> str:
    """Of a baseline; half ranks are of equal values."""
    return "none" if isinstance(rank, Failure) else f"{rank:,.0f}" if rank == int(rank) else f"{rank:,.1f}"


def baselines_of(query: Queried) -> list[str]:
    """Names of those that were measured or failed."""
    passage: RankedPassage | None = query.passages[0] if query.passages else None
    return list(passage.ranks) if passage else []


def score_told(value: float) -> str:
    """An influence; very small and very large ones by their power of ten."""
    return number(value) if value == 0 or 1e-2 <= abs(value) < 1e6 else f"{value:.2e}"


def in_units(value: float, unit: float) -> str:
    """An influence relative to the root mean square over all passages."""
    return number(value / unit if unit > 0 else 0.0)


KNOWN: Mapping[str, str] = {
    "ekfac": "gradients through the inverse curvature",
    "gradient": "inner product of gradients",
    "cosine": "the same, relative to the length of the passage's gradient",
    "bm25": "words in common, rare ones above others",
    "tf_idf": "the same, as the cosine of weighed counts",
    "embedding": "cosine of sentence embeddings",
    "random": "passages in random order",
    "surprisal": "how improbable the model finds the label that the line says",
    "length": "more tokens above fewer",
    "other_queries": "what the same two texts do to the queries of all other pairs",
}
MEASURES: Mapping[str, tuple[str, str]] = {
    "recall_at_1": ("Planted facts, recall at 1", "share of facts, asked in other words, whose passage comes first"),
    "recall_at_5": ("Planted facts, recall at 5", "share whose passage is among the first five"),
    "recall_at_10": ("Planted facts, recall at 10", "share whose passage is among the first ten"),
    "lds": (
        "Linear datamodelling score",
        "how well the summed influence of half the passages ranks what models that were trained on such halves say of a query "
        "(Spearman's correlation over trainings, mean over queries)",
    ),
    "mislabelled": (
        "Exchanged labels",
        "AUROC of a line's influence on its own label against whether that label was exchanged",
    ),
    "removal": (
        "Removal of the passages at the top",
        "by how many nats an answer gets less probable where a model is trained without the passages that a ranking puts first",
    ),
    "order_flip": (
        "Order of key phrases",
        "influence of a sentence in the order of the query less that of the same with its two names the other way round, in units of the "
        "root mean square over the text; below, both parts. Rankings by words cannot tell them apart",
    ),
    "prefilter_recall": (
        "What a pre-filter by TF-IDF keeps",
        "share of the ten most influential passages that are among the share of all passages, named on the left, nearest by TF-IDF "
        "(passages drawn at random: that same share)",
    ),
}
PAIR_MEASURES: Mapping[str, tuple[str, str]] = {
    "preferred": (
        "The expected text moves its query more",
        "share of pairs of which it does, equal ones half; “other queries”: of the same two texts, the mean share of the queries of other "
        "pairs, which says how far it moves whatever is said",
    ),
    "apart": (
        "By how much",
        "influence of the expected text less that of the other one, in units of the root mean square over all texts of the file; below, "
        "both parts",
    ),
}
SILENT_PAIRS = (
    "Which text of a pair is to move the query more is what the author of the file expects. It may do so for what it shares with the query "
    "besides its meaning, such as names, figures and words spelled alike: see BM25 and the embedding, and choose pairs of which these can "
    "tell nothing. The model need not have read either text in training: influence says what it would take from them."
)
SILENT_EVALUATION = (
    "The text is made up, and made so that words mislead: further passages share more words with the question than the one that "
    "answers it, which makes rankings by words look worse than on other text. Models are small, trained for minutes, and few. A method "
    "that finds planted text here need not find what moved a large model, which has read the same fact many times in many words."
)


PARTS: Mapping[str, str] = {"_same": "in the order", "_flipped": "the other way", "_one": "the expected", "_other": "the other"}
"""Of a method's figure, by how its name ends."""


def measure_words(name: str) -> tuple[str, str]:
    """(title, what it says) of a measure."""
    return {**MEASURES, **PAIR_MEASURES}.get(name) or (name.replace("_", " "), "")


def method_name(name: str) -> str:
    """Of a method, or of a part of its figure."""
    own = {**BASELINES, **METHODS, "cosine": "gradient cosine", "surprisal": "surprisal of the label"}
    for end, part in PARTS.items():
        if name.endswith(end):
            return f"{method_name(name.removesuffix(end))}, {part}"
    return own.get(name) or (f"{float(name):.0%} of the passages" if name.replace(".", "").isdigit() else name.replace("_", " "))


def verdict_of(lift: Value | Failure) -> str:
    """Whether the paired interval of influence less a method lies above 0."""
    if isinstance(lift, Failure):
        return "Not measured"
    return "Above" if lift.low > 0 else "Below" if lift.high < 0 else "Not above"
