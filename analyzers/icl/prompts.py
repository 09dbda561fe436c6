"""A prompt of demonstrations and a query, and where in it the labels, the texts and the formatting stand, token by token."""

from collections.abc import Sequence
from dataclasses import dataclass

from analyzers.errors import ExplicateError, SubjectError
from analyzers.text_model import Prompt, TextModel
from analyzers.tokens import Span, overlap

Shown = tuple[str, int]
"""A demonstration: its text, and its label's number among Template.labels."""


@dataclass(frozen=True)
class Template:
    """How a demonstration is written, and the labels that there are."""

    form: str
    """Of a demonstration, with what separates it from the next one: "Review: {text}\\nSentiment: {label}\\n". A query ends before {label};
    spaces before that belong to the label, as its first token has them."""
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """ExplicateError for a form without one {text} and then one {label}, and for labels of which none is left to choose."""
        if self.form.count("{text}") != 1 or self.form.count("{label}") != 1 or self.form.index("{text}") > self.form.index("{label}"):
            raise ExplicateError(
                f"the template {self.form!r} needs {{text}} once and behind it {{label}} once, such as "
                r"'Review: {text}\nSentiment: {label}\n'"
            )
        if not self._before_label.strip():
            raise ExplicateError(f"the template {self.form!r} has nothing between {{text}} and {{label}}; write what tells them apart")
        if len(self.labels) < 2 or not all(label.strip() for label in self.labels):
            raise ExplicateError(f"an in-context task needs at least two labels, none of them empty; there are {list(self.labels)}")

    def query(self, text: str) -> str:
        """The end of a prompt: what the model continues with a label."""
        return self._before_text + text.strip() + self._before_label

    def target(self, label: int) -> str:
        """What a demonstration has behind its query, with the spaces before it."""
        return self._space + self.labels[label].strip()

    @property
    def after(self) -> str:
        """What a demonstration has behind its label."""
        return self.form.partition("{label}")[2]

    @property
    def _before_text(self) -> str:
        return self.form.partition("{text}")[0]

    @property
    def _between(self) -> str:
        return self.form.partition("{text}")[2].partition("{label}")[0]

    @property
    def _before_label(self) -> str:
        return self._between.rstrip(" ")

    @property
    def _space(self) -> str:
        return self._between[len(self._before_label) :]

    def text_starts(self) -> int:
        """Characters of a query before its text."""
        return len(self._before_text)


