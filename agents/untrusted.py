"""Corpus text inside prompts: kept on one line, and unable to pose as a turn of the conversation.

Every prompt that shows corpus text gives each piece of it a line of its own, so a text without line breaks cannot close its place.
"""

import re
import unicodedata
from collections.abc import Sequence

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_SHOWN = ("Cc", "Zl", "Zp", "Cs")
"""Unicode categories: control characters, line and paragraph separators, surrogates."""
_CONTROL_TOKEN = re.compile(
    r"<(?=[|\uff5c])|(?<=[|\uff5c])>|<(?=/?s>)|<(?=(?:bos|eos|unk|pad|(?:start|end)_of_turn)>)|\[(?=/?(?:INST|SYS))|<(?=</?SYS)",
    re.IGNORECASE,
)
"""Where the control tokens of common chat templates open or close: <|im_end|>, the same with DeepSeek's wide bars, </s>, <eos>,
<end_of_turn>, [INST], <<SYS>>."""


def one_line(text: str) -> str:
    """The text with line breaks, tabs and other control characters written out, and chat control tokens broken by a space.

    Some servers read control tokens even inside a message; broken, they are plain text. Anything else stays as it is.
    """
    return one_line_each([text])[0]


def one_line_each(pieces: Sequence[str]) -> list[str]:
    """`one_line` of pieces that will stand one after the other: a control token is also broken where it lies across several."""
    breaks = {match.start(): match[0] for match in _CONTROL_TOKEN.finditer("".join(pieces))}
    shown, at = [], 0
    for piece in pieces:
        if not breaks and piece.isprintable():  # as most are: nothing in it that is not shown
            shown.append(piece)
            continue
        line = ""
        for c in piece:
            escaped = _ESCAPES.get(c) or (f"\\u{ord(c):04x}" if unicodedata.category(c) in _NOT_SHOWN else c)
            line += f" {escaped}" if breaks.get(at) == ">" else f"{escaped} " if at in breaks else escaped
            at += 1
        shown.append(line)
    return shown
