"""What comes next: how often it is the likeliest token, and how surprising it is, by the part of speech of the word that it begins."""

from collections import Counter
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.errors import Failed
from analyzers.progress import Report
from analyzers.treebank import Sentence
from evals.growing.tally import Tallies, Tally
from evals.growing.treebank_material import Treebank

if TYPE_CHECKING:
    from analyzers.text_model import TextModel
    from analyzers.tokens import Span

LEAST = 20
"""Words of a part of speech among the sentences, below which it has no curve of its own."""
ALL = ""
"""Every token, also one that begins no word."""
UNITS = ("sentences", "tokens")


@dataclass(frozen=True, eq=False)
class NextToken:
    """See above. Of sentences as they are written, each by itself behind the token that begins a text."""

    treebank: Treebank
    name: str = "next-token"
    needs_decoder: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """The treebank's."""
        return self.treebank.files

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the figures."""
        return {**self.treebank.identity, "least": LEAST, "of": "all"}

    @property
    def items(self) -> dict[str, int]:
        """How many by what was done with them."""
        return {"sentences": len(sentences := self.treebank.material.sentences), "words": sum(len(each.words) for each in sentences)}

    @property
    def notes(self) -> list[str]:
        """How it was measured."""
        return [
            "next-token: accuracy of the likeliest token, and surprisal in nats, on all drawn sentences, each by itself; curves of a part "
            f"of speech are of the tokens that begin its words, of those with {LEAST} words or more, the others are of all tokens"
        ]

    def measure(self, model: "TextModel", report: Report) -> Tallies | Failed:
        """`next-token`, `next-token/surprisal`, and of every part of speech `next-token/NOUN`, `next-token/surprisal/NOUN`."""
        from analyzers.growing.token_scores import fits, score_tokens

        sentences = self.treebank.material.sentences
        prompts = [model.begun(sentence.text) for sentence in sentences]
        kept = [number for number, prompt in enumerate(prompts) if fits(model, prompt.ids)]
        if not kept:
            return Failed("probe", f"no sentence fits into the {model.limit} tokens that {model.name} takes")
        scores = score_tokens(model, [prompts[number].ids for number in kept], what="predict tokens", report=report)
        counted = {name: _Counted(len(sentences)) for name in (ALL, *_frequent(sentences))}
        for number, score in zip(kept, scores, strict=True):
            prompt = prompts[number]
            begins = _begun_words(sentences[number], prompt.spans)
            for at, (right, logprob) in enumerate(zip(score.right.tolist(), score.logprobs.tolist(), strict=True), 1):
                for name in {ALL, begins.get(at, ALL)} & counted.keys():
                    counted[name].add(number, prompt.ids[at], right, logprob)
        found: Tallies = {}
        for name, each in counted.items():
            if each.tokens.any():
                found |= self._tallies(f"/{name}" if name else "", each, counted[ALL].of)
        return found

    def _tallies(self, end: str, each: "_Counted", all_tokens: Counter[int]) -> Tallies:
        """Read against what knows how common each token is among all tokens here, and nothing else."""
        (commonest, _), *_ = all_tokens.most_common(1)
        total, there = all_tokens.total(), each.of.total()
        blind = -sum(count * log(all_tokens[token] / total) for token, count in each.of.items()) / there
        accuracy = Tally(each.right, each.tokens, *UNITS, chance=each.of[commonest] / there, against="always the commonest token here")
        surprisal = Tally(each.losses, each.tokens, *UNITS, "lower", chance=blind, against="every token by its share of those here")
        return {self.name + end: accuracy, f"{self.name}/surprisal{end}": surprisal}


class _Counted:
    """Tokens of one kind by sentence."""

    def __init__(self, sentences: int) -> None:
        self.right, self.losses, self.tokens = (np.zeros(sentences) for _ in range(3))
        self.of: Counter[int] = Counter()
        """How many there are of each."""

    def add(self, sentence: int, token: int, right: bool, logprob: float) -> None:
        """One more."""
        self.right[sentence] += right
        self.losses[sentence] -= logprob
        self.tokens[sentence] += 1
        self.of[token] += 1


def _frequent(sentences: tuple[Sentence, ...]) -> list[str]:
    """Parts of speech with enough words, the commonest first."""
    known = Counter(word.upos for sentence in sentences for word in sentence.words if word.upos)
    return sorted((tag for tag, count in known.items() if count >= LEAST), key=lambda tag: (-known[tag], tag))


def _begun_words(sentence: Sentence, spans: "tuple[Span | None, ...]") -> dict[int, str]:
    """By the place of a token the part of speech of the word that it begins: the first of its characters that is no space is the word's
    first. Of words that share their characters the first counts."""
    first: dict[int, str] = {}
    for word in sentence.words:
        first.setdefault(word.span[0], word.upos)
    found = {}
    for at, span in enumerate(spans):
        if span is None:
            continue
        written = sentence.text[slice(*span)]
        begins = span[0] + len(written) - len(written.lstrip())
        if written.strip() and begins in first:
            found[at] = first.pop(begins)
    return found
