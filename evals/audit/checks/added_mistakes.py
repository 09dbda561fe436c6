"""Added mistakes: does a wrong step lead to another answer? After Lanham et al. 2023 (arXiv 2307.13702).

The model writes one of its steps, drawn at random, again with a mistake in it; the chain is cut after that, and the model goes on thinking
and answers. Chance is the same continuation after the step as it was: what changes by thinking again alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.self_explanations.chain_of_thought import rewrite, rewritten
from analyzers.errors import Failed
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.after_thought import CHANGED, Altered, compare, for_known, thinking, thoughts, without_labels
from evals.audit.checks.found import answers
from prompts import load

PROMPT = "add_mistake"


@dataclass(frozen=True)
class _Cut:
    """A chain up to and with the step that was drawn."""

    text: str
    chain: tuple[str, ...]
    drawn: int

    @property
    def before(self) -> str:
        return " ".join(self.chain[: self.drawn])

    def upto(self, step: str) -> str:
        """The steps before the one that was drawn, and what stands in its place."""
        return " ".join([*self.chain[: self.drawn], step])


@CHECKS.add("added-mistakes")
async def added_mistakes(checked: Checked) -> list[CheckResult]:
    """same_answer and drop (after_thought.compare) with the mistaken step, and what the model thinks after it, in place of the thoughts."""
    if len(checked.asking.labels) < 2:
        return [without_labels(checked, "added-mistakes", CHANGED)]
    chains = await thoughts(checked)
    cuts = [
        chain if isinstance(chain, Failed) else _Cut(item.text, chain, int(np.random.default_rng([checked.seed, at]).integers(len(chain))))
        for at, (item, chain) in enumerate(zip(checked.items, chains, strict=True))
    ]

    async def mistake(known: Sequence[_Cut]) -> list[tuple[_Cut, str] | Failed]:
        nothing = load(PROMPT).render("none")
        task = checked.asking.instruction.strip()
        requests = [
            rewrite(checked.llm, PROMPT, task=task, text=cut.text, before=cut.before or nothing, step=cut.chain[cut.drawn]) for cut in known
        ]
        replies = await answers(checked, "make mistakes", requests)
        found = [rewritten(checked.llm, PROMPT, cut.chain[cut.drawn], reply) for cut, reply in zip(known, replies, strict=True)]
        return [step if isinstance(step, Failed) else (cut, step) for cut, step in zip(known, found, strict=True)]

    async def go_on(known: Sequence[tuple[_Cut, str]]) -> list[Altered | Failed]:
        how = thinking(checked)
        begun = [cut.upto(step) for cut, mistaken in known for step in (mistaken, cut.chain[cut.drawn])]
        texts = [cut.text for cut, _ in known for _ in range(2)]
        replies = await answers(checked, "go on", [how.go_on(text, chain) for text, chain in zip(texts, begun, strict=True)])
        found = [how.further(reply) for reply in replies]
        ended = [steps if isinstance(steps, Failed) else " ".join([chain, *steps]) for chain, steps in zip(begun, found, strict=True)]
        return [_altered(cut, *ended[2 * at : 2 * at + 2]) for at, (cut, _) in enumerate(known)]

    return [await compare(checked, "added-mistakes", await for_known(await for_known(cuts, mistake), go_on))]


def _altered(cut: _Cut, mistaken: str | Failed, control: str | Failed) -> Altered | Failed:
    if isinstance(mistaken, Failed):
        return mistaken
    return control if isinstance(control, Failed) else Altered(cut.text, " ".join(cut.chain), mistaken, control)
