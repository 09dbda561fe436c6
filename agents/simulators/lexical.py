"""The lexical simulator, a control without a language model: 1 where the text has a word of the explanation, else 0.

Which words: those the explanation quotes ("such", 'such', `such`, typographic quotes), if it quotes any; else all its words but those of
a short stop list; if all are on that list, all its words. Case and compatibility forms (NFKC) do not count.
Which tokens: one that is such a word or quoted sign, spaces aside; and every piece of a word of the text that is such a word.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.explanation import Scale, Simulation
from agents.simulators import SIMULATORS
from analyzers.errors import Failed
from analyzers.evidence import Excerpt

# A straight single quote opens only after something that is no letter, and closes only before such: don't, the dogs' tails.
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|‘([^’]+(?:’\w[^’]*)*)’(?!\w)|`([^`]+)`|«([^»]+)»|(?<!\w)'([^']+(?:'\w[^']*)*)'(?!\w)")
_WORD = re.compile(r"\w+(?:['’]\w+)*")

_STOP = """
    a about after all also an and any are as at be been before being but by can do does especially find finds fire fires followed for
    from has have in including into is it its like mainly means mention mentions more neuron of often on or other phrase phrases refer
    referring related relating representing represents some specific such term terms text than that the their them these they this those to
    token tokens used using was were when where which while with within word words"""
STOP_WORDS = frozenset(_STOP.split())


@SIMULATORS.add("lexical")
@dataclass(frozen=True)
class Lexical:
    """Simulates by looking for the explanation's words."""

    name: str = "lexical"
    prompt: str = ""
    scale: Scale = "indicator"

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        """One simulation an excerpt, 0 or 1 at every token; no word in the explanation gives 0 everywhere."""
        wanted = words(explanation)
        return [_simulate(wanted, excerpt.tokens) for excerpt in excerpts]


def words(explanation: str) -> frozenset[str]:
    """The words (and quoted signs) that the explanation names, normalised."""
    text = _normalised(explanation)
    quoted = [part for match in _QUOTED.finditer(text) for part in match.groups() if part]
    if quoted:
        chunks = [chunk for part in quoted for chunk in part.split()]
        return frozenset(chunks).union(*(_WORD.findall(chunk) for chunk in chunks))
    named = frozenset(_WORD.findall(text))
    return named - STOP_WORDS or named


def _simulate(wanted: frozenset[str], tokens: Sequence[str]) -> Simulation:
    texts = [_normalised(token) for token in tokens]
    values = np.array([text.strip() in wanted for text in texts], np.float32)
    ends = np.cumsum([len(text) for text in texts])
    for match in _WORD.finditer("".join(texts)):
        if match[0] in wanted:
            # the tokens that hold the word's first to last character
            first, last = np.searchsorted(ends, [match.start(), match.end() - 1], side="right")
            values[first : last + 1] = 1
    return Simulation(values, np.ones(len(tokens), np.bool_), "indicator")


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
