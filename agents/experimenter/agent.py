"""The experiment as an agent: the model decides what to try, langchain carries its calls to the tools and the results back."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, AgentState, hook_config
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.types import Command
from langsmith import tracing_context

from agents.experimenter.arguments import offered
from agents.experimenter.limits import Spent, Tallied
from agents.experimenter.model import LLMChatModel
from agents.experimenter.session import Result, Session
from agents.experimenter.told import told
from agents.providers.tools import parsed, to_function, unpacked
from prompts import Prompt

_AGAIN = 2
"""Turns in a row without a call after which the model is taken to have given up."""


class _Conduct(AgentMiddleware[AgentState[Any], None, Any]):
    """Carries calls to the session, in the order in which they were asked for, and ends when there is an answer."""

    def __init__(self, session: Session, llm: Tallied, prompt: Prompt) -> None:
        super().__init__()
        self._session = session
        self._llm = llm
        self._prompt = prompt
        self._results: dict[str, Result] = {}
        self._silent = 0

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[None]) -> dict[str, Any] | None:  # noqa: ARG002
        return {"jump_to": "end"} if self._session.accepted else None

    @hook_config(can_jump_to=["model"])
    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[None]) -> dict[str, Any] | None:  # noqa: ARG002
        message = state["messages"][-1]
        assert isinstance(message, AIMessage)
        if self._session.spent:
            # It was told so: this was the turn to conclude in.
            self._llm.stop = self._session.spent
        if not message.tool_calls:
            self._silent += 1
            if self._silent >= _AGAIN:
                raise Spent("the model went on without calling a tool, and without an answer")
            return {"messages": [HumanMessage(self._prompt.render("remind"))], "jump_to": "model"}
        self._silent = 0
        # Here rather than where langchain asks for each: there several run at a time, and experiments are numbered in order.
        self._results = {}
        for call in message.tool_calls:
            raw = unpacked(call["args"])
            self._results[call["id"] or ""] = await self._session.perform(call["name"], parsed(raw), raw)
        return None

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],  # noqa: ARG002
    ) -> ToolMessage:
        limits = self._session.limits
        call = request.tool_call
        result = self._results[call["id"] or ""]
        text = told(result, self._prompt, steps=limits.steps - self._llm.steps, calls=limits.tool_calls - self._session.calls)
        return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error" if result.failed else "success")


async def run_agent(llm: Tallied, session: Session, prompt: Prompt, *, seed: int) -> None:
    """Let the model experiment until the session has an accepted answer.

    Raises LimitReached at a limit (Spent at one of this site), Unanswered where the model does not answer, and what the model raises.
    """
    model = LLMChatModel(llm=llm, max_tokens=session.limits.max_tokens, seed=seed, cache=False)
    agent = create_agent(
        model,
        [to_function(tool) for tool in offered(prompt)],
        system_prompt=prompt.render("system"),
        middleware=[_Conduct(session, llm, prompt)],
    )
    # Corpus text goes to the model that was named and to nobody else, whatever the environment says of tracing.
    with tracing_context(enabled=False):
        await agent.ainvoke(
            {"messages": [HumanMessage(prompt.render("user"))]}, config={"recursion_limit": 8 * session.limits.steps + 50, "callbacks": []}
        )
