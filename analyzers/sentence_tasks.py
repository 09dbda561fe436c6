"""Sentences with a label of the whole sentence, made from a treebank after SentEval's probing tasks (Conneau et al. 2018, 1805.01070).

The originals are made from constituency trees of a corpus of books; these from dependency trees, by the rules below. Sentences have 5 to
28 words, punctuation counted, as there. Classes are balanced, as there: of each as many as the smallest has; a class that is
rare beside the largest is left out.

sentence-length          words, in six bins of four: 5-8, 9-12, ..., 25-28
tree-depth               edges from the root to the deepest word, 2 to 7; the originals also part depth from length, these do not
bigram-shift             whether two neighbouring words have changed places (shifted), neither of them the first of the sentence nor
                         punctuation; in half of the sentences
tense                    Past or Pres of the finite verb of the main clause: the root, or its auxiliary or copula
subject-number           Sing or Plur of the noun that is the only subject of the root
object-number            Sing or Plur of the noun that is the only direct object of the root
coordination-inversion   whether two coordinate main clauses, each with a subject, have changed places (inverted); in half of the sentences

The originals keep the words that decide (the verb, the noun) apart between training and test; here `target` names them instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analyzers.errors import CorpusError
from analyzers.probes.trees import distances_and_depths
from analyzers.tokens import Span
from analyzers.treebank import Sentence, Word

WORDS = (5, 28)
DEPTHS = (2, 7)
LEAST = 5
"""Items of a class below which it is left out."""
RARE = 0.25
"""Share of the largest class below which one is left out of such a task, so that balancing does not cost most of the others."""
_TENSES, _NUMBERS = ("Pres", "Past"), ("Sing", "Plur")
_LOOSE = ",;:-\u2013\u2014"


@dataclass(frozen=True)
class LabelledText:
    """A text and what is asked of it."""

    text: str
    label: str
    sentence: str
    """Id of the sentence that it is, or is made of."""
    document: str
    target: str = ""
    """The word that decides, where one does, case-folded."""


@dataclass(frozen=True)
class SentenceTask:
    """How sentences get their labels."""

    says: str
    """What is asked, in a few words."""
    label: Callable[[Sentence], tuple[str, str] | None] | None = None
    """(label, target) of a sentence; None where it has none."""
    change: Callable[[Sentence, np.random.Generator], str | None] | None = None
    """The changed text of a sentence, where a label says whether it was changed; None where it cannot be."""
    labels: tuple[str, str] = ("original", "changed")


def sentence_items(name: str, sentences: Sequence[Sentence], *, seed: int, classes: Sequence[str] | None = None) -> list[LabelledText]:
    """Items of a task in random order, of each class as many as of the smallest; every sentence gives at most one.

    classes: those that are wanted; by default all that have LEAST items, and RARE times those of the largest. Raises CorpusError for a
    name that is no task, and where fewer than two classes are left.
    """
    task = SENTENCE_TASKS.get(name)
    if task is None:
        raise CorpusError(f"no sentence task is called {name!r}; choose one of {', '.join(SENTENCE_TASKS)}")
    rng = np.random.default_rng(seed)
    items = _changed(task, sentences, rng) if task.change else _labelled(task, sentences)
    found: dict[str, list[LabelledText]] = {}
    for item in items:
        found.setdefault(item.label, []).append(item)
    enough = max(LEAST, RARE * max(map(len, found.values()), default=0))
    wanted = [label for label in sorted(found) if (len(found[label]) >= enough if classes is None else label in classes)]
    if len(wanted) < 2:
        told = ", ".join(f"{label} {len(of)}" for label, of in sorted(found.items())) or "none"
        raise CorpusError(
            f"too few sentences for {name} ({task.says}): {told} of {len(sentences)}, where two classes with {LEAST} each are needed; "
            "give a larger treebank"
        )
    count = min(len(found[label]) for label in wanted)
    drawn = [found[label][at] for label in wanted for at in rng.choice(len(found[label]), count, replace=False)]
    return [drawn[at] for at in rng.permutation(len(drawn))]


def depth(sentence: Sentence) -> int:
    """Edges from the root to the word that is farthest from it."""
    return int(distances_and_depths(sentence.heads)[1].max())


def shifted(sentence: Sentence, rng: np.random.Generator) -> str | None:
    """The text with two random neighbouring words exchanged, spaces as they were; None where no two may be.

    The first word stays: its capital would tell. So do punctuation, words that are written together, and two that are alike.
    """
    pairs = [
        (one.span, other.span)
        for one, other in zip(sentence.words[1:], sentence.words[2:], strict=False)
        if "PUNCT" not in (one.upos, other.upos)
        and sentence.text[one.span[1] : other.span[0]].isspace()
        and one.form.casefold() != other.form.casefold()
        and all(_free(sentence.text, span) for span in (one.span, other.span))
    ]
    if not pairs:
        return None
    (a, b), (c, d) = pairs[rng.integers(len(pairs))]
    text = sentence.text
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


def inverted(sentence: Sentence) -> str | None:
    """The text with its two coordinate main clauses exchanged around the conjunction; None where it is not made of two.

    The conjunct follows the root's clause without a gap up to the last punctuation. The first word is written with a capital as before,
    and the word that was first without, but for names and words that are never without.
    """
    found = _clauses(sentence)
    if found is None:
        return None
    (a, b), (c, d) = found
    words, text = sentence.words, sentence.text
    first, second = text[words[a].span[0] : words[b - 1].span[1]], text[words[c].span[0] : words[d - 1].span[1]]
    if text[:1].isupper():
        second = second[:1].upper() + second[1:]
        if words[a].upos != "PROPN" and words[a].form != "I" and not words[a].form.startswith(("I'", "I\u2019")) and not _shouted(words[a]):
            first = first[:1].lower() + first[1:]
    return text[: words[a].span[0]] + second + text[words[b - 1].span[1] : words[c].span[0]] + first + text[words[d - 1].span[1] :]


def _clauses(sentence: Sentence) -> tuple[Span, Span] | None:
    """[first word, behind the last) of the root's clause and of its conjunct, without conjunction and punctuation around them."""
    words = sentence.words
    root = next(at for at, word in enumerate(words) if word.head == 0)
    conjuncts = [at for at, word in enumerate(words) if word.head == root + 1 and _basic(word) == "conj"]
    if len(conjuncts) != 1 or not all(_has_subject(sentence, at) for at in (root, conjuncts[0])):
        return None
    inside = [at for at in range(len(words)) if _is_under(sentence, at, conjuncts[0])]
    conjunctions = [at for at in inside if words[at].head == conjuncts[0] + 1 and _basic(words[at]) == "cc"]
    start, end, opening = inside[0], len(words), 0
    while words[end - 1].upos == "PUNCT":
        end -= 1
    while words[opening].upos == "PUNCT":
        opening += 1
    behind = next((at for at in range(start, end) if at not in conjunctions and words[at].upos != "PUNCT"), end)
    before = start
    while before > 0 and words[before - 1].upos == "PUNCT":
        before -= 1
    whole = inside == list(range(start, start + len(inside))) and start + len(inside) >= end
    if not whole or len(conjunctions) != 1 or conjunctions[0] >= behind or not opening <= root < before or behind >= end:
        return None
    if any(word.upos == "PUNCT" and word.form.strip(_LOOSE) for word in words[:end]):
        return None  # brackets and quotation marks would lose their other half
    return (opening, before), (behind, end)