@dataclass(frozen=True)
class IclPrompt:
    """Demonstrations and a query as a model reads them. Positions count from 0, with what the tokenizer puts before a text.

    In a demonstration a token is one of its label if it covers a character of it, the spaces before it included, else one of its text if
    it covers one of that, else one of the formatting. Tokens before the first demonstration and those of the query are none of these.
    """

    ids: tuple[int, ...]
    class_tokens: tuple[int, ...]
    """[class] id of the first token of its label; no two are the same."""
    labels: tuple[int, ...]
    """[demonstration] position of the first token of its label: p_1, p_2, ..."""
    classes: tuple[int, ...]
    """[demonstration] the number of its label."""
    label_tokens: tuple[tuple[int, ...], ...]
    """[demonstration] positions of all tokens of its label."""
    formatting: tuple[tuple[int, ...], ...]
    """[demonstration] positions of what the template itself writes."""
    texts: tuple[tuple[int, ...], ...]
    """[demonstration] positions of its text's tokens."""
    demonstrations: tuple[range, ...]
    """[demonstration] positions of all of it."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def q(self) -> int:
        """The last position, whose next token is the answer."""
        return len(self.ids) - 1

    @property
    def query(self) -> range:
        """Positions of the query, behind the last demonstration."""
        return range(self.demonstrations[-1].stop, len(self.ids))

    @property
    def others(self) -> tuple[tuple[int, ...], ...]:
        """[demonstration] positions of what is of no label, ascending: what controls draw from.

        The first token of the prompt is none of them: nothing is before it, and heads with nothing to find rest on it.
        """
        both = zip(self.texts, self.formatting, strict=True)
        return tuple(tuple(sorted(position for position in (*text, *formatting) if position > 0)) for text, formatting in both)


def class_tokens(model: TextModel, template: Template) -> tuple[int, ...]:
    """[class] id of the first token of its label behind a query.

    Raises SubjectError for two labels with the same first token, and for a model that continues no text.
    """
    if not model.causal:
        raise SubjectError(f"{model.name!r} is an encoder, which continues no text; choose a causal language model")
    query = template.query("a")
    found: dict[int, str] = {}
    for number, label in enumerate(template.labels):
        first = model.continuation(query, template.target(number))[0]
        if first in found:
            raise SubjectError(
                f"the labels {found[first]!r} and {label!r} begin with the same token ({model.tokens.text(first)!r}) in {model.name}, so "
                "that its answers cannot be told apart; give labels that begin differently, or leave out the space before {label}"
            )
        found[first] = label
    return tuple(found)


def icl_prompt(model: TextModel, template: Template, demonstrations: Sequence[Shown], query: str) -> IclPrompt:
    """The demonstrations one behind the other, and the query.

    Raises SubjectError where there is no demonstration, for a prompt longer than the model takes, for a label that the tokenizer writes
    otherwise within a demonstration than behind a query, and as `class_tokens` does.
    """
    if not demonstrations:
        raise SubjectError("there are no demonstrations, so that no label can be an anchor; give at least one a class (--shots 1)")
    first = class_tokens(model, template)
    text, parts = "", []
    for shown, label in demonstrations:
        begin = len(text)
        target = template.target(label)
        text += template.query(shown) + target
        at = begin + template.text_starts()
        parts.append(_Part((at, at + len(shown.strip())), (len(text) - len(target), len(text)), begin))
        text += template.after
    end = len(text)
    text += template.query(query)
    read = _read(model, text, len(demonstrations))
    kinds = [_kinds(read, part, after) for part, after in zip(parts, [*(part.begin for part in parts[1:]), end], strict=True)]
    prompt = IclPrompt(
        ids=read.ids,
        class_tokens=first,
        labels=tuple(kind.label[0] if kind.label else -1 for kind in kinds),
        classes=tuple(label for _, label in demonstrations),
        label_tokens=tuple(kind.label for kind in kinds),
        formatting=tuple(kind.formatting for kind in kinds),
        texts=tuple(kind.text for kind in kinds),
        demonstrations=tuple(kind.all for kind in kinds),
    )
    for position, label in zip(prompt.labels, prompt.classes, strict=True):
        if position < 0 or read.ids[position] != first[label]:
            raise SubjectError(
                f"the tokenizer of {model.name} writes the label {template.labels[label]!r} in a demonstration otherwise than behind a "
                "query; let nothing but spaces stand directly before {label} and a line break behind it"
            )
    return prompt


def check_shared(model: TextModel, prompts: Sequence[IclPrompt]) -> None:
    """SubjectError where prompts of the same demonstrations have other tokens before their queries, or other numbers of them: what is
    computed of the demonstrations once would not be what stands before each query."""
    before = prompts[0].ids[: prompts[0].query.start] if prompts else ()
    for prompt in prompts:
        if prompt.ids[: prompt.query.start] != before:
            raise runs_on(model, model.tokens.decode(prompt.ids[prompt.query.start :]))


def runs_on(model: TextModel, query: str) -> SubjectError:
    """What is told of a query that changes the tokens of the demonstrations before it."""
    return SubjectError(
        f"the tokenizer of {model.name} reads the demonstrations otherwise with {query[:40]!r} behind them; end the template with one line "
        "break, and begin it with words before {text}"
    )


@dataclass(frozen=True)
class _Part:
    """Where a demonstration stands in the text, in characters."""

    text: Span
    label: Span
    begin: int


@dataclass(frozen=True)
class _Kinds:
    """Positions of a demonstration's tokens by what they are of."""

    label: tuple[int, ...]
    text: tuple[int, ...]
    formatting: tuple[int, ...]

    @property
    def all(self) -> range:
        places = [*self.label, *self.text, *self.formatting]
        return range(min(places), max(places) + 1)


def _kinds(read: Prompt, part: _Part, end: int) -> _Kinds:
    """A token belongs to the demonstration in which it ends."""
    label: list[int] = []
    text: list[int] = []
    formatting: list[int] = []
    for position, span in enumerate(read.spans):
        if span is None or not part.begin < span[1] <= end:
            continue
        kind = label if overlap(span, part.label) else text if overlap(span, part.text) else formatting
        kind.append(position)
    return _Kinds(tuple(label), tuple(text), tuple(formatting))


def _read(model: TextModel, text: str, shown: int) -> Prompt:
    length = len(model.tokens.start) + len(model.tokens.encode(text))
    if model.limit is not None and length > model.limit:
        raise SubjectError(
            f"the prompt of {shown} demonstrations and the query is {length} tokens and {model.name} takes {model.limit}; "
            "show fewer of them (--shots), or leave out long texts"
        )
    return model.prompt(text)
