"""From what a model wrote to its parts, however it is dressed: fences, Markdown, JSON, Python, tables, lists of lines, cut off or not.

Nothing is evaluated, and the time taken is in proportion to the length of the text, whatever stands in it.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from agents.self_explanations.literals import (
    LINE,
    LOOSE_STRING,
    QUOTES,
    Atom,
    before_cut,
    brackets,
    frame_items,
    frame_pairs,
    number_in,
    row_pairs,
    string_content,
)
from analyzers.errors import Failed
from analyzers.units import words

_LONGEST = 200
"""Characters of a marked word or phrase."""
_FENCE = re.compile(r"^[^\S\n]{0,9}(?:```|~~~)[^\n`]{0,20}$", re.MULTILINE)
_BULLET = re.compile(r"[\s>]{0,40}(?:[-*•+–][^\S\n]{1,9}|\(?[0-9]{1,3}[.)](?:[^\S\n]{1,9}|(?=[^\s0-9])))")
_EMPHASIS = re.compile(r"(\*{1,3}|_{2,3}|`{1,3})(?=[^\s*_`])(.{1,200}?)(?<=\S)\1")
_NUMERAL = r"[-+−–]?\.?[0-9][0-9.,]*(?:[eE][-+]?[0-9]{1,4})? ?%?"
_WORD_NUMBER = re.compile(
    rf"(?P<word>.+?)(?: ?(?:[:：=→]|[-=]>) ?| [-–—] |\t)(?P<number>{_NUMERAL})(?P<rest>[.,;]?|[.,;]? ?[(\[#–—-].*| because .*)"
    rf"|(?P<word2>.+?) ?[(\[] ?(?P<number2>{_NUMERAL}) ?[)\]].{{0,2}}|(?P<word3>\S+) (?P<number3>{_NUMERAL})"
)
_JOINS = "-'’_"
_NOT = re.compile(
    r"(?<!\w)(?:not|never|neither|nor|hardly|cannot|no\s+longer|(?:is|was|are|were|do|does|did|has|have|had|ca|could|wo|would|should|ai)n['’ʼ]?t)"
    r"(?:\s+(?:an?|the|any|all|at\s+all|that|so|too|very|quite|even|just|ever|exactly|be|been|being|\w{2,12}ly)){0,3}\s+$",
    re.IGNORECASE,
)
_NOT_LENGTH = 60
"""Characters before a label in which what denies it may stand."""
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？]| [-–—] ")
_QUANTITY = re.compile(
    r"(?P<many>(?<![0-9])[-+<>≤≥]? ?(?:0,[0-9]+|[0-9]+(?:\.[0-9]+|,[0-9]{1,2}(?![0-9]))?|\.[0-9]+)) ?(?P<unit>%|per ?cent\b|pct\b)?"
    r"(?: ?(?:/|out of|of) ?(?P<whole>[0-9]+(?:\.[0-9]+)?) ?%?)?",
    re.IGNORECASE,
)


def label(text: str, labels: Sequence[str], field: str = "Answer") -> str | Failed:
    """The label given after a line's `field:`; without such a line, the only one of the labels that stands anywhere as a whole word.

    A label inside a longer one does not count. In a field, what stands in brackets or in a further sentence behind the label is its
    explanation. Failed("predict", ...) for no label or several, in a field or in different fields of that name.
    """
    values = [value for match in _fields(field, text) if (value := _value(text, match))]
    found = {name for value in values for name in _given(value, labels)} if values else _labels(text, labels)
    if len(found) == 1 and found <= set(labels):
        return found.pop()
    return Failed("predict", f"{'several labels' if len(found) > 1 else 'no label'} in the reply {_shown(text)}")


def free_answer(text: str, field: str = "Answer") -> str | Failed:
    """The rest of the line after `field:`, without quotes and Markdown; the next line where that is empty and the next is no field."""
    match = next(_fields(field, text), None)
    answer = "" if match is None else _plain(_value(text, match))
    return answer if answer.strip(" *_`\"'") else Failed("predict", f"no answer in the reply {_shown(text)}")


def confidence(text: str, field: str = "Confidence") -> float | Failed:
    """A stated confidence as a share of 1: "85%", "0.85", "85", "85/100" and "85 out of 100" are all .85.

    A number above 1 without a percent sign is percent, so "1" is certain and "1%" hardly ever. A text without the field is read when it
    is nothing but a number. Failed("confidence", ...) for words, for several numbers such as a range, and for what is outside 0 to 1.
    """
    match = next(_fields(field, text), None)
    value = text.strip() if match is None else _value(text, match)
    value = unicodedata.normalize("NFKC", value[:LINE]).replace("−", "-").replace("–", "-")
    before = re.split(r"[\[({]", value, maxsplit=1)[0]
    numbers = list(_QUANTITY.finditer(before)) or list(_QUANTITY.finditer(value))
    bare = match is not None or (len(text) < LINE and len(numbers) == 1 and not _QUANTITY.sub("", value).strip(" *_`\"'.~"))
    if not bare or len(numbers) != 1:
        return Failed("confidence", f"not one number in the reply {_shown(text if match is None else value)}")
    many, unit, whole = numbers[0].group("many", "unit", "whole")
    if many[0] in "<>≤≥":
        return Failed("confidence", f"a bound rather than a number in the reply {_shown(value)}")
    stated = float(many.replace(" ", "").replace(",", "."))
    if whole is not None:
        stated = stated / float(whole) if float(whole) else math.inf
    elif unit or stated > 1:
        stated /= 100
    return stated if 0 <= stated <= 1 else Failed("confidence", f"not within 0 and 100 % in the reply {_shown(value)}")


def pairs(text: str) -> list[tuple[str, float]] | Failed:
    """[word, number] pairs in the order written: lists, tuples or objects in JSON or Python, lines, tables.

    Percent are shares of 1. A word whose value is no finite number is left out, and so is what a cut-off list has not whole. Lists with
    quoted words come before everything else around them; without such, the form that gives more pairs. Failed("explain", ...) for none.
    """
    text = text.replace("\r\n", "\n")
    frames = brackets(text)
    rows = [row for frame in frames for row in frame_pairs(frame)]
    quoted, bare = ([(atom.text, number) for atom, number in rows if atom.quoted is so] for so in (True, False))
    found = quoted or max(bare, list(_line_pairs(before_cut(text, frames))), key=len)
    finite = [(word, number) for word, number in found if math.isfinite(number)]
    return finite or Failed("explain", f"no word with a number in the reply {_shown(text)}")


def listed(text: str) -> list[str] | Failed:
    """Words or phrases in the order written: a JSON or Python list, bullets or numbered lines, or one line with commas or semicolons.

    Quotes, Markdown and what explains an item behind it (in brackets, after a dash or a colon) are taken off. Failed("explain", ...) for
    none.
    """
    text = text.replace("\r\n", "\n")
    frames = brackets(text)
    found = [item.strip() for frame in frames for item in frame_items(frame)] or _line_items(before_cut(text, frames))
    return [item for item in found if item] or Failed("explain", f"no list in the reply {_shown(text)}")


def field(text: str, name: str, others: Sequence[str] = ()) -> str | Failed:
    """Everything after `name:` up to the next line that begins one of the `others`, without fences and surrounding quotes.

    Failed("explain", ...) where there is no such field, or nothing in it.
    """
    text = text.replace("\r\n", "\n")
    match = next(_fields(name, text), None)
    if match is None:
        return Failed("explain", f"no line begins with {name!r} in the reply {_shown(text)}")
    string = _json_string(text, match)
    if string is None:
        ends = (begun.start() for other in others for begun in _pattern(other).finditer(text, match.end()))
        body = text[match.end() : min(ends, default=len(text))]
        if match["quote"]:
            body = body.rstrip().rstrip("}").rstrip().rstrip(",")
        string = _plain(_FENCE.sub("", body.replace("```", "\n```\n") if "```" in body and "\n" not in body.strip() else body))
    return string or Failed("explain", f"nothing after {name!r} in the reply {_shown(text)}")


def without(text: str, names: Sequence[str]) -> str:
    """The text without the fields of these names: the lines that they are on, of a field in quotes no more than itself."""
    text = text.replace("\r\n", "\n")
    for name in names:
        match = next(_fields(name, text), None)
        if match is None:
            continue
        start, end = match.start(), text.find("\n", match.end())
        end = end if end >= 0 else len(text)
        if match["quote"]:
            start = match.start("quote")
            value = _JSON_STRING.match(text, match.end()) or _JSON_VALUE.match(text, match.end())
            end = match.end() if value is None else value.end()
            end += text.startswith(",", end)
        text = text[:start] + text[end:]
    return text


def _shown(text: str) -> str:
    return repr(" ".join(text[:1000].split())[:80])


@lru_cache(maxsize=64)
def _pattern(name: str) -> re.Pattern[str]:
    """`name:` where a line begins, whatever is around it, or `name` as a heading of its own. Counts are bounded against hostile replies."""
    said = r"[^\S\n]{1,9}".join(map(re.escape, name.split()))
    return re.compile(
        r"^[^\S\n]{0,40}[>*_`#{\[(\-•+– \t]{0,12}(?:[0-9]{1,2}[.)][^\S\n]{0,4})?[*_`]{0,4}"
        rf"(?P<quote>[\"'“‘]?){said}{_BEHIND}"
        rf"|^[^\S\n]{{0,9}}(?:\#{{1,6}}[^\S\n]{{0,9}}[*_]{{0,4}}|\*\*|__){said}[*_]{{0,4}}[^\S\n]{{0,9}}$",
        re.IGNORECASE | re.MULTILINE,
    )


_BEHIND = (
    r"(?:[^\S\n](?:level|score))?[*_`\"'”’]{0,6}[^\S\n]{0,4}(?:\([^()\n]{0,40}\))?[*_`]{0,4}[^\S\n]{0,4}[:：=]"
    r"(?:[*_]{1,4}(?=[^\S\n]|$))?[^\S\n]{0,9}"
)
"""What may stand between the name of a field and its value."""


@lru_cache(maxsize=64)
def _inline(name: str) -> re.Pattern[str]:
    """The same behind another field on one line."""
    said = r"[^\S\n]{1,9}".join(map(re.escape, name.split()))
    return re.compile(rf"(?<=[,;.|{{])[^\S\n]{{0,9}}[*_`]{{0,4}}(?P<quote>[\"'“‘]?){said}{_BEHIND}", re.IGNORECASE | re.MULTILINE)


def _fields(name: str, text: str) -> Iterator[re.Match[str]]:
    """Where the field begins: at the beginnings of lines, or where there is none, behind other fields."""
    found = False
    for match in _pattern(name).finditer(text):
        found = True
        yield match
    if not found:
        yield from _inline(name).finditer(text)


_ANY_FIELD = re.compile(r"\W{0,12}\w[\w ]{0,30}\W{0,4}[:：]")
_JSON_STRING = re.compile(r"([\"'“‘])((?:\\.|[^\\\n])*?)[\"'”’](?=[^\S\n]{0,20}(?:[,}\]\n]|\Z))")

_JSON_VALUE = re.compile(r"[^,\[\]{}\n]*")


def _json_string(text: str, match: re.Match[str]) -> str | None:
    """The value of a field whose name is in quotes, where it is a string."""
    string = _JSON_STRING.match(text, match.end()) if match["quote"] else None
    return None if string is None else string_content(string[0]).strip()


def _value(text: str, match: re.Match[str]) -> str:
    """What stands on the line behind the beginning of a field."""
    string = _json_string(text, match)
    if string is not None:
        return string
    end = text.find("\n", match.end())
    value = text[match.end() : end if end >= 0 else len(text)].strip()
    if match["quote"]:
        return re.split("[,}]", value, maxsplit=1)[0].strip()
    if value or end < 0:
        return value
    below = text[end : end + 2 * LINE].lstrip().split("\n", 1)[0]
    return "" if _ANY_FIELD.match(below) else below.strip()


def _given(value: str, labels: Sequence[str]) -> set[str]:
    """The labels that a field gives: without what explains them, where there is one before that."""
    plain = re.sub(r"\([^()]{0,400}\)|\[[^\[\]]{0,400}\]", " ", value[: 10 * LINE])
    first = _SENTENCE_END.split(plain, maxsplit=1)[0]
    return _labels(first, labels) or _labels(plain, labels) or _labels(value, labels)


def _labels(text: str, labels: Sequence[str]) -> set[str]:
    """Those that stand in the text as whole words and not only inside a longer one."""
    places = []
    for name in labels:
        said = r"\s+".join(map(re.escape, name.split()))
        places += [
            (m.start(), -m.end(), name) for m in re.finditer(said, text, re.IGNORECASE) if said and whole_word(text, m.start(), m.end())
        ]
    found, reached = set(), 0
    for start, end, name in sorted(places):
        if -end > reached:
            # "Not positive", "isn't a positive": another answer, and not one of the labels.
            found.add(f"not {name}" if _NOT.search(text[max(0, start - _NOT_LENGTH) : start]) else name)
            reached = -end
    return found


def whole_word(text: str, start: int, end: int) -> bool:
    """Whether no word goes on before or behind the place; in scripts without spaces none is known to."""
    return not _goes_on(text[start], text[max(0, start - 2) : start][::-1], first=True) and not _goes_on(text[end - 1], text[end : end + 2])


def _goes_on(edge: str, beyond: str, *, first: bool = False) -> bool:
    if not beyond:
        return False
    near, far = beyond[0], beyond[1:]
    if edge.isdecimal() and ((near in ".," and far.isdecimal()) or (first and near in "-−" and not far.isalnum())):
        return True
    if near in _JOINS and edge.isalnum():
        near = far
    return near.isalnum() and edge.isalnum() and words(edge + near).texts == (edge + near,)


def _plain(text: str) -> str:
    """Without the quotes and the Markdown around it."""
    text = text.strip()
    for _ in range(4):
        for mark in ("***", "**", "__", "*", "_", "```", "`"):
            if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark) and mark not in text[len(mark) : -len(mark)]:
                text = text[len(mark) : -len(mark)].strip()
        if text.endswith("**") and text.count("**") == 1 and len(text) > 2:
            text = text[:-2].strip()
        closes = QUOTES.get(text[:1])
        if closes and len(text) > 2 and text[-1] in closes and (text[0] not in text[1:-1] or len(text) == 3):
            text = text[1:-1].strip()
    return text


def _lines(text: str) -> Iterator[str]:
    """Lines of a bearable length that are no fence, with single spaces."""
    for line in text.split("\n"):
        if line.strip() and len(line) <= LINE and not _FENCE.match(line):
            yield re.sub(r"[^\S\t]+", " ", line)


def _line_pairs(text: str) -> Iterator[tuple[str, float]]:
    """Words with their numbers from lines and tables."""
    for line in _lines(text):
        if line.count("|") >= 2 or line.count("\t") >= 1:
            cells = [_plain(cell) for cell in re.split(r"(?<!\\)\||\t", line.strip(" |"))]
            if len(cells) == 2 and (number := number_in(cells[1])) is not None and cells[0]:
                yield cells[0], number
                continue
            row = row_pairs([Atom(cell, False) for cell in cells if cell])
            yield from ((atom.text, number) for atom, number in row)
            if row:
                continue
        clean = _EMPHASIS.sub(r"\2", _BULLET.sub("", line, count=1) if _BULLET.match(line) else line).strip(" >")
        parts = re.split("[,;] ", clean)
        found = [_word_number(part) for part in parts] if len(parts) > 1 else []
        if not found or None in found:
            found = [_word_number(clean)]
        yield from (pair for pair in found if pair is not None)


def _word_number(line: str) -> tuple[str, float] | None:
    match = _WORD_NUMBER.fullmatch(line.strip(" "))
    if match is None:
        return None
    word = match["word"] or match["word2"] or match["word3"]
    number = number_in((match["number"] or match["number2"] or match["number3"]).rstrip(".,"))
    return None if number is None else (_plain(word), number)


def _line_items(text: str) -> list[str]:
    lines = [line.strip() for line in _lines(text)] or [text.strip()]
    lines = [line for line in lines if line.strip("[](){},`~ ")]
    bullets = [line for line in lines if _BULLET.match(line)]
    if len(bullets) == 1 == len(lines):
        return _split(_BULLET.sub("", bullets[0], count=1))
    if bullets:
        return [_item(_BULLET.sub("", line, count=1)) for line in bullets]
    lines = [line for line in lines if not line.endswith((":", "："))]
    parted = next((line for line in lines if re.search(r"[,;，；、]", line)), None)
    if parted is not None:
        return _split(parted)
    return [_item(line) for line in lines] if all(len(line.split()) <= 6 for line in lines) else [_item(line) for line in lines[:1]]


def _split(line: str) -> list[str]:
    """The items of one line."""
    intro, colon, rest = line.partition(": ")
    if colon and re.search(r"\w", intro) and not re.search("[,;]", intro) and rest.strip():
        line = rest
    quoted = [string_content(match[0]) for match in LOOSE_STRING.finditer(line)] if line.lstrip()[:1] in QUOTES else []
    if quoted:
        return quoted
    line = line.strip().strip("[]") if line.strip()[:1] == "[" else line
    parts = re.split("[;；]" if re.search("[;；]", line) else "[,，、]", line)
    parts[-1] = re.sub(r"^\s*and ", "", parts[-1]) if len(parts) > 2 else parts[-1]
    return [_item(_BULLET.sub("", part, count=1) if _BULLET.match(part) else part) for part in parts]


def _item(text: str) -> str:
    """Without quotes, Markdown and what explains it."""
    text = text.strip()
    marked = re.match(rf"(\*\*|__|`|\*)(?=\S)([^*`]{{1,{_LONGEST}}}?)\1(?!\w)", text)
    quoted = LOOSE_STRING.match(text)
    if marked is not None:
        text = marked[2]
    elif quoted is not None and len(quoted[0]) > 2:
        text = quoted[0]
    else:
        text = re.split(r"(?<=\S)(?: [-–—] |: | \()", text, maxsplit=1)[0]
    text = _plain(text)
    return text.rstrip(":.").strip() or text
