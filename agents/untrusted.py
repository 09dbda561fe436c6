"""Corpus text inside prompts: kept on one line, and unable to pose as a turn of the conversation.

Every prompt that shows corpus text gives each piece of it a line of its own, so a text without line breaks cannot close its place.
"""

import re
import unicodedata

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_SHOWN = ("Cc", "Zl", "Zp", "Cs")
"""Unicode categories: control characters, line and paragraph separators, surrogates."""
_CONTROL_TOKEN = re.compile(r"<(?=\|)|(?<=\|)>|<(?=/?s>)|<(?=(?:start|end)_of_turn>)|\[(?=/?(?:INST|SYS))|<(?=</?SYS)", re.IGNORECASE)
"""Where the control tokens of common chat templates open or close: <|im_end|>, </s>, <end_of_turn>, [INST], <<SYS>>."""


def one_line(text: str) -> str:
    """The text with line breaks, tabs and other control characters written out, and chat control tokens broken by a space.

    Some servers read control tokens even inside a message; broken, they are plain text. Anything else stays as it is.
    """
    line = "".join(_ESCAPES.get(c) or (f"\\u{ord(c):04x}" if unicodedata.category(c) in _NOT_SHOWN else c) for c in text)
    return _CONTROL_TOKEN.sub(lambda match: f"{match[0]} " if match[0] != ">" else " >", line)
