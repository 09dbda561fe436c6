"""What a live audit is asked to do."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.beliefs import READERS, Reader
from agents.llm import LLM
from agents.registry import Registry
from agents.self_explanations import ELICITATIONS, ORDERS, persona_names
from analyzers.attributions import METHODS
from analyzers.errors import ExplicateError
from analyzers.perturbations import OPERATORS
from evals.audit.checks import CHECKS
from evals.audit.rows import CHAINS
from evals.label_config import LARGEST_SEED

BELIEFS = ("auto", "logprobs", "samples", "stated")
ORACLE = "occlusion"
"""The method that every explanation is held against."""


class AuditConfig(BaseModel):
    """Everything that decides the result of an audit; two audits with equal configurations give equal results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    task: str
    items: str | None = None
    task_digest: str = ""
    """Of what is asked and of the items, so that a task file that has changed is another audit."""
    n: int = Field(0, ge=0)
    """Items drawn by the seed; 0 for all."""
    elicit: tuple[str, ...] = ("attribution",)
    order: tuple[str, ...] = ("predict-first",)
    operators: tuple[str, ...] = ("delete", "mask")
    personas: tuple[str, ...] = ("",)
    methods: tuple[str, ...] = (ORACLE,)
    """Perturbation methods that the explanations are held against, occlusion first."""
    budget: int = Field(100, ge=4)
    """Perturbed texts that each method but occlusion may ask for, an item; each takes what it needs at least."""
    random: int = Field(CHAINS, ge=2)
    """Random orders followed to their end, an item."""
    belief: Literal["auto", "logprobs", "samples", "stated"] = "auto"
    example: bool = False
    """Whether the form of a reply is shown by an example about something else."""
    same_prompt: bool = False
    """Whether perturbed texts are asked for the explanation, too, where it comes first."""
    checks: tuple[str, ...] = ()
    base_url: str | None = None
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    dtype: str = "auto"
    device: str = "auto"

    @classmethod
    def checked(cls, **values: Any) -> "AuditConfig":
        """Build from what a user wrote; raises ExplicateError naming the first option that is wrong."""
        try:
            config = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            allowed = f"; choose one of {', '.join(BELIEFS)}" if first["loc"][0] == "belief" else ""
            raise ExplicateError(f"--{str(first['loc'][0]).replace('_', '-')} {first['input']!r}: {first['msg']}{allowed}") from None
        for option, named, known in (
            ("elicit", config.elicit, list(ELICITATIONS.all())),
            ("order", config.order, list(ORDERS)),
            ("operators", config.operators, list(OPERATORS.all())),
            ("persona", [name for name in config.personas if name], persona_names()),
            ("beside", config.methods, list(METHODS.all())),
            ("checks", config.checks, list(CHECKS.all())),
        ):
            _known(option, named, known)
        for option, names in (
            ("elicit", config.elicit),
            ("order", config.order),
            ("operators", config.operators),
            ("checks", config.checks),
        ):
            if len(set(names)) < len(names):
                raise ExplicateError(f"--{option} {','.join(names)!r} names one of them twice; name each once")
        for option, given in (("elicit", config.elicit), ("order", config.order), ("operators", config.operators)):
            if not given:
                raise ExplicateError(f"--{option} names nothing; leave it out for {', '.join(cls.model_fields[option].default)}")
        if config.same_prompt and config.belief == "logprobs" and "explain-first" in config.order:
            raise ExplicateError(
                "--same-prompt with explain-first needs the whole reply to every perturbed text, and label log-probabilities are read "
                "without one: give --belief stated or samples, or leave out --same-prompt"
            )
        return config

    def reader(self, llm: LLM) -> Reader:
        """How this model's belief is read; raises ProviderError where it cannot be read so."""
        entries: Registry[Reader] = READERS
        whole = self.same_prompt and "explain-first" in self.order
        if self.belief == "auto" and not whole:
            return entries.pick(llm)
        if self.belief == "logprobs":
            return entries.create("logprobs" if "choice" in llm.capabilities else "top-logprobs", llm)
        return entries.create("samples" if self.belief == "samples" else "stated", llm)


def spec_of(model: str) -> str:
    """The model as `connect` takes it: a name alone is a local model."""
    return model if ":" in model else f"local:{model}"


def _known(option: str, named: Sequence[str], known: Sequence[str]) -> None:
    for name in named:
        if name not in known:
            raise ExplicateError(f"--{option} {name!r}: choose among {', '.join(known)}")
