"""A fact as a model reads it: the tokens of its prompt, which of them are its subject, and the tokens of its target."""

from collections.abc import Sequence
from dataclasses import dataclass

from analyzers.errors import Failed, SubjectError
from analyzers.facts import Fact
from analyzers.text_model import TextModel


@dataclass(frozen=True)
class Located:
    """A prompt is read behind what stands before every text (TextModel.around)."""

    ids: tuple[int, ...]
    first: int
    """Place of the subject's first token."""
    last: int
    """Place of its last token."""
    target: tuple[int, ...]
    tokens: tuple[str, ...]
    """Text of each of `ids`."""
    texts: tuple[int, ...]
    """Places of tokens that are of the prompt, not of the tokenizer."""

    @property
    def subject(self) -> range:
        """Places of the subject's tokens."""
        return range(self.first, self.last + 1)

    @property
    def elsewhere(self) -> list[int]:
        """Places of tokens of the prompt that neither are its subject nor stand last."""
        return [at for at in self.texts if at not in self.subject and at != len(self.ids) - 1]

    @property
    def classes(self) -> list[str | None]:
        """[place] one of analyzers.tracing.kinds.CLASSES, None before the subject."""
        return [self._class(at) for at in range(len(self.ids))]

    def _class(self, at: int) -> str | None:
        if at < self.first:
            return None
        if at == len(self.ids) - 1:
            return "last"
        if at == self.last:
            return "last_subject"
        if at < self.last:
            return "first_subject" if at == self.first else "middle_subject"
        return "next" if at == self.last + 1 else "further"


def locate(model: TextModel, fact: Fact) -> Located | Failed:
    """The fact in the model's tokens; a token belongs to the subject if it covers one of its characters.

    Failed where the target is not one continuation of the prompt, where both are longer than the model takes, and where the subject has
    no token of its own or ends where the prompt does, so that its last token would be the one that answers.
    """
    try:
        target = model.continuation(fact.prompt, fact.target)
        read = model.begun(fact.prompt)
        ids = read.ids
        model.check_length(len(ids) + len(target))
    except SubjectError as error:
        return Failed("locate", str(error))
    own = read.covering(fact.span)
    if not own:
        return Failed("locate", f"the subject {fact.subject!r} has no token of its own")
    if own[-1] == len(ids) - 1:
        return Failed("locate", f"the prompt ends with its subject {fact.subject!r}; let words follow that ask for the target")
    texts = tuple(at for at, span in enumerate(read.spans) if span is not None)
    return Located(ids, own[0], own[-1], target, tuple(model.tokens.text(number) for number in ids), texts)


def subject_tokens(facts: Sequence[Located]) -> list[int]:
    """Token ids of all subjects, one after the other."""
    return [fact.ids[at] for fact in facts for at in fact.subject]
