"""Language models behind one protocol (agents/llm.py): each file of this folder reaches one kind of them."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from agents.providers.chat import ChatLLM
    from agents.providers.echo import EchoLLM
    from agents.providers.local import LocalLLM
    from agents.providers.scripted import ScriptedLLM

__all__ = ["ChatLLM", "EchoLLM", "LocalLLM", "ScriptedLLM"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "ChatLLM": "agents.providers.chat",
        "EchoLLM": "agents.providers.echo",
        "LocalLLM": "agents.providers.local",
        "ScriptedLLM": "agents.providers.scripted",
    },
)
