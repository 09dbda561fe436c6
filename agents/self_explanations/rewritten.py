"""What a rewritten text has left of the units of the text."""

from difflib import SequenceMatcher

from agents.self_explanations.word_alignment import Match
from agents.untrusted import one_line
from analyzers.units import Units, words


def match(left: frozenset[int], added: int, units: Units) -> Match:
    """How a rewritten text fits the units: those that are left, and how many words are new."""
    lettered = [unit for unit, text in enumerate(units.texts) if any(sign.isalnum() for sign in text)]
    gone = len(units) - len(left)
    return Match(len(left), 0, 0, 0, gone, added, len(lettered), sum(unit in left for unit in lettered))


def kept(written: str, units: Units) -> tuple[frozenset[int], int]:
    """Units of the text that are whole in the rewritten one, in order, and how many words of the latter are new."""
    old = [(unit, word.casefold()) for unit, text in enumerate(units.texts) for word in words(text).texts]
    new = [word.casefold() for word in words(_unescaped(written, units.text)).texts]
    blocks = SequenceMatcher(a=[word for _, word in old], b=new, autojunk=False).get_matching_blocks()
    found = [old[block.a + at][0] for block in blocks for at in range(block.size)]
    left = {unit for unit, _ in old if found.count(unit) == sum(of == unit for of, _ in old)}
    return frozenset(left), len(new) - len(found)


def _unescaped(written: str, text: str) -> str:
    """With the line breaks and tabs of the text, where it was copied in the way it was shown: film.\\nGreat."""
    for sign in set(text):
        shown = one_line(sign)
        if shown != sign:
            written = written.replace(shown, sign)
    return written
