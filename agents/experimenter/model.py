"""A language model of ours as langchain takes one, so that its agents run on it with cache, budget, retries and transcript as they are."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict

from agents.llm import LLM, Tool, ToolCall, ToolChat, ToolReply
from agents.providers.tools import packed, to_turns
from analyzers.errors import Failed


class Unanswered(Exception):
    """The model did not answer a request, for good."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


class LLMChatModel(BaseChatModel):
    """A chat model with tools around an LLM that has the capability `tools`; asynchronous only.

    Arguments that the model wrote as no JSON object arrive as `{"malformed": text}`, for a tool to refuse. Raises Unanswered for a
    request that failed, and what the LLM raises.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    # Any: pydantic would check a protocol by its attributes, which calls properties that load models.
    llm: Any
    max_tokens: int = 1024
    temperature: float = 0.0
    seed: int = 0

    @property
    def _llm_type(self) -> str:
        return "explicate"

    def bind_tools(
        self, tools: "Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool]", *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools. tool_choice: `any` where the reply must call one."""
        functions = [convert_to_openai_tool(tool)["function"] for tool in tools]
        offered = [Tool(name=f["name"], description=f.get("description", ""), parameters=f.get("parameters", {})) for f in functions]
        return self.bind(tools=offered, required=tool_choice in ("any", "required"), **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        *,
        tools: Sequence[Tool] = (),
        required: bool = False,
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        llm: LLM = self.llm
        request = ToolChat(
            messages=to_turns(messages),
            tools=tuple(tools),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            required=required,
        )
        (outcome,) = await llm.answer([request])
        if isinstance(outcome, Failed):
            raise Unanswered(outcome)
        if not isinstance(outcome, ToolReply):
            raise TypeError(f"{llm.name!r} answered a conversation with tools with {outcome!r:.80}")
        calls = _apart(outcome.tool_calls, len(messages))
        message = AIMessage(outcome.text, tool_calls=[{"id": c.id, "name": c.name, "args": packed(c.arguments)} for c in calls])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("asynchronous only: await ainvoke")


def _apart(calls: Sequence[ToolCall], place: int) -> list[ToolCall]:
    """The calls with ids that tell them apart: those given, where they do."""
    seen: set[str] = set()
    named = []
    for number, call in enumerate(calls):
        name = call.id if call.id and call.id not in seen else f"call-{place}-{number}"
        seen.add(name)
        named.append(ToolCall(id=name, name=call.name, arguments=call.arguments))
    return named
