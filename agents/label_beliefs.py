"""What a local model holds of a text: the probabilities of labels, read where its answer would begin."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import log_softmax

from agents.untrusted import one_line
from analyzers.answers import Answers
from analyzers.attributions import Floats
from analyzers.engine import Engine
from analyzers.errors import ExplicateError, Failed
from analyzers.progress import Report, quiet
from prompts import load

LEAST = 2
"""Labels between which a model can be torn."""


class LabelBeliefs:
    """A local model and the question that it is asked about every text."""

    def __init__(self, engine: Engine, labels: Sequence[str], *, instruction: str = "") -> None:
        """instruction: what is asked; empty for a question that lists the labels. Raises ExplicateError for labels that will not do."""
        self.labels = tuple(label.strip() for label in labels)
        named = {label.casefold() for label in self.labels}
        if "" in named or len(named) < max(LEAST, len(self.labels)):
            raise ExplicateError(f"labels {', '.join(self.labels)!r}: give at least two different ones, such as positive,negative")
        said = {label: engine.piece(f" {label}") for label in self.labels}
        for one, ids in said.items():
            other = next((other for other in self.labels if other != one and said[other][: len(ids)] == ids), None)
            if other is not None:
                raise ExplicateError(
                    f"the label {one!r} is how {other!r} begins for {engine.name!r}, so it would have that one's probability, too; "
                    "name the labels so that none begins another"
                )
        self._engine = engine
        self._answers = Answers(engine)
        self._prompt = load("label_text")
        self._instruction = instruction.strip() or self._prompt.render("instruction", labels=", ".join(self.labels))
        self._known: dict[str, Floats] = {}
        self._mass: dict[str, float] = {}
        self.prompt_tokens = 0
        """Tokens computed so far."""

    @property
    def prompt(self) -> str:
        """Hash of the prompt file."""
        return self._prompt.hash

    def logprobs(self, texts: Sequence[str], *, report: Report = quiet) -> list[Floats | Failed]:
        """[text] natural logarithms of the probabilities of the labels [label], of the labels alone. All new texts are Failed where one
        of them is too long.

        A text that was asked before is not computed again.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            found = self._answers.after([self._asked(text) for text in new], [f" {label}" for label in self.labels], report=report)
            if isinstance(found, Failed):
                return [self._known.get(text, found) for text in texts]
            self.prompt_tokens += found.prompt_tokens
            self._known |= zip(new, log_softmax(found.logprobs, axis=1), strict=True)
            self._mass |= zip(new, np.exp(found.logprobs).sum(axis=1).tolist(), strict=True)
        return [self._known[text] for text in texts]

    def mass(self, text: str) -> float:
        """Probability that the model answers with any of the labels at all, of a text that was asked before."""
        return self._mass[text]

    @property
    def model(self) -> Mapping[str, str]:
        """Name, source, revision and number format."""
        return self._engine.identity

    def _asked(self, text: str) -> str:
        """The whole prompt, up to where the label would come."""
        user = self._prompt.render("user", instruction=self._instruction, text=one_line(text))
        lead = self._prompt.render("lead")
        if not self._engine.tokenizer.chat_template:
            return f"{user}\n{lead}"
        return self._engine.written([{"role": "user", "content": user}, {"role": "assistant", "content": lead}])
