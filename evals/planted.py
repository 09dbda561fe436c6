"""Planted neurons: sentences with activations that follow a known rule, its true explanation and several false ones.

A file of them is JSON: {name: {"kind", "explanation", "false_explanations": [text], "sentences": [[token or [token, activation]]]}}.
A bare token has activation 0; without "kind" the kind is "unspecified"; other keys are passed over. A "rule" is a regular expression
that carries out what the explanation says on any text: the neuron fires on the tokens of its first group, or of the whole match without
one. planted.json beside this file is the default set. Its false explanations are of three sorts: near misses, rules that are too wide
(for a conditional neuron the bare words), and unrelated ones; its sentences have tokens on which each of the first two would fire and the
neuron does not.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from analyzers.errors import ExplicateError
from analyzers.evidence import Excerpt

DEFAULT = Path(__file__).with_name("planted.json")

Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
Activation = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


def _with_activation(token: Any) -> Any:
    return (token, 0.0) if isinstance(token, str) else token


Token = Annotated[tuple[Annotated[str, Field(min_length=1)], Activation], BeforeValidator(_with_activation)]
Sentence = Annotated[tuple[Token, ...], Field(min_length=1)]


class Planted(BaseModel):
    """One planted neuron."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    kind: Text = "unspecified"
    explanation: Text
    rule: Annotated[str, AfterValidator(_compiles)] | None = None
    false_explanations: Annotated[tuple[Text, ...], Field(min_length=1)]
    sentences: Annotated[tuple[Sentence, ...], Field(min_length=1)]
    """[sentence][token] text and activation in any unit, >= 0."""

    @model_validator(mode="after")
    def _can_tell(self) -> Self:
        said = [self.explanation, *self.false_explanations]
        if len({text.strip().casefold() for text in said}) < len(said):
            raise ValueError("the explanation and the false explanations must all differ")
        if len({activation for sentence in self.sentences for _, activation in sentence}) < 2:
            raise ValueError("the activations are all the same; some tokens must fire and others not")
        return self

    def excerpts(self) -> tuple[Excerpt, ...]:
        """The sentences, each as an excerpt of a document of its own."""
        return tuple(
            Excerpt(
                document=f"planted/{self.name}/{index}",
                start=0,
                tokens=tuple(text for text, _ in sentence),
                activations=np.array([activation for _, activation in sentence], np.float32),
                stratum="top" if any(activation for _, activation in sentence) else "random",
            )
            for index, sentence in enumerate(self.sentences)
        )


def planted(path: Path | None = None) -> list[Planted]:
    """The planted neurons of a file, by default the set that comes along; ExplicateError names the file and the entry that is wrong."""
    path = path or DEFAULT
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExplicateError(f"cannot read planted neurons from {str(path)!r}: {error.strerror}; give a JSON file") from None
    except ValueError as error:
        raise ExplicateError(f"{str(path)!r} is not JSON ({error}); {_SHAPE}") from None
    if not isinstance(entries, dict) or not entries:
        raise ExplicateError(f"{str(path)!r} has no planted neurons; {_SHAPE}")
    return [_entry(path, name, entry) for name, entry in entries.items()]


def fingerprint(neurons: Sequence[Planted]) -> str:
    """SHA-256 of what the neurons say, whatever the layout of their file."""
    text = json.dumps([neuron.model_dump(mode="json") for neuron in neurons], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


_SHAPE = 'write {name: {"explanation", "false_explanations": [text], "sentences": [[token or [token, activation]]]}}'


def _entry(path: Path, name: str, entry: Any) -> Planted:
    if not isinstance(entry, dict):
        raise ExplicateError(f"{str(path)!r}, planted neuron {name!r}: not an object; {_SHAPE}")
    try:
        return Planted.model_validate({**entry, "name": name})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f" {part}" for part in first["loc"])
        raise ExplicateError(
            f"{str(path)!r}, planted neuron {name!r}{where}: {first['msg'].removeprefix('Value error, ')}; {_SHAPE}"
        ) from None
