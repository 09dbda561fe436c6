"""A language model as the rest of the project sees it: one async method, typed requests and replies.

Four requests exist. `Chat` is a conversation. `Readout` is teacher-forced: a text in pieces, and the log-probabilities of some
options right after some of the pieces, which is what the all-at-once simulator needs. `Choice` is a conversation that breaks off where
an answer would come, and how likely given answers are there. `ToolChat` is a conversation in which the model may call tools. A
provider says in `capabilities` which it can do.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from analyzers.errors import Failed
from analyzers.whole_text import whole_text

Capability = Literal["chat", "prefill", "top_logprobs", "json_schema", "readout", "choice", "tools"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(_Frozen):
    """One turn; a last turn by the assistant is to be continued (capability `prefill`)."""

    role: Literal["system", "user", "assistant"]
    content: str


class Chat(_Frozen):
    """A conversation to be answered."""

    kind: Literal["chat"] = "chat"
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    """Tells apart several samples of the same conversation, for the provider and for the cache."""
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    json_schema: Mapping[str, Any] | None = None


class Readout(_Frozen):
    """A fixed text, prefix + head + pieces, and where to read the next-token log-probabilities of some options."""

    kind: Literal["readout"] = "readout"
    prefix: str
    """Shared by many requests: computed once."""
    head: str
    """Shared by the excerpts of one explanation."""
    pieces: tuple[str, ...]
    """Tokenised one by one, so that positions are exact."""
    after: tuple[int, ...]
    """Indices of the pieces right after which the options are read."""
    options: tuple[str, ...]
    """Each a single token."""


class Choice(_Frozen):
    """A conversation that breaks off where an answer would come, and the answers whose probabilities are read there."""

    kind: Literal["choice"] = "choice"
    messages: tuple[Message, ...]
    options: tuple[str, ...]
    """Each over all its tokens, however many, so that answers of one word and of several compare."""


class ToolCall(_Frozen):
    """A call of a tool that a model asks for."""

    id: str
    """Tells the calls of one turn apart; empty where the provider gave none."""
    name: str
    arguments: str
    """JSON as the model wrote it, which need not be JSON."""


class Turn(_Frozen):
    """One turn of a conversation with tools: what somebody said, the calls an assistant asked for, or the result of one of them."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    answers: str = ""
    """Of a tool: the id of the call."""


class Tool(_Frozen):
    """What a model may call."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of the arguments, an object."""


class ToolChat(_Frozen):
    """A conversation to go on with, by words or by calls of tools."""

    kind: Literal["tools"] = "tools"
    messages: tuple[Turn, ...]
    tools: tuple[Tool, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    required: bool = False
    """Whether the reply must call a tool."""


Request = Annotated[Chat | Readout | Choice | ToolChat, Field(discriminator="kind")]


Written = Annotated[str, AfterValidator(whole_text)]
"""What a model wrote, as a file takes it."""


class Usage(_Frozen):
    """What one call took; a reply from the cache took nothing."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


class TokenLogprob(_Frozen):
    """A generated token with the likeliest alternatives at its place."""

    token: Written
    logprob: float
    top: tuple[tuple[Written, float], ...] = ()


class ChatReply(_Frozen):
    """What was written."""

    kind: Literal["chat"] = "chat"
    text: Written
    """The continuation alone, without a prefill."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """None: the provider returned none, whatever was asked."""
    finish: str = "stop"
    usage: Usage = Usage()


class ReadoutReply(_Frozen):
    """What was read."""

    kind: Literal["readout"] = "readout"
    logprobs: tuple[tuple[float | None, ...], ...]
    """[position, option] natural logarithms; None where the provider did not return that option."""
    usage: Usage = Usage()


class ChoiceReply(_Frozen):
    """How likely the answers are."""

    kind: Literal["choice"] = "choice"
    logprobs: tuple[float, ...]
    """[option] natural logarithms over all that the model could write."""
    usage: Usage = Usage()


class WrittenCall(ToolCall):
    """A call in a reply, as a file takes it."""

    id: Written
    name: Written
    arguments: Written


class ToolReply(_Frozen):
    """What was said, and what is to be called."""

    kind: Literal["tools"] = "tools"
    text: Written
    tool_calls: tuple[WrittenCall, ...] = ()
    finish: str = "stop"
    usage: Usage = Usage()


Reply = Annotated[ChatReply | ReadoutReply | ChoiceReply | ToolReply, Field(discriminator="kind")]


@runtime_checkable
class LLM(Protocol):
    """Anything that answers requests. Wrappers (cache, budget, retries) are LLMs around an LLM."""

    @property
    def name(self) -> str:
        """As the user wrote it: `local:qwen2.5-coder-0.5b`."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What must be equal for two replies to be interchangeable: provider, model, revision or weights hash, dtype, base URL."""

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    async def answer(self, requests: Sequence[Request]) -> list[Reply | Failed]:
        """One outcome a request, in order.

        A failure of one request is a Failed in its place; what makes all further calls pointless is raised: ProviderError (wrong key,
        unreachable, unable) or LimitReached.
        """
