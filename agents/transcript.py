"""One line of a run's transcript: a request and what came of it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents.llm import Reply, Request, Usage
from analyzers.errors import Failed


def prompt_hash(request: Request) -> str:
    """SHA-256 of the request, whoever was asked."""
    return hashlib.sha256(json.dumps(request.model_dump(), separators=(",", ":")).encode("ascii")).hexdigest()


def _said(reply: Reply) -> str | None:
    """What was written; a call of a tool as a line `name(arguments)`."""
    if reply.kind == "tools":
        calls = [f"{call.name}({call.arguments})" for call in reply.tool_calls]
        return "\n".join([*([reply.text] if reply.text else []), *calls])
    return reply.text if reply.kind == "chat" else None


@dataclass(frozen=True)
class CallRecord:
    """A request that was answered, by the model or from the cache; it holds no key."""

    llm: str
    request: Request
    outcome: Reply | Failed
    cached: bool
    usage: Usage
    """What it took; nothing where it was cached."""
    seconds: float

    def line(self) -> dict[str, Any]:
        """For transcript.jsonl: everything but the prompt itself, which its hash stands for."""
        failed = self.outcome.reason if isinstance(self.outcome, Failed) else None
        text = None if isinstance(self.outcome, Failed) else _said(self.outcome)
        return {
            "llm": self.llm,
            "prompt": prompt_hash(self.request),
            "kind": self.request.kind,
            "cached": self.cached,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "usd": self.usage.usd,
            "seconds": round(self.seconds, 3),
            "reply": text,
            "failed": failed,
        }


OnCall = Callable[[CallRecord], None]
