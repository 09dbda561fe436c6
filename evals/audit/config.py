"""What a live audit is asked to do."""

from typing import Literal

from pydantic import Field

from agents.beliefs import READERS, Reader
from agents.llm import LLM
from agents.registry import Registry
from agents.self_explanations import ELICITATIONS, ORDERS, persona_names
from analyzers.attributions import METHODS
from analyzers.errors import ExplicateError
from analyzers.perturbations import OPERATORS
from evals.audit.checks import CHECKS
from evals.audit.rows import CHAINS
from evals.task_config import TaskConfig, check_names

ORACLE = "occlusion"
"""The method that every explanation is held against."""


class AuditConfig(TaskConfig):
    """Everything that decides the result of an audit."""

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
    same_prompt: bool = False
    """Whether perturbed texts are asked for the explanation, too, where it comes first."""
    checks: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ExplicateError naming the first option that is wrong."""
        for option, named, known in (
            ("elicit", self.elicit, ELICITATIONS.all()),
            ("order", self.order, ORDERS),
            ("operators", self.operators, OPERATORS.all()),
        ):
            check_names(option, named, known, usual=AuditConfig.model_fields[option].default)
        check_names("persona", [name for name in self.personas if name], persona_names())
        check_names("beside", self.methods, METHODS.all())
        check_names("checks", self.checks, CHECKS.all())
        if self.same_prompt and self.belief == "logprobs" and "explain-first" in self.order:
            raise ExplicateError(
                "--same-prompt with explain-first needs the whole reply to every perturbed text, and label log-probabilities are read "
                "without one: give --belief stated or samples, or leave out --same-prompt"
            )

    def reader(self, llm: LLM) -> Reader:
        """How this model's belief is read; raises ProviderError where it cannot be read so."""
        entries: Registry[Reader] = READERS
        whole = self.same_prompt and "explain-first" in self.order
        if self.belief == "auto" and not whole:
            return entries.pick(llm)
        if self.belief == "logprobs":
            return entries.create("logprobs" if "choice" in llm.capabilities else "top-logprobs", llm)
        return entries.create("samples" if self.belief == "samples" else "stated", llm)
