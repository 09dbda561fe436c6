"""From what a language model wrote to an explanation, or to the reason why it is none."""

import json
import re

from agents.llm import ChatReply
from agents.untrusted import one_line
from analyzers.errors import Failed

LONGEST = 60
"""Words; what is longer retells the excerpts."""

_REFUSAL = re.compile(
    r"(i['’]?m|i am) (sorry|unable|not able|just an? )|sorry,? (but|i)\b|sorry\W*$|as an? (ai|large)\b|"
    r"i (can['’]?t|cannot|can not|won['’]?t|could not|couldn['’]?t)\b",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"(unknown|none|nothing|n/a|unclear|not clear|unsure|no (clear )?(pattern|explanation)|cannot (say|tell)|various( things)?)",
    re.IGNORECASE,
)
_OBJECT = re.compile(r'\{\s*"[^"]*"\s*:')
"""How a JSON object begins, whole or cut off."""
_LEVEL = re.compile(r"([\"”]) \d{1,2}(?=,|$)")
"""A level taken over from the list of the strongest tokens: the word "upon" 9."""
_MARKED = re.compile(r"<{2,}\s*(.+?)\s*>{2,}")
_WRAPPERS = ('"', "'", "`", "**", "*", "_")


def _unwrapped(text: str) -> str:
    for wrapper in _WRAPPERS:
        inner = text[len(wrapper) : -len(wrapper)]
        if len(text) > 2 * len(wrapper) and text.startswith(wrapper) and text.endswith(wrapper) and wrapper not in inner:
            return inner.strip()
    return text


def _loops(words: list[str]) -> bool:
    grams = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    return any(grams.count(gram) >= 3 for gram in set(grams))


def _is_json(text: str) -> bool:
    if _OBJECT.match(text):
        return True
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def read_explanation(reply: ChatReply, *, lead: str) -> str | Failed:
    """The explanation in a reply: its first paragraph on one line, without `lead`, wrapping quotes and the full stop; control
    characters are written out, so that it cannot steer a terminal that it is printed to.

    A reply cut off by the token limit is read up to its last full stop, semicolon or comma. Failed for a reply that is empty, a
    refusal, longer than LONGEST words, repeats itself, or is no explanation (says that it does not know, has no words, is code).
    """

    def failed(why: str) -> Failed:
        return Failed("explain", f"{why}: {reply.text.strip()[:80]!r}")

    text = reply.text.strip()
    if text.startswith("```") or _is_json(text):
        return failed("not an explanation")
    text = " ".join(re.split(r"\n\s*\n", text, maxsplit=1)[0].split())
    if text.casefold().startswith(lead.casefold()):
        text = text[len(lead) :].strip()
    text = _MARKED.sub(r'"\1"', text)
    if not text:
        return Failed("explain", "the reply is empty")
    if _REFUSAL.match(text):
        return failed("the model refused")
    if reply.finish == "length":
        cut = next((text.rpartition(stop)[0] for stop in (". ", "; ", ", ") if stop in text), "")
        if not cut:
            return failed("cut off by the token limit")
        text = cut
    text = _LEVEL.sub(r"\1", _unwrapped(text).rstrip(" ."))
    words = text.casefold().split()
    if len(words) > LONGEST:
        return failed(f"longer than {LONGEST} words")
    if _loops(words):
        return failed("repeats itself")
    if not re.search(r"[^\W\d_]", text) or _NOTHING.fullmatch(text):
        return failed("not an explanation")
    return one_line(text)
