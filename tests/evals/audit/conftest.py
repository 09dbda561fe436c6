"""A planted model: it answers by known weights of words and explains itself as it is told to."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.budget import Budget
from agents.cache import ReplyCache
from agents.metered import Metered
from agents.prices import FREE
from agents.providers.scripted import ScriptedLLM

WEIGHTS = {"great": 1.6, "superb": 2.0, "fine": 0.9, "lovely": 1.3, "dull": -1.1, "awful": -2.0, "bad": -1.4, "slow": -0.8, "not": -0.5}


@dataclass
class Planted:
    """Says positive or negative by the sum of its words' weights, states its probability, and explains by `values(word, label)`."""

    explain: Callable[[str, str], float] = lambda word, label: (1 if label == "positive" else -1) * WEIGHTS.get(word.casefold(), 0.0)
    garble: Callable[[str, str], Any] = lambda text, reply: reply
    """What becomes of a reply to a text; also a whole answer of the server."""
    chat: Callable[..., Any] = field(default=lambda text: text)
    asked: list[Any] = field(default_factory=list)
    """All requests that came."""

    def p(self, text: str) -> float:
        """Probability of positive."""
        return 1 / (1 + math.exp(-0.05 - sum(WEIGHTS.get(word.casefold(), 0.0) for word in re.findall(r"[\w']+", text))))

    def __call__(self, body: dict[str, Any]) -> Any:
        asked = body["messages"][-1]["content"]
        if "\nText: " not in asked:
            return self.chat("7")
        text = asked.rpartition("\nText: ")[2]
        p = self.p(text)
        label = "positive" if p > 0.5 else "negative"
        answer = f"Answer: {label}\nConfidence: {100 * max(p, 1 - p):.3f}%"
        words = re.findall(r"[\w']+|[^\w\s]", text)
        lines = [answer]
        form = asked.partition("Reply with these lines:\n")[2]
        if "Importance:" in form:
            lines.append("Importance: " + json.dumps([[word, self.explain(word, label)] for word in words]))
        if "Words:" in form:
            best = sorted(words, key=lambda word: -self.explain(word, label))
            lines.append("Words: " + "; ".join(best[: max(1, len(words) // 5)]))
        if "Redacted:" in form:
            lines.append("Redacted: " + " ".join("[REDACTED]" if self.explain(word, label) > 0 else word for word in words))
        if form.find("Answer:") > form.find("Importance:") >= 0:
            lines.reverse()
        stop = (body.get("stop") or ["\0"])[0]
        return self.chat(self.garble(text, "\n".join(lines).partition(stop)[0]))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """An honest planted model in this process, in place of any that is connected to; `planted.explain` and `planted.garble` change it."""
    made = Planted()

    def answer(request: Any) -> Any:
        made.asked.append(request)
        return made({"messages": [{"content": message.content} for message in request.messages], "stop": list(request.stop)})

    async def connect(spec: str, *, budget: Budget, cache: ReplyCache | None, on_call: Any, **_: Any) -> Metered:
        llm = ScriptedLLM(answer, name=spec, capabilities=frozenset({"chat"}))
        return Metered(llm, budget=budget, cache=cache, price=FREE, lanes=4, on_call=on_call)

    monkeypatch.setattr("evals.calls.connect", connect)
    return made


@pytest.fixture
def planted_server(server: Any) -> Any:
    """The same behind a loopback server; returns the server."""
    server.answer = Planted(chat=lambda reply: server.chat(reply) if isinstance(reply, str) else reply)
    return server
