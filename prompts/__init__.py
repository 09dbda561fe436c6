"""The texts that models read: one file a task, with strict variables, few-shot examples as data beside it, and a hash as version.

`prompts/NAME.md` begins with notes for people (not sent), then has sections under `## section` headings; a variable is written
`{{name}}`. `prompts/NAME.json`, where there is one, is a list of few-shot examples.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["Prompt", "PromptError", "Section", "load"]

_VARIABLE = re.compile(r"\{\{([a-z][a-z0-9_]*)\}\}")
_HEADING = re.compile(r"^## ([a-z][a-z0-9 _-]*)$", re.MULTILINE)


class PromptError(ValueError):
    """A prompt that does not exist, or variables that are not its own."""


@dataclass(frozen=True)
class Section:
    """A text with variables."""

    name: str
    text: str

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(_VARIABLE.findall(self.text))

    def render(self, **variables: str) -> str:
        """The text with every variable replaced once by its value, verbatim: what a value contains is never expanded again.

        Raises PromptError that lists all missing and all unknown variables.
        """
        missing, unknown = self.variables - variables.keys(), variables.keys() - self.variables
        if missing or unknown:
            wrong = [f"{what} {', '.join(sorted(names))}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
            raise PromptError(f"variables of the prompt {self.name!r}: {'; '.join(wrong)}")
        return _VARIABLE.sub(lambda match: variables[match[1]], self.text)


@dataclass(frozen=True)
class Prompt:
    """One prompt file with its few-shot examples."""

    name: str
    sections: Mapping[str, Section]
    examples: tuple[Mapping[str, Any], ...]
    hash: str
    """First 12 hexadecimal digits of the SHA-256 of the file and its few-shot data: the prompt's version."""

    def render(self, section: str, /, **variables: str) -> str:
        """One section with its variables (see Section.render); raises PromptError for a section that the file does not have."""
        if section not in self.sections:
            raise PromptError(f"the prompt {self.name!r} has no section {section!r}; it has {', '.join(sorted(self.sections))}")
        return self.sections[section].render(**variables)


def load(name: str, *, folder: Path = Path(__file__).parent) -> Prompt:
    """Read `NAME.md` and, where there is one, `NAME.json` of the folder; raises PromptError for a name without a file."""
    path = folder / f"{name}.md"
    names = sorted(file.stem for file in folder.glob("*.md"))
    if name not in names:
        raise PromptError(f"no prompt is called {name!r}; there are {', '.join(names) or 'none'}")
    text = path.read_bytes()
    data = path.with_suffix(".json")
    few_shots = data.read_bytes() if data.exists() else b""
    _, *parts = _HEADING.split(text.decode().replace("\r\n", "\n"))
    sections: dict[str, Section] = {}
    for section, body in zip(parts[::2], parts[1::2], strict=True):
        if section in sections:
            raise PromptError(f"the prompt {name!r} has two sections {section!r}")
        sections[section] = Section(f"{name}, {section}", body.strip("\n"))
    if not sections:
        raise PromptError(f"the prompt {name!r} has no section: write a line '## system' or the like above its text")
    return Prompt(
        name=name,
        sections=MappingProxyType(sections),
        examples=tuple(json.loads(few_shots)) if few_shots else (),
        # Lengths first, so that moving text from one file to the other is another prompt.
        hash=hashlib.sha256(b"%d %d\n" % (len(text), len(few_shots)) + text + few_shots).hexdigest()[:12],
    )
