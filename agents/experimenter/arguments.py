"""What each tool takes; a model's arguments are validated against these, and their JSON schemas are what it is told."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.experimenter.hypotheses import Status
from agents.llm import Tool
from prompts import Prompt

MAX_TEXTS = 12
LONGEST_TEXT = 1500
"""Characters."""
MAX_CLAUSES = 5

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
Phrase = Annotated[str, Field(min_length=1, max_length=400)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Activations(_Arguments):
    texts: Texts


class Excerpts(_Arguments):
    low: float = Field(0.9, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)
    count: int = Field(6, ge=1, le=MAX_TEXTS)


class NearestSilent(_Arguments):
    text: Text
    count: int = Field(5, ge=1, le=MAX_TEXTS)


class Edit(_Arguments):
    kind: Literal["swap", "delete", "mask"]
    find: str = Field("", max_length=200)
    to: str = Field("", max_length=200)


class Edits(_Arguments):
    text: Text
    edits: Annotated[list[Edit], Field(min_length=1, max_length=MAX_TEXTS)]


class OutputTokens(_Arguments):
    pass


class Ablation(_Arguments):
    texts: Texts
    to: Literal["mean", "zero"] = "mean"


class Steering(_Arguments):
    prompts: Annotated[list[Text], Field(min_length=1, max_length=4)]
    direction: Literal["up", "down"] = "up"


class ScoreOnSelect(_Arguments):
    explanation: Phrase


class NoteHypothesis(_Arguments):
    text: Phrase
    status: Status = "open"
    evidence_for: list[int] = Field(default_factory=list)
    evidence_against: list[int] = Field(default_factory=list)


class StatedClause(_Arguments):
    text: Phrase
    experiments: list[int] = Field(default_factory=list)


class Conclude(_Arguments):
    clauses: Annotated[list[StatedClause], Field(min_length=1, max_length=MAX_CLAUSES)]
    confidence: float = Field(ge=0, le=1)


MEASURED: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "excerpts": Excerpts,
        "activations": Activations,
        "edits": Edits,
        "nearest_silent": NearestSilent,
        "output_tokens": OutputTokens,
        "ablation": Ablation,
        "steering": Steering,
        "score_on_select": ScoreOnSelect,
    }
)
"""Tools that experiment: what they find has a number that can be cited."""
TOOLS: Mapping[str, type[BaseModel]] = MappingProxyType({**MEASURED, "note_hypothesis": NoteHypothesis, "conclude": Conclude})


def read(name: str, arguments: Mapping[str, Any]) -> BaseModel | str:
    """The arguments of a tool, or what is wrong with them."""
    try:
        return TOOLS[name].model_validate(dict(arguments))
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in error.errors()[:4]]
        return "; ".join(wrong)


def offered(prompt: Prompt) -> tuple[Tool, ...]:
    """The tools as a model is told of them; their descriptions are sections of the prompt."""
    return tuple(Tool(name=name, description=prompt.render(f"tool {name}"), parameters=_schema(kind)) for name, kind in TOOLS.items())


def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    """Without references, which not all servers follow, and without titles."""
    schema = kind.model_json_schema()
    found = _plain(schema, schema.get("$defs", {}))
    assert isinstance(found, dict)
    return found


def _plain(node: Any, defs: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_plain(each, defs) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _plain(defs[node["$ref"].rpartition("/")[2]], defs)
    return {
        key: {name: _plain(each, defs) for name, each in value.items()} if key == "properties" else _plain(value, defs)
        for key, value in node.items()
        if key not in ("$defs", "title", "description")
    }
