"""Has a model write texts that the site should fire on, from the explanation alone, and others; then measures what the site does on them.

Source: the input side of Gur-Arieh et al. 2025 (arXiv 2501.08319). No corpus text is used, so none can have been shown. A text counts by
its loudest activation, as a share of the site's peak.
"""

import re
from collections.abc import Sequence
from typing import Literal, get_args

from agents.llm import LLM, Chat, ChatReply, Message, Reply
from agents.untrusted import one_line
from analyzers.errors import Failed
from evals.scorers import SCORERS
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.labs import Activating
from evals.scoring.material import Material
from prompts import load

Kind = Literal["activating", "neutral"]
KINDS: tuple[Kind, ...] = get_args(Kind)

TEXTS = 8
"""Asked for, of each kind."""
LEAST = 4
"""Of each kind; with fewer that can be used, the explanation has no score."""
TEMPERATURE = 0.7
TOKENS_A_TEXT = 48

_ENTRY = re.compile(r"^\s*\d+\s*[.):]\s*(\S.*?)\s*$", re.MULTILINE)
_QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("'", "'"), ("**", "**"))


@SCORERS.add("generation", needs=frozenset({"chat"}))
class Generation:
    """The generation scorer around a chat model."""

    measure: Measure = "auroc"
    role: Role = "apart"
    chance = 0.5

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._prompt = load("write_texts")
        self._shown = frozenset(_key(text) for example in self._prompt.examples for text in example["texts"])
        self.name = f"generation({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the prompt."""
        return self._prompt.hash

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """One answer a text: whether it was meant to activate, and its loudest activation as a share of the peak, at most 1.

        Failed for all where nothing can be measured, and for an explanation from which too few texts were written.
        """
        lab: object = material.lab
        if not isinstance(lab, Activating):
            return [Failed("score", "texts can only be measured on a subject, and there is none")] * len(explanations)
        if material.peak <= 0:
            return [Failed("score", "the site never fires")] * len(explanations)
        requests = [self._request(explanation, kind, seed) for explanation in explanations for kind in KINDS]
        written = await self._llm.answer(requests)
        outcomes: list[Judged | Failed] = []
        for start in range(0, len(written), len(KINDS)):
            outcomes.append(self._outcome(lab, written[start], written[start + 1], material.peak))
        return outcomes

    def _request(self, explanation: str, kind: Kind, seed: int) -> Chat:
        prompt = self._prompt
        turns = [Message(role="system", content=prompt.render("system"))]
        for example in prompt.examples:
            asked = prompt.render(example["kind"], explanation=example["explanation"], count=str(len(example["texts"])))
            turns += [Message(role="user", content=asked), Message(role="assistant", content=_numbered(example["texts"]))]
        asked = prompt.render(kind, explanation=one_line(explanation) or prompt.render("null"), count=str(TEXTS))
        messages = (*turns, Message(role="user", content=asked))
        return Chat(messages=messages, max_tokens=TEXTS * TOKENS_A_TEXT, temperature=TEMPERATURE, seed=seed)

    def _outcome(self, lab: Activating, activating: Reply | Failed, neutral: Reply | Failed, peak: float) -> Judged | Failed:
        written: list[dict[str, str]] = []
        for reply in (activating, neutral):
            texts = self._texts(reply)
            if isinstance(texts, Failed):
                return texts
            written.append(texts)
        both = written[0].keys() & written[1].keys()
        rows: list[tuple[Kind, int, str]] = []
        for kind, texts in zip(KINDS, written, strict=True):
            usable = [text for key, text in texts.items() if key not in both][:TEXTS]
            if len(usable) < LEAST:
                return Failed("write", f"only {len(usable)} of {TEXTS} {kind} texts are neither copies nor both activating and neutral")
            rows += [(kind, number, text) for number, text in enumerate(usable)]
        answers = []
        for (kind, number, text), excerpt in zip(rows, lab.activations([text for _, _, text in rows]), strict=True):
            loudest = excerpt if isinstance(excerpt, Failed) else min(1.0, float(excerpt.activations.max()) / peak)
            answers.append(Answer(f"{kind}/{number}", text, float(kind == "activating"), loudest, kind))
        return Judged(tuple(answers))

    def _texts(self, reply: Reply | Failed) -> dict[str, str] | Failed:
        """The different texts of a reply by what makes them different, without copies of the examples."""
        if isinstance(reply, Failed):
            return reply
        if not isinstance(reply, ChatReply):
            raise TypeError(f"{self._llm.name!r} answered a chat with {reply.kind!r}")
        entries = [_unquoted(entry) for entry in _ENTRY.findall(reply.text)]
        if reply.finish == "length":
            entries = entries[:-1]
        found: dict[str, str] = {}
        for entry in entries:
            if (key := _key(entry)) and key not in self._shown:
                found.setdefault(key, entry)
        return found or Failed("write", f"no text of its own in the reply: {reply.text.strip()[:80]!r}")


def _numbered(texts: Sequence[str]) -> str:
    return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, start=1))


def _unquoted(text: str) -> str:
    for opening, closing in _QUOTES:
        if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
            return text[len(opening) : -len(closing)].strip()
    return text


def _key(text: str) -> str:
    """Equal for texts that differ in case, space and punctuation alone."""
    return " ".join(re.findall(r"\w+", text.casefold()))
