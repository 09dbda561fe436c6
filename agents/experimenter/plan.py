"""The experiment on a fixed plan, for models without tools: hypothesise, write texts, measure, revise, choose.

For every hypothesis the model writes texts that should make the site fire and texts of the same kind that should not; what is measured
goes back to it as predictions that held and failed. After some rounds the hypothesis that does best on the select split is the answer,
and the share of its predictions that held is its confidence.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.experimenter.bench import FIRES, SILENT
from agents.experimenter.limits import Spent, Tallied
from agents.experimenter.session import Result, Session
from agents.experimenter.told import fence
from agents.explainers import EXPLAINERS
from agents.explainers.leakage import leak
from agents.explainers.reply import read_explanation
from agents.explanation import Explanation
from agents.llm import Chat, ChatReply, Message
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import Prompt

HYPOTHESES = 3
"""At a time."""
TEXTS = 4
"""Written for each hypothesis, of either kind."""
LOUD_SHOWN, OTHER_SHOWN = 6, 4
TEMPERATURE = 0.7
"""Of the texts that are written."""
MAX_TOKENS = 400
_ITEM = re.compile(r"^\s*(?:\d{1,2}\s*[.):]|[-*\u2022])\s*(.+?)\s*$", re.MULTILINE)


@dataclass
class _Tested:
    """A hypothesis with the texts it was tried on."""

    text: str
    held: int = 0
    predictions: int = 0
    lines: list[str] = field(default_factory=list)
    """What was measured, a line a text."""

    @property
    def share(self) -> float:
        """Of the predictions that held; 0 where nothing was predicted, which orders hypotheses and is no confidence."""
        return self.held / self.predictions if self.predictions else 0.0


async def run_plan(llm: Tallied, session: Session, prompt: Prompt, excerpts: Sequence[Excerpt], *, seed: int) -> None:
    """Experiment until the session has an accepted answer, or no hypothesis can be had.

    Raises LimitReached at a limit (Spent at one of this site) and what the model raises.
    """
    await _Plan(llm, session, prompt, excerpts, seed).run()


class _Plan:
    def __init__(self, llm: Tallied, session: Session, prompt: Prompt, excerpts: Sequence[Excerpt], seed: int) -> None:
        self._llm = llm
        self._session = session
        self._prompt = prompt
        self._excerpts = excerpts
        self._seed = seed
        self._tested: dict[str, _Tested] = {}
        self._few_shot: list[Message] = []
        for example in prompt.examples:
            answer = self._example(example["answer"])
            self._few_shot += [Message(role="user", content=example["user"]), Message(role="assistant", content=answer)]

    async def run(self) -> None:
        loud = await self._call("excerpts", {"low": 0.8, "high": 1.0, "count": LOUD_SHOWN})
        other = await self._call("excerpts", {"low": 0.0, "high": 0.8, "count": OTHER_SHOWN})
        shown = {"excerpts": _lines(loud), "others": _lines(other)}
        hypotheses = await self._ask("hypothesise", HYPOTHESES, shown, seed=self._seed)
        if not hypotheses:
            # A model too weak for a list may still name what it sees.
            (outcome,) = await EXPLAINERS.create("marked-text", self._llm).explain(self._excerpts, candidates=1, seed=self._seed)
            hypotheses = [_one_clause(outcome.text)] if isinstance(outcome, Explanation) else []
        for number in range(self._session.limits.rounds):
            now = [await self._test(text, number) for text in hypotheses]
            if not now or number == self._session.limits.rounds - 1:
                break
            found = "\n\n".join(self._prompt.render("finding", hypothesis=one.text, lines=fence("\n".join(one.lines))) for one in now)
            revised = await self._ask("revise", HYPOTHESES, {**shown, "findings": found}, seed=self._seed + number + 1)
            hypotheses = [text for text in revised if _key(text) not in self._tested] or hypotheses
        await self._conclude()

    async def _test(self, text: str, number: int) -> _Tested:
        tested = self._tested.setdefault(_key(text), _Tested(text))
        await self._call("note_hypothesis", {"text": text})
        seed = self._seed + 100 * (number + 1)
        texts = {
            kind: await self._ask(kind, TEXTS, {"hypothesis": text}, seed=seed, temperature=TEMPERATURE) for kind in ("firing", "silent")
        }
        speaks: dict[bool, list[int]] = {True: [], False: []}
        for kind, written in texts.items():
            if not written:
                continue
            result = await self._call("activations", {"texts": written})
            held = [(row["peak"] >= FIRES) if kind == "firing" else (row["peak"] < SILENT) for row in _rows(result)]
            tested.lines += [self._line(kind, row) for row in _rows(result)]
            tested.held += sum(held)
            tested.predictions += len(held)
            if held and result.number is not None:
                speaks[2 * sum(held) > len(held)].append(result.number)
        status = "open" if not any(speaks.values()) else "refuted" if speaks[False] else "supported"
        await self._call(
            "note_hypothesis", {"text": text, "status": status, "evidence_for": speaks[True], "evidence_against": speaks[False]}
        )
        return tested

    async def _conclude(self) -> None:
        """Answer with the tested hypothesis that does best on select; by its predictions where none can be scored."""
        known = {_key(one.text): one for one in self._session.hypotheses.all()}
        standing = [key for key in self._tested if key in known and known[key].status != "refuted"]
        # Where all are refuted, the one of them that predicts best is still the best that is known.
        candidates = sorted(standing or self._tested, key=lambda key: -self._tested[key].share)
        for key in candidates[: self._session.limits.select_scores]:
            await self._call("score_on_select", {"explanation": self._tested[key].text})
        if not candidates:
            return
        tested = [key for key in candidates if self._tested[key].predictions]
        if not tested:
            raise Spent("no hypothesis that stands was tested: the model wrote no texts for one")

        def merit(key: str) -> tuple[float, float]:
            score = known[key].score if key in known else None
            return (-2.0 if score is None else score), self._tested[key].share

        best = self._tested[max(tested, key=merit)]
        clause = {"text": best.text, "experiments": sorted(known[_key(best.text)].support) if _key(best.text) in known else []}
        for _ in range(2):
            # Without an experiment that supports it, it is sent back once, and kept as what it is.
            await self._call("conclude", {"clauses": [clause], "confidence": round(best.share, 3)})

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Perform a call of the plan; beyond the limit of calls nothing more is asked, and the session answers with its best."""
        if self._session.accepted:
            return Result(None, {})
        if name != "conclude" and self._session.spent:
            raise Spent(self._session.spent)
        return await self._session.perform(name, arguments)

    async def _ask(self, section: str, count: int, variables: Mapping[str, str], *, seed: int, temperature: float = 0.0) -> list[str]:
        """A list that the model writes, at most `count` of it; empty where it cannot be read."""
        schema = _SCHEMA if "json_schema" in self._llm.capabilities else None
        form = self._prompt.render("form schema" if schema else "form list")
        messages = (
            Message(role="system", content=self._prompt.render("system", form=form)),
            *self._few_shot,
            Message(role="user", content=self._prompt.render(section, count=str(count), **variables)),
        )
        request = Chat(messages=messages, max_tokens=MAX_TOKENS, temperature=temperature, seed=seed, json_schema=schema)
        (reply,) = await self._llm.answer([request])
        if isinstance(reply, Failed):
            return []
        assert isinstance(reply, ChatReply)
        items = list(dict.fromkeys(read_list(reply.text)))
        if section in ("firing", "silent"):
            return [item[:_LONGEST] for item in items][:count]
        read = [read_explanation(ChatReply(text=item), lead="") for item in items]
        return [_one_clause(text) for text in read if not isinstance(text, Failed) and not self._copied(text)][:count]

    def _copied(self, text: str) -> bool:
        """Whether a guess is taken from the example, as weak models do."""
        return any(
            leak(
                text,
                answers=example["answer"],
                few_shots=[example["user"]],
                excerpts=[excerpt.text for excerpt in self._excerpts],
                loud=self._session.loud,
            )
            for example in self._prompt.examples
        )

    def _example(self, answer: Sequence[str]) -> str:
        if "json_schema" in self._llm.capabilities:
            return json.dumps({"items": answer}, ensure_ascii=False)
        return "\n".join(f"{number}. {item}" for number, item in enumerate(answer, start=1))

    def _line(self, kind: str, row: Mapping[str, Any]) -> str:
        peak = row["peak"]
        was = "fired" if peak >= FIRES else "silent" if peak < SILENT else "weak"
        return self._prompt.render(f"was {was}", predicted=self._prompt.render(f"predicted {kind}"), text=row["text"])


_LONGEST = 400
"""Characters of a text that is measured."""
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}}},
    "required": ["items"],
    "additionalProperties": False,
}


def read_list(text: str) -> list[str]:
    """The items of a JSON object's `items`, or of a list with numbers or bullets, without empty ones."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and isinstance(found.get("items"), list):
        listed = [item for item in found["items"] if isinstance(item, str)]
    else:
        listed = _ITEM.findall(text)
    return [item for item in (" ".join(each.split()) for each in listed) if item]


def _rows(result: Result) -> list[Mapping[str, Any]]:
    return [row for row in result.data.get("texts", ()) if "peak" in row]


def _lines(result: Result) -> str:
    return fence("\n".join(f"{number}. {row['text']}" for number, row in enumerate(_rows(result), start=1)))


def _one_clause(text: str) -> str:
    """As the session keeps a hypothesis: semicolons divide the clauses of an explanation."""
    return text.replace(";", ",")


def _key(text: str) -> str:
    return " ".join(text.casefold().split())