def _labelled(task: SentenceTask, sentences: Sequence[Sentence]) -> list[LabelledText]:
    assert task.label is not None
    found = [(sentence, task.label(sentence)) for sentence in _fitting(sentences)]
    return [LabelledText(one.text, told[0], one.id, one.document, told[1].casefold()) for one, told in found if told is not None]


def _changed(task: SentenceTask, sentences: Sequence[Sentence], rng: np.random.Generator) -> list[LabelledText]:
    """Half of the sentences that can be changed are."""
    assert task.change is not None
    able = [(sentence, text) for sentence in _fitting(sentences) if (text := task.change(sentence, rng)) not in (None, sentence.text)]
    order = rng.permutation(len(able)).tolist()
    found = []
    for place, at in enumerate(order):
        sentence, text = able[at]
        assert text is not None
        number = place % 2
        found.append(LabelledText((sentence.text, text)[number], task.labels[number], sentence.id, sentence.document))
    return found


def _fitting(sentences: Sequence[Sentence]) -> list[Sentence]:
    return [sentence for sentence in sentences if WORDS[0] <= len(sentence.words) <= WORDS[1]]


def _length_bin(sentence: Sentence) -> tuple[str, str]:
    low = WORDS[0] + (len(sentence.words) - WORDS[0]) // 4 * 4
    return f"{low:02}-{low + 3:02}", ""


