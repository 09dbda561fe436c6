"""A folder of interchangeable parts by name: each file adds one, and the folder finds its files by itself."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from analyzers.errors import ExplicateError

Part = TypeVar("Part")


@dataclass
class Folder(Generic[Part]):
    """The parts of one package by name; its modules are imported at the first question, not before."""

    package: str
    kind: str
    """What one part is called in messages: operator, method."""
    _parts: dict[str, Part] = field(default_factory=dict)
    _imported: bool = False

    def add(self, name: str) -> Callable[[Part], Part]:
        """Decorate a part."""

        def register(part: Part) -> Part:
            self._parts[name] = part
            return part

        return register

    def all(self) -> dict[str, Part]:
        """All parts of the folder, sorted by name."""
        # Once: an audit asks for a part with every prompt that it writes, and listing the folder would be a sixth of its time.
        if not self._imported:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._imported = True
        return dict(sorted(self._parts.items()))

    def get(self, name: str) -> Part:
        """The part of that name; raises ExplicateError that lists the names there are."""
        parts = self.all()
        if name not in parts:
            raise ExplicateError(f"no {self.kind} is called {name!r}; choose one of {', '.join(parts)}")
        return parts[name]
