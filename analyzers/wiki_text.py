"""Plain prose from MediaWiki markup: what a reader of the page would read aloud, and nothing of how it is laid out."""

import html
import re
from collections.abc import Callable

_APPENDICES = re.compile(
    r"(see also|references?|notes?|notes and references|references and notes|footnotes|citations|sources|bibliography|further reading|"
    r"external links|works cited|gallery|literature|publications|selected bibliography|filmography|discography|explanatory notes)",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(={1,6})\s*(.*?)\s*\1")
_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_LINK = re.compile(r"\[\[([^\[\]]*)\]\]")
_TABLE = re.compile(r"\{\|(?:(?!\{\|).)*?\|\}", re.DOTALL)
_HOLE = "\x00"
"""Stands where something was that the sentence needs, a formula say; its paragraph is dropped."""
_RESIDUE = re.compile(_HOLE + r"|\{\{|\}\}|\[\[|\]\]|\{\||\|\}|\[?https?://|</?[a-zA-Z]|^[|!]|\|\||^\S+=|__[A-Z]+__")
_SENTENCE_END = re.compile(r"[.!?:][\"'”’)\]]*$")
_SHORTEST_LINE = 60
"""Characters; below, a line is a caption, a label or an entry of a list rather than prose."""

_DASHES = {"ndash": "–", "mdash": "—", "snd": " – ", "spnd": " – ", "spaced ndash": " – ", "mdashb": " — ", "dash": " – "}
_FIXED = {
    "nbsp": " ",
    "spaces": " ",
    "thinsp": " ",
    "'s": "'s",
    "'": "'",
    "' \"": "' \"",
    "·": "·",
    "•": "·",
    "=": "=",
    "!": "|",
    **_DASHES,
}
_FIRST = frozenset(
    [
        "abbr",
        "anchor",
        "angbr",
        "big",
        "blockquote",
        "currency",
        "em",
        "flag",
        "flagu",
        "key",
        "keypress",
        "linktext",
        "longitem",
        "math",
        "mvar",
        "native name",
        "nihongo",
        "nobold",
        "nowrap",
        "nts",
        "quote",
        "resize",
        "sc",
        "small",
        "smallcaps",
        "smaller",
        "strong",
        "sub",
        "sup",
        "tooltip",
        "val",
        "vanchor",
        "var",
    ]
)
_LAST = frozenset({"lang", "transl", "script"})


def plain_text(markup: str) -> str:
    """The prose of a page: paragraphs of whole sentences joined by blank lines; no headings, tables, notes, formulas or link lists.

    A paragraph that would be left with a hole (where a formula stood) or with a rest of markup is left out altogether.
    """
    text = _without_elements(markup)
    text = _innermost_first(_TEMPLATE, _template, text)
    text = _innermost_first(_TABLE, lambda _: "", text)
    text = re.sub(r"\[(?:https?:|ftp:)?//[^\s\]]*\s*([^\]\n]*)\]", r"\1", text)
    text = _innermost_first(_LINK, _link, text)
    text = re.sub(r"''([^'\n]+)'''s\b", r"\1's", text)
    text = re.sub(r"'{2,}", "", text)
    text = re.sub(r"(?<=\d)<sup>\s*([-−–\d]+)\s*</sup>", r"^\1", text, flags=re.IGNORECASE)
    text = re.sub(r"<br\s*/?>", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"</?(?:[a-zA-Z][a-zA-Z0-9]*)(?:\s[^<>]*)?/?>", "", text)
    text = html.unescape(text)
    return "\n\n".join(_paragraphs(text))


def _without_elements(text: str) -> str:
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<ref\b[^<>]*/>", "", text, flags=re.IGNORECASE)
    text = re.sub(r"<ref\b[^<>]*>.*?</ref\s*>", "", text, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"<(gallery|timeline|source|references|score)\b.*?</\1\s*>", "", text, flags=re.DOTALL | re.IGNORECASE)
    return re.sub(r"<(math|chem)\b.*?</\1\s*>", _HOLE, text, flags=re.DOTALL | re.IGNORECASE)


def _innermost_first(pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], text: str) -> str:
    count = 1
    while count:
        text, count = pattern.subn(replace, text)
    return text


