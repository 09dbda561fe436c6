"""Results of selftests, kept beside the reply cache for later runs to show: one file for each instrument and set of planted neurons."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import ValidationError

from agents.llm import LLM
from analyzers.errors import ExplicateError
from analyzers.settings import settings
from evals.planted import fingerprint, planted
from evals.ranking import Tested
from evals.run_folder import write_json

FORMAT = 2
"""Version of a kept result; those of other versions are not found."""

R = TypeVar("R", bound=Tested)


class Asking(Protocol):
    """A simulator or a scorer."""

    @property
    def name(self) -> str: ...

    @property
    def prompt(self) -> str: ...


def identity(role: str, part: Asking, llm: LLM | None = None) -> dict[str, str]:
    """What must be equal for a result to speak for another instrument: its name, its prompt and its language model.

    role: simulator or scorer.
    """
    of_llm = {} if llm is None else {f"llm {key}": value for key, value in llm.identity.items()}
    return {role: part.name, "prompt": part.prompt, **of_llm}


def store(result: Tested, of: Mapping[str, str]) -> Path:
    """Keep the result of the instrument with this identity; returns its file."""
    path = _file(of, result.planted)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"identity": dict(of), "result": result.model_dump(mode="json")})
    return path


def known(of: Mapping[str, str], kind: type[R], planted_fingerprint: str | None = None) -> R | None:
    """How the instrument with this identity did on planted neurons, by default on the set that comes along; None if it was never tested.

    Raises ExplicateError where the kept file is damaged.
    """
    path = _file(of, fingerprint(planted()) if planted_fingerprint is None else planted_fingerprint)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kind.model_validate(kept["result"])
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, TypeError, KeyError):
        raise ExplicateError(f"the selftest kept in {str(path)!r} is damaged; remove the file and run `explicate selftest` again") from None


def _file(of: Mapping[str, str], planted_fingerprint: str) -> Path:
    key = json.dumps({"format": FORMAT, "identity": dict(of), "planted": planted_fingerprint}, sort_keys=True)
    return settings().replies.parent / "instruments" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
