"""Strings, numbers, lists and objects in what a model wrote, as JSON, as Python or as neither quite, whole or cut off.

Nothing is evaluated, and the time taken is in proportion to the length of the text.
"""

import math
import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

QUOTES = {'"': '"', "'": "'", "`": "`", "“": '”“"', "‘": "’", "«": "»", "„": '“”"', "「": "」"}
_INNER = 100
"""Escapes and quotes inside a string, at most: a bound against hostile replies."""
_CLOSED = r"(?=[^\S\n]{0,20}(?:[,;:，、：)\]}\n]|\Z|(?<=\s)[-+−]?\.?[0-9]))"
"""Behind a quote that closes: a quote inside a word, as models write 'don't', is none."""
_STRING = "|".join(
    rf"{opens}[^{closes}\\\n]*+(?:(?:\\.|[{closes}](?!{_CLOSED}))[^{closes}\\\n]*+){{0,{_INNER}}}+[{closes}]{_CLOSED}"
    for opens, closes in QUOTES.items()
)
LOOSE_STRING = re.compile(_STRING.replace(_CLOSED, r"(?!\w)"))
"""Outside brackets, where anything may follow a string."""
_OPENS = re.compile(r"[\[({]")
_TOKEN = re.compile(
    rf"(?P<space>\s+|(?<=[,\s\[({{])(?:\#|//)[^\S\n][^\n]*)|(?P<string>{_STRING})|(?P<cut>[\"“][^\n]*)|(?P<open>[\[({{])|(?P<close>[\])}}])|(?P<comma>[,;，、])"
    r"|(?P<colon>[:：])|(?P<bare>[^\s,;，、:：\[\](){}]+)"
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SIGNS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0"}
_ESCAPED = "\"'\\`“”‘’"
_NUMBER = re.compile(r"([-+]?) ?([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,4})?|\.[0-9]+|0,[0-9]+) ?(%?)")
_NO_NUMBER = re.compile(r"[-+]?(?:nan|inf|infinity)", re.IGNORECASE)
LINE = 400
"""Signs of the longest line that is read as a word and its number, or as one item of a list."""
_WORD_NAMES = frozenset({"word", "token", "text", "term", "phrase", "unit", "feature", "name", "item", "key"})
_INDEX_NAMES = frozenset({"index", "idx", "i", "n", "id", "number", "position", "pos", "rank"})
_ANSWER_NAMES = frozenset({"answer", "label", "prediction", "class", "sentiment"})


def string_content(string: str) -> str:
    """What a string in quotes means in JSON or Python, without surrogates; a doubled quote within a word is one."""
    quote, text = string[0], string[1:-1]
    text = re.sub(rf"(?<=\w){quote}{quote}(?=\w)", quote, text)
    if "\\" not in text:
        return text

    def sign(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code:
            return chr(int(code, 16)) if int(code, 16) <= sys.maxunicode else match[0]
        if match[4] == "/":
            return "/" if quote == '"' else match[0]
        return _SIGNS.get(match[4]) or (match[4] if match[4] in _ESCAPED else match[0])

    return _ESCAPE.sub(sign, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def number_in(text: str) -> float | None:
    """The number that a text is; nan for one that is not finite, percent as a share of 1, None for what is no number."""
    text = text.strip(" *_`")
    if len(text) > LINE:
        return None
    text = (text if text.isascii() else unicodedata.normalize("NFKC", text)).replace("−", "-").replace("–", "-")
    if _NO_NUMBER.fullmatch(text):
        return math.nan
    match = _NUMBER.fullmatch(text)
    return None if match is None else float(match[1] + match[2].replace(",", ".")) / (100 if match[3] else 1)


class Atom(NamedTuple):
    """A string, or what stands without quotes."""

    text: str
    quoted: bool

    @property
    def number(self) -> float | None:
        return number_in(self.text)

    @property
    def wordlike(self) -> bool:
        return self.quoted or self.number is None


@dataclass
class Frame:
    """What stands between two brackets."""

    opened: str
    at: int
    inside: str
    """The bracket around it; empty for none."""
    slots: list[tuple[Atom | None, Atom]] = field(default_factory=list)
    """Between commas: what stands before the colon, and behind it."""
    whole: bool = False
    nested: bool = False
    pending: Atom | None = None
    """What a cut-off frame ends with."""


def brackets(text: str) -> list[Frame]:
    """All brackets of the text, outer before inner, whole or cut off; a bracket that is never opened is passed over."""
    frames: list[Frame] = []
    stack: list[Frame] = []
    depth = dict.fromkeys(_CLOSES.values(), 0)
    at, start, end = 0, -1, -1
    key: Atom | None = None
    quoted: Atom | None = None

    def atom() -> Atom | None:
        return quoted or (Atom(text[start:end], False) if start >= 0 else None)

    while True:
        token = _TOKEN.match(text, at) if stack else _OPENS.search(text, at)
        if token is None:
            break
        at = token.end()
        kind = token.lastgroup or "open"
        if kind in ("space", "cut"):
            continue
        if kind == "bare" and quoted is None:
            start, end = token.start() if start < 0 else start, at
        elif kind == "string":
            quoted = quoted or Atom(string_content(token[0]), True)
        elif kind == "colon" and key is None:
            key, quoted, start = atom(), None, -1
        elif kind == "bare" and number_in(token[0]) is not None:
            # A comma was forgotten.
            assert quoted is not None
            stack[-1].slots.append((key, quoted))
            key, quoted, start, end = None, None, token.start(), at
        elif kind in ("comma", "close", "open"):
            said = atom()
            if stack and said is not None and kind != "open":
                stack[-1].slots.append((key, said))
            key, quoted, start = None, None, -1
            if kind == "open":
                if stack:
                    stack[-1].nested = True
                frames.append(Frame(token[0], token.start(), stack[-1].opened if stack else ""))
                stack.append(frames[-1])
                depth[token[0]] += 1
            elif kind == "close" and depth[_CLOSES[token[0]]]:
                while True:
                    closed = stack.pop()
                    closed.whole = True
                    depth[closed.opened] -= 1
                    if closed.opened == _CLOSES[token[0]]:
                        break
    if stack:
        stack[-1].pending = quoted
    return frames


def before_cut(text: str, frames: Sequence[Frame]) -> str:
    """The text before the first list or object that is cut off: what follows is no line of its own."""
    return text[: min((frame.at for frame in frames if not frame.whole and frame.opened != "("), default=len(text))]


def frame_pairs(frame: Frame) -> list[tuple[Atom, float]]:
    """Words with their numbers in one bracket that has no other in it; what is not finite, too."""
    if frame.nested:
        return []
    if not any(key for key, _ in frame.slots):
        return row_pairs([atom for _, atom in frame.slots])
    keyed = [(key.text.strip().casefold(), key, atom) for key, atom in frame.slots if key is not None]
    if not frame.whole and frame.inside in ("[", "("):
        return []
    numbers = [number for name, _, atom in keyed if name not in _INDEX_NAMES and (number := atom.number) is not None]
    called = next((atom for name, _, atom in keyed if name in _WORD_NAMES and atom.wordlike), None)
    if called is not None:
        others = [
            number for name, _, atom in keyed if atom is not called and name not in _INDEX_NAMES and (number := atom.number) is not None
        ]
        return [(called, others[0])] if others else []
    strings = [(name, atom) for name, _, atom in keyed if atom.number is None]
    if any(name in _ANSWER_NAMES for name, _ in strings):
        return []
    if len(strings) == 1 == len(numbers) and strings[0][1] is next(atom for name, _, atom in keyed if name not in _INDEX_NAMES):
        return [(strings[0][1], numbers[0])]
    return [(key, number) for _, key, atom in keyed if (number := atom.number) is not None]


def row_pairs(atoms: Sequence[Atom]) -> list[tuple[Atom, float]]:
    """Words with the numbers behind them; in a row of two, also before them, and a number in quotes."""
    if len(atoms) == 2:
        first, second = atoms
        if first.wordlike and (number := second.number) is not None:
            return [(first, number)]
        return [(second, number)] if second.wordlike and not second.number and (number := first.number) is not None else []
    return [(one, number) for one, two in pairwise(atoms) if one.wordlike and not two.quoted and (number := two.number) is not None]


def frame_items(frame: Frame) -> list[str]:
    """Quoted words in one bracket that has no other in it."""
    if frame.nested:
        return []
    keyed = [(key, atom) for key, atom in frame.slots if key is not None]
    if keyed:
        called = [atom.text for key, atom in keyed if key.text.strip().casefold() in _WORD_NAMES]
        return called or [atom.text for _, atom in keyed if atom.quoted] or [key.text for key, _ in keyed if key.quoted]
    return [atom.text for _, atom in (*frame.slots, (None, frame.pending)) if atom is not None and atom.quoted]
