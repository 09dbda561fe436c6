"""What asks a language model something: clients with cache, budget and retries; explainers, and simulators."""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from agents.explainers import EXPLAINERS, Explainer
    from agents.explanation import Explanation, Simulation
    from agents.llm import LLM, Chat, ChatReply, Message, Readout, ReadoutReply
    from agents.simulators import SIMULATORS, Simulator

__all__ = [
    "EXPLAINERS",
    "LLM",
    "SIMULATORS",
    "Chat",
    "ChatReply",
    "Explainer",
    "Explanation",
    "Message",
    "Readout",
    "ReadoutReply",
    "Simulation",
    "Simulator",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        **dict.fromkeys(("EXPLAINERS", "Explainer"), "agents.explainers"),
        **dict.fromkeys(("Explanation", "Simulation"), "agents.explanation"),
        **dict.fromkeys(("LLM", "Chat", "ChatReply", "Message", "Readout", "ReadoutReply"), "agents.llm"),
        **dict.fromkeys(("SIMULATORS", "Simulator"), "agents.simulators"),
    },
)
