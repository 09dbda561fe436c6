"""The experiments themselves: what a tool measures, as a JSON object.

Strengths are relative: 10 is the loudest activation of the explain excerpts, 0 is silence. Corpus text and what the subject writes are
on one line, with chat control tokens broken.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel

from agents.experimenter import arguments as a
from agents.experimenter.lab import Laboratory
from agents.explainers.leakage import words
from agents.explainers.marked_text import MARKED_LEVEL, marked_line, marks
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from analyzers.perturbations.mask import MASK

FIRES, SILENT = 3.0, 1.0
"""Strength from which on a token is one that the site fires on, and below which a text counts as one that it is silent in."""
BEFORE, AFTER = 32, 12
"""Tokens of an excerpt that are shown on either side of its loudest."""
LOUDEST = 6
"""Tokens listed with their strength."""
AROUND = 5
"""Tokens on either side of the loudest that are edited in turn where an edit names none."""
MAX_EDITED = 2 * a.MAX_TEXTS
"""Edited texts measured in one call."""
LENS = 10
STEERED_KL = 0.25
"""Nats, as in Gur-Arieh et al. 2025."""

ScoreOnSelect = Callable[[str], Awaitable[float | Failed]]
P = ParamSpec("P")
R = TypeVar("R")


class Bench(Protocol):
    """Where experiments are made."""

    async def measure(self, name: str, arguments: BaseModel) -> Mapping[str, Any] | Failed:
        """What the tool of that name finds, as a JSON object."""


_SUBJECT = ThreadPoolExecutor(1, thread_name_prefix="experiment")
"""One thread for all sites: the hooks of two measurements on one model would see each other, and on the event loop's own thread a
measurement of seconds would let the deadlines of other calls pass."""


async def _aside(measure: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(_SUBJECT, partial(measure, *args, **kwargs))


class Live:
    """Experiments on a site and its explain excerpts."""

    def __init__(
        self, lab: Laboratory, excerpts: Sequence[Excerpt], peak: float, *, score_on_select: ScoreOnSelect | None, seed: int
    ) -> None:
        """peak: activation of strength 10, raw units, > 0."""
        self._lab = lab
        self._excerpts = sorted(excerpts, key=_peak)
        self._peak = peak
        self._score_on_select = score_on_select
        self._seed = seed

    async def measure(self, name: str, arguments: BaseModel) -> Mapping[str, Any] | Failed:
        """What the tool of that name finds; Failed where the laboratory fails."""
        match arguments:
            case a.Excerpts():
                return self._quantiles(arguments)
            case a.NearestSilent():
                return self._nearest(arguments)
            case a.Activations():
                return await _aside(self._activations, arguments.texts)
            case a.Edits():
                return await _aside(self._edits, arguments)
            case a.OutputTokens():
                return await _aside(self._output_tokens)
            case a.Ablation():
                return await _aside(self._ablation, arguments)
            case a.Steering():
                return await _aside(self._steering, arguments)
            case a.ScoreOnSelect():
                return await self._score(arguments)
        raise ValueError(f"no experiment is called {name!r}")

    def _quantiles(self, wanted: a.Excerpts) -> Mapping[str, Any] | Failed:
        if wanted.low >= wanted.high:
            return Failed("experiment", f"low {wanted.low:g} is not below high {wanted.high:g}")
        n = len(self._excerpts)
        between = self._excerpts[math.floor(wanted.low * n) : math.ceil(wanted.high * n)]
        if not between:
            return Failed("experiment", f"no excerpt lies between the quantiles {wanted.low:g} and {wanted.high:g}")
        places = np.linspace(len(between) - 1, 0, min(wanted.count, len(between))).round().astype(int)
        return self._shown([between[place] for place in places.tolist()], of=n)

    def _nearest(self, wanted: a.NearestSilent) -> Mapping[str, Any] | Failed:
        silent = [excerpt for excerpt in self._excerpts if self._strength(_peak(excerpt)) < SILENT]
        if not silent:
            return Failed("experiment", "the site is silent in none of the excerpts")
        bags = [Counter(words(excerpt.text)) for excerpt in silent]
        near = _similarities(Counter(words(wanted.text)), bags)
        order = sorted(range(len(silent)), key=lambda number: (-near[number], number))[: wanted.count]
        return self._shown([silent[number] for number in order], of=len(silent))

    def _activations(self, texts: Sequence[str]) -> Mapping[str, Any]:
        measured = self._lab.activations(texts)
        opening, closing = marks(texts)
        return {
            "marks": [opening, closing],
            "texts": [self._outcome(text, each, (opening, closing)) for text, each in zip(texts, measured, strict=True)],
        }

    def _outcome(self, text: str, measured: Excerpt | Failed, brackets: tuple[str, str]) -> dict[str, Any]:
        if isinstance(measured, Failed):
            return {"text": one_line(text), "failed": one_line(measured.reason)}
        return self._excerpt(measured, brackets)

    def _edits(self, wanted: a.Edits) -> Mapping[str, Any] | Failed:
        (base,) = self._lab.activations([wanted.text])
        if isinstance(base, Failed):
            return base
        if any(not edit.find for edit in wanted.edits) and base.text != wanted.text:
            # Put together again from its tokens, such a text would differ in more than the edit.
            return Failed("experiment", "a character of the text is several tokens: say in each edit what to find")
        planned = [each for edit in wanted.edits for each in _edited(wanted.text, base, edit)]
        able = [(label, text) for label, text in planned if text.strip() and text != wanted.text]
        done = able[:MAX_EDITED]
        measured = self._lab.activations([text for _, text in done])
        brackets = marks([wanted.text, *(text for _, text in done)])
        rows: list[dict[str, Any]] = [
            {"edit": label, "failed": "changes nothing" if text == wanted.text else "leaves nothing"}
            for label, text in planned
            if text == wanted.text or not text.strip()
        ]
        rows += [{"edit": label, "failed": f"not measured: only {MAX_EDITED} are at a time"} for label, _ in able[MAX_EDITED:]]
        before = self._strength(_peak(base))
        for (label, text), each in zip(done, measured, strict=True):
            row = {"edit": label, **self._outcome(text, each, brackets)}
            if not isinstance(each, Failed):
                row["change"] = round(self._strength(_peak(each)) - before, 1)
            rows.append(row)
        return {"marks": list(brackets), "original": self._excerpt(base, brackets), "edits": rows}

    def _output_tokens(self) -> Mapping[str, Any] | Failed:
        found = self._lab.lens(LENS)
        if isinstance(found, Failed):
            return found
        sides = {"promoted": found.promoted, "suppressed": found.suppressed}
        return {side: [[one_line(token), round(float(logit), 2)] for token, logit in pairs] for side, pairs in sides.items()}

    def _ablation(self, wanted: a.Ablation) -> Mapping[str, Any]:
        rows: list[dict[str, Any]] = []
        for text, effect in zip(wanted.texts, self._lab.ablated(wanted.texts, to=wanted.to), strict=True):
            if isinstance(effect, Failed):
                rows.append({"text": one_line(text), "failed": one_line(effect.reason)})
                continue
            most = np.argsort(-effect.divergence, kind="stable")[:LOUDEST].tolist()
            largest = [
                {
                    "after": one_line(effect.tokens[at]),
                    "nats": round(float(effect.divergence[at]), 4),
                    "next": one_line(effect.before[at]),
                    "next_without": one_line(effect.after[at]),
                }
                for at in most
            ]
            rows.append({"text": one_line(text), "mean_nats": round(float(effect.divergence.mean()), 4), "largest": largest})
        return {"texts": rows}

    def _steering(self, wanted: a.Steering) -> Mapping[str, Any] | Failed:
        found = self._lab.steered(wanted.prompts, sign=1 if wanted.direction == "up" else -1, kl=STEERED_KL, seed=self._seed)
        if isinstance(found, Failed):
            return found
        pairs = zip(wanted.prompts, found.samples[0], strict=True)
        return {"continuations": [{"prompt": one_line(prompt), "text": one_line(text)} for prompt, text in pairs]}

    async def _score(self, wanted: a.ScoreOnSelect) -> Mapping[str, Any] | Failed:
        assert self._score_on_select is not None
        score = await self._score_on_select(wanted.explanation)
        if isinstance(score, Failed):
            # Why may quote a reply, and with it text of the select split.
            return Failed("experiment", "it could not be scored")
        return {"score": round(float(score), 3)}

    def _strength(self, activation: float) -> float:
        return 10.0 * activation / self._peak

    def _shown(self, excerpts: Sequence[Excerpt], *, of: int) -> dict[str, Any]:
        cut = [_around(excerpt) for excerpt in excerpts]
        brackets = marks([excerpt.text for excerpt in cut])
        return {"of": of, "marks": list(brackets), "texts": [self._excerpt(excerpt, brackets) for excerpt in cut]}

    def _excerpt(self, excerpt: Excerpt, brackets: tuple[str, str]) -> dict[str, Any]:
        strengths = [round(self._strength(activation), 1) for activation in excerpt.activations.tolist()]
        level = [MARKED_LEVEL if strength >= FIRES else 0 for strength in strengths]
        loudest = np.argsort(-excerpt.activations, kind="stable")[:LOUDEST].tolist()
        return {
            "text": marked_line(list(zip(excerpt.tokens, level, strict=True)), *brackets).strip(),
            "peak": round(self._strength(_peak(excerpt)), 1),
            "loudest": [[one_line(excerpt.tokens[at]), strengths[at]] for at in loudest if strengths[at] >= SILENT],
        }


def _peak(excerpt: Excerpt) -> float:
    return float(excerpt.activations.max(initial=0.0))


def _around(excerpt: Excerpt) -> Excerpt:
    at = int(np.argmax(excerpt.activations)) if _peak(excerpt) > 0 else 0
    window = slice(max(0, at - BEFORE), at + max(AFTER, BEFORE + AFTER - at) + 1)
    tokens, activations = excerpt.tokens[window], excerpt.activations[window]
    return Excerpt(excerpt.document, excerpt.start + (window.start or 0), tokens, activations, excerpt.stratum)


def _edited(text: str, base: Excerpt, edit: a.Edit) -> list[tuple[str, str]]:
    """(what is done, the text then): one where the edit names what to find, else one for each token around the loudest."""
    to = {"swap": edit.to, "delete": "", "mask": MASK}[edit.kind]
    instead = f" for {edit.to!r}" if edit.kind == "swap" else ""
    if edit.find:
        what = f"{edit.kind} {edit.find!r}{instead}"
        before, found, after = text.partition(edit.find)
        return [(one_line(what), _joined(before, to, after) if found else text)]
    at = int(np.argmax(base.activations))
    edited = []
    for place in range(max(0, at - AROUND), min(len(base.tokens), at + AROUND + 1)):
        token = base.tokens[place]
        bare = token.strip()
        if bare:
            space = token[: len(token) - len(token.lstrip())]
            now = "".join(base.tokens[:place]) + (space + to if to else "") + "".join(base.tokens[place + 1 :])
            edited.append((one_line(f"{edit.kind} {bare!r} at token {place}{instead}"), now))
    return edited


def _joined(before: str, to: str, after: str) -> str:
    if not to and re.search(r"(^|\s)$", before):
        after = after.removeprefix(" ")
    return before + to + after


def _similarities(query: Counter[str], bags: Sequence[Counter[str]]) -> list[float]:
    """Cosine of word counts, each times log(1 + texts / (1 + texts that have the word)), so that rare words count more."""
    weight = {word: math.log(1 + len(bags) / (1 + sum(word in bag for bag in bags))) for bag in (query, *bags) for word in bag}

    def norm(bag: Counter[str]) -> float:
        return math.sqrt(sum((count * weight[word]) ** 2 for word, count in bag.items()))

    size = norm(query)
    found = []
    for bag in bags:
        shared = sum(count * bag[word] * weight[word] ** 2 for word, count in query.items() if word in bag)
        found.append(shared / (size * norm(bag)) if shared else 0.0)
    return found