def _template(match: re.Match[str]) -> str:
    name, *rest = (part.strip() for part in match[1].split("|"))
    name = name.lower().replace("_", " ")
    words = [re.sub(r"^\d+\s*=\s*", "", part) for part in rest if not re.match(r"[A-Za-z][\w -]*\s*=", part)]
    if name in _FIXED:
        return _FIXED[name]
    if name.startswith("formatnum:"):
        return name.partition(":")[2]
    if name == "as of":
        return " ".join(["As of", *words])
    if not words:
        return ""
    if name in _FIRST or re.fullmatch(r"lang-[a-z-]+", name):
        return words[0]
    if name in _LAST:
        return words[-1]
    if name in ("convert", "cvt"):
        return _measure(words)
    if name in ("uss", "hms", "ss", "rms"):
        return f"{name.upper()} {words[0]}"
    if name in ("chem", "pow"):
        return "".join(words)
    if name == "frac":
        return words[0] + "".join(f"/{word}" for word in words[1:2])
    return _HOLE if name in ("eqm", "simplenuclide2", "nuclide2", "numblk", "ipa", "lsj", "music") else ""


def _measure(words: list[str]) -> str:
    """`{{convert|5|to|6|km|mi}}` -> `5 to 6 km`."""
    if len(words) > 3 and words[1] in ("to", "and", "-", "–", "by", "x", "or", "to(-)"):
        joint = words[1] if words[1] in "-–" else f" {words[1]} "
        return f"{words[0]}{joint}{words[2]} {words[3]}"
    return " ".join(words[:2])


def _link(match: re.Match[str]) -> str:
    target, *rest = match[1].split("|")
    target = target.strip()
    if re.match(r"(file|image|category|media)\s*:", target, re.IGNORECASE) or re.match(r"[a-z]{2,3}(-[a-z]+)?:", target):
        return ""
    return rest[-1] if rest else target.lstrip(":")


def _paragraphs(text: str) -> list[str]:
    kept: list[str] = []
    appendix = 0
    for line in text.split("\n"):
        heading = _HEADING.fullmatch(line.strip())
        if heading is not None:
            level = len(heading[1])
            if not appendix or level <= appendix:
                appendix = level if _APPENDICES.fullmatch(heading[2]) else 0
        elif not appendix:
            paragraph = _tidy(line) if len(line) >= _SHORTEST_LINE else ""
            whole = len(paragraph) >= _SHORTEST_LINE and not paragraph[0].islower() and _SENTENCE_END.search(paragraph)
            if whole and not _RESIDUE.search(paragraph):
                kept.append(paragraph)
    return kept


def _tidy(line: str) -> str:
    line = re.sub(r"^[*#:;\s]+", "", line)
    line = re.sub(r"[\s\u00a0\u2000-\u200a\u202f\u3000]+", " ", line)
    line = re.sub(r"[\u200b-\u200f\ufeff\u00ad]", "", line)
    before = ""
    while line != before:  # taking out one thing can leave another: "(; )" then "()"
        before = line
        line = re.sub(r"\(\s*[;,:–/\s]+\s*", "(", line)
        line = re.sub(r"\s*[;,:/\s]+\)", ")", line)
        line = re.sub(r"\(\s*(?:or|and)?\s*\)|\[\s*\]|\"\"", "", line)
        line = re.sub(r"\s+([,.;:!?)])", r"\1", line)
        line = re.sub(r",(?:\s*,)+", ",", line)
        line = re.sub(r":\s*[,;]", ":", line)
        line = re.sub(r" {2,}", " ", line)
    return line.strip()
