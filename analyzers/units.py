"""A text cut into what is perturbed: words, phrases or sentences, with everything between them kept."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from analyzers.errors import ExplicateError

# Scripts that put no spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han. Each sign is a unit.
_UNSPACED = (
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0ec6\u1000-\u102a\u1780-\u17b3\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff"
)
_MARKS = "".join(map(re.escape, filter(lambda sign: unicodedata.category(sign).startswith("M"), map(chr, range(0x10000)))))
"""Accents and vowel signs belong to the letter before them."""
_JOINED = "\u200d\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff"
"""Joiners, variation selectors and skin tones belong to the emoji before them."""
_LETTER = rf"(?:[^\W{_UNSPACED}][{_MARKS}\u200c\u200d]*)"
_WORD = re.compile(
    rf"[{_UNSPACED}][{_MARKS}\u30fc]*"
    rf"|{_LETTER}+(?:['’\-.,](?={_LETTER}){_LETTER}+)*"
    rf"|[\U0001f1e6-\U0001f1ff]{{2}}"
    rf"|[^\w\s](?:[{_JOINED}{_MARKS}]|(?<=\u200d)[^\w\s])*"
)
_SIGN = re.compile(f"[{_UNSPACED}]")
_PARAGRAPH = re.compile(r"\n\s*\n")
_PAUSES = frozenset(",;!?…,、。，！？；：．｡､،؛؟۔।॥։՝።፣፤፥፡၊။។")
"""Commas and sentence ends that part phrases whatever stands around them."""
_HYPHENS = "-\u2010\u2011"
_RANGES = "\u2012–〜"
"""Dashes that join numbers: 1914–1918."""
_LOW_QUOTES = "„‚"
"""Unicode calls them brackets."""
_ATTACHED = "%‰#@&§"
"""Unicode calls them punctuation, but they say something: 50%, #1."""
_SENTENCE = re.compile(r"\S.*?(?:[.!?…](?=[\"'”’)\]]*\s)[\"'”’)\]]*|[。！？]+|\n\s*\n|\Z)", re.DOTALL)


Kept = frozenset[int]
"""Indices of the units that a perturbed text still has."""


@dataclass(frozen=True)
class Units:
    """A text and the places of its units, in order and apart."""

    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self.text[start:end] for start, end in self.spans)

    def __len__(self) -> int:
        return len(self.spans)

    def written(self, instead: Mapping[int, str | None]) -> str:
        """The text with some units replaced, or left out where the replacement is None.

        What stood between two units that are left stays as it was; where units between them are left out, the widest space of all the
        gaps stands there, and one space where there is none but two words would melt together.
        """
        out, gap = "", ""
        begun = skipped = False
        at = 0
        for unit, (start, end) in enumerate(self.spans):
            before = self.text[at:start]
            gap = before if not begun or len(before) >= len(gap) else gap
            at = end
            written = instead.get(unit, self.text[start:end])
            if written is None:
                skipped = True
                continue
            if skipped and begun and not gap and _melts(out[-1:], written[:1]):
                gap = " "
            out += (gap if begun or unit == 0 else "") + written
            begun, skipped, gap = True, False, ""
        return out + self.text[at:] if begun else ""


def _melts(one: str, other: str) -> bool:
    """Whether two signs side by side would read as one word."""
    return one.isalnum() and other.isalnum() and not (_SIGN.match(one) and _SIGN.match(other))


def words(text: str) -> Units:
    """Words and single signs; in scripts without spaces every sign is a unit, and so is an emoji with what is joined to it."""
    return Units(text, tuple(match.span() for match in _WORD.finditer(text)))


def spaced(text: str) -> Units:
    """What stands between spaces."""
    return Units(text, tuple(match.span() for match in re.finditer(r"\S+", text)))


def sentences(text: str) -> Units:
    """Sentences, by their final signs, and paragraphs."""
    found = [match.span() for match in _SENTENCE.finditer(text)]
    return Units(text, tuple((start, start + len(text[start:end].rstrip())) for start, end in found))


def phrases(text: str) -> Units:
    """Stretches between commas, semicolons, colons, dashes, brackets, the ends of sentences and of paragraphs.

    A phrase neither begins nor ends with a punctuation mark or a space. A text that has nothing else is one phrase.
    """
    spans: list[tuple[int, int]] = []
    begun, at = False, 0
    for start, end in words(text).spans:
        begun = begun and not _PARAGRAPH.search(text, at, start)
        if end - start > 1 or text[start] in _ATTACHED or not unicodedata.category(text[start]).startswith("P"):
            spans.append((spans.pop()[0] if begun else start, end))
            begun = True
        else:
            begun = begun and not _parts(text, start)
        at = end
    if not spans and text.strip():
        spans = [(len(text) - len(text.lstrip()), len(text.rstrip()))]
    return Units(text, tuple(spans))


def _parts(text: str, at: int) -> bool:
    """Whether the punctuation mark there stands between two phrases."""
    sign, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    match unicodedata.category(sign):
        case "Pd" if sign in _HYPHENS:
            return not (before.isalnum() and after.isalnum())
        case "Pd":
            return sign not in _RANGES or not (before.isdigit() and after.isdigit())
        case "Ps" | "Pe":
            return sign not in _LOW_QUOTES
    if sign == ".":
        return before.isalnum() or not after.isalnum()
    if sign == ":":
        return after != "/" and not (before.isdigit() and after.isdigit())
    return sign in _PAUSES


CUTS: Mapping[str, Callable[[str], Units]] = MappingProxyType({"word": words, "spaced": spaced, "span": phrases, "sentence": sentences})


def cut(text: str, unit: str) -> Units:
    """The text in units of that kind; raises ExplicateError for another kind."""
    if unit not in CUTS:
        raise ExplicateError(f"no unit is called {unit!r}; choose one of {', '.join(sorted(CUTS))}")
    return CUTS[unit](text)
