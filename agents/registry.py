"""A folder of parts that a language model can serve or not (analyzers.folder finds its files)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from agents.llm import LLM, Capability
from analyzers.errors import ProviderError
from analyzers.folder import Folder

Part = TypeVar("Part")
Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[Part]):
    """One registered part and what it needs of a language model."""

    name: str
    needs: frozenset[Capability] | None
    """Capabilities the language model must have; None: works without a language model."""
    rank: int
    """Among several that a language model can serve, the lowest is picked."""
    make: Callable[..., Part]
    """Called with the language model, or with nothing where `needs` is None."""


class Registry(Generic[Part]):
    """The parts of one folder by name."""

    def __init__(self, package: str, kind: str) -> None:
        """kind: what one part is called in messages: explainer, simulator."""
        self.kind = kind
        self._folder: Folder[Entry[Part]] = Folder(package, kind)

    def add(self, name: str, *, needs: frozenset[Capability] | None = None, rank: int = 0) -> Callable[[Factory], Factory]:
        """Decorate a class or function that makes a part."""

        def register(make: Factory) -> Factory:
            self._folder.add(name)(Entry(name, needs, rank, make))
            return make

        return register

    def entries(self) -> dict[str, Entry[Part]]:
        """All parts of the folder by name."""
        return self._folder.all()

    def create(self, name: str, llm: LLM | None = None) -> Part:
        """The part of that name around `llm`; raises ProviderError for an unknown name or a language model that cannot serve it."""
        entries = self.entries()
        if name not in entries:
            raise ProviderError(f"no {self.kind} is called {name!r}; choose one of {', '.join(entries)}")
        entry = entries[name]
        if entry.needs is None:
            return entry.make()
        if llm is None:
            raise ProviderError(f"the {self.kind} {name!r} asks a language model; name one, such as local:qwen2.5-coder-0.5b")
        missing = entry.needs - llm.capabilities
        if missing:
            lacks, has = ", ".join(sorted(missing)), ", ".join(sorted(llm.capabilities)) or "nothing"
            raise ProviderError(
                f"{llm.name!r} cannot serve the {self.kind} {name!r}: it lacks {lacks} (it has {has}); choose another {self.kind} or model"
            )
        return entry.make(llm)

    def pick(self, llm: LLM) -> Part:
        """The best part that `llm` can serve; raises ProviderError where there is none."""
        usable = [entry for entry in self.entries().values() if entry.needs is not None and entry.needs <= llm.capabilities]
        if not usable:
            has = ", ".join(sorted(llm.capabilities)) or "no capability"
            raise ProviderError(f"{llm.name!r} can serve no {self.kind}: it has {has}; choose another model")
        return min(usable, key=lambda entry: entry.rank).make(llm)