def _depth_label(sentence: Sentence) -> tuple[str, str] | None:
    found = depth(sentence)
    return (str(found), "") if DEPTHS[0] <= found <= DEPTHS[1] else None


def _tense(sentence: Sentence) -> tuple[str, str] | None:
    root = next(at for at, word in enumerate(sentence.words) if word.head == 0)
    own = [word for word in sentence.words if word.head == root + 1 and _basic(word) in ("aux", "cop")]
    for word in (sentence.words[root], *own):
        finite = word.upos in ("VERB", "AUX") and word.feats.get("VerbForm", "Fin") == "Fin"
        if finite and word.feats.get("Tense") in _TENSES:
            return word.feats["Tense"], word.form
    return None


def _number_of(relation: str) -> Callable[[Sentence], tuple[str, str] | None]:
    def number(sentence: Sentence) -> tuple[str, str] | None:
        root = next(at for at, word in enumerate(sentence.words) if word.head == 0)
        own = [word for word in sentence.words if word.head == root + 1 and _basic(word) == relation]
        if len(own) != 1 or own[0].upos != "NOUN" or own[0].feats.get("Number") not in _NUMBERS:
            return None
        return own[0].feats["Number"], own[0].form

    return number


def _basic(word: Word) -> str:
    """The relation without what a language adds to it (nsubj:pass)."""
    return word.deprel.partition(":")[0]


def _has_subject(sentence: Sentence, at: int) -> bool:
    return any(word.head == at + 1 and _basic(word) in ("nsubj", "csubj") for word in sentence.words)


def _is_under(sentence: Sentence, at: int, above: int) -> bool:
    while at >= 0:
        if at == above:
            return True
        at = sentence.words[at].head - 1
    return False


def _free(text: str, span: Span) -> bool:
    """Whether white space or the text's ends stand around it."""
    start, end = span
    return (start == 0 or text[start - 1].isspace()) and (end == len(text) or text[end].isspace())


def _shouted(word: Word) -> bool:
    return len(word.form) > 1 and word.form.isupper()


SENTENCE_TASKS: Mapping[str, SentenceTask] = {
    "sentence-length": SentenceTask("words, in bins", _length_bin),
    "tree-depth": SentenceTask(f"depth of the tree, {DEPTHS[0]} to {DEPTHS[1]}", _depth_label),
    "bigram-shift": SentenceTask("two neighbouring words exchanged", change=shifted, labels=("original", "shifted")),
    "tense": SentenceTask("tense of the main verb", _tense),
    "subject-number": SentenceTask("number of the subject", _number_of("nsubj")),
    "object-number": SentenceTask("number of the object", _number_of("obj")),
    "coordination-inversion": SentenceTask(
        "two main clauses exchanged", change=lambda sentence, _: inverted(sentence), labels=("original", "inverted")
    ),
}
"""By name."""
