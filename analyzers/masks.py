"""An encoder's masks: a target is what stands in their place, and each of them predicts one of its tokens."""

from collections.abc import Callable, Sequence
from typing import Any

from analyzers.errors import SubjectError
from analyzers.tokens import Span


class Masks:
    """Those that an encoder's tokenizer has, or has not."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        """name: the model's, for messages."""
        self._tokenizer = tokenizer
        self._name = name

    @property
    def text(self) -> str:
        """The mask as it is written in a text; SubjectError where the tokenizer has none."""
        found: str | None = self._tokenizer.mask_token
        if found is None:
            raise SubjectError(
                f"{self._name!r} is an encoder, which tells a target at its mask, and its tokenizer has no mask; choose a model of masked "
                "or of causal language"
            )
        return found

    def places(self, ids: Sequence[int]) -> list[int]:
        """Where masks stand among tokens."""
        number = self._tokenizer.convert_tokens_to_ids(self.text)
        return [at for at, each in enumerate(ids) if each == number]

    def predicting(self, ids: Sequence[int], target: Sequence[int]) -> list[int]:
        """[token of the target] the mask that predicts it; SubjectError where they are not one for each, one right behind the other."""
        places, mask, n = self.places(ids), self.text, len(target)
        if places and places == list(range(places[0], places[0] + n)):
            return places
        has = f"{len(places) or 'no'} mask{'' if len(places) == 1 else 's'}{' that stand apart' if len(places) == n else ''}"
        said = self._tokenizer.decode(list(target), clean_up_tokenization_spaces=False)
        raise SubjectError(
            f"{self._name!r} is an encoder, which tells a target at its mask {mask}, one for each token. {said!r} has {n} "
            f"token{'' if n == 1 else 's'}, and the text has {has}; write {mask * n} where the target is to stand, and no other mask"
        )

    def span(self, text: str, ids: Sequence[int], spans: Sequence[Span | None]) -> Span | None:
        """Characters of a text from its first mask to its last, which have these spans; None without a mask."""
        covered = [span for at in self.places(ids) if (span := spans[at]) is not None]
        if not covered:
            return None
        (start, _), (_, end) = covered[0], covered[-1]
        # Of some tokenizers a mask takes the spaces around it, too.
        first, last = text.find(self.text, start, end), text.rfind(self.text, start, end)
        return (start, end) if first < 0 else (first, last + len(self.text))

    def filled(
        self,
        text: str,
        target: str,
        masks: Span | None,
        read: Callable[[str], tuple[Sequence[int], Sequence[Span | None]]],
    ) -> tuple[int, ...]:
        """Token ids of a target in the place of the masks, or without any at the end of the text.

        read: (ids, spans) of a text. A tokenizer may write the same word otherwise at another place, mostly where a space is before it: so
        the text is read with the target in it. A space that both have where they meet counts once. Raises SubjectError for an empty
        target, one that the tokenizer joins to what stands beside it, and one that it reads as a special token.
        """
        before, behind = (f"{text} ", "") if masks is None else (text[: masks[0]], text[masks[1] :])
        put = target.lstrip() if before[-1:].isspace() else target
        put = put.rstrip() if behind[:1].isspace() else put
        whole, start, end = before + put + behind, len(before), len(before) + len(put)
        ids, spans = read(whole)
        own = [at for at, span in enumerate(spans) if span is not None and span[0] < end and span[1] > start]
        if not own:
            raise SubjectError(f"{target!r} is no target: the tokenizer of {self._name} has no tokens for it; give a word")
        (first, _), (_, last) = (spans[at] or (start, end) for at in (own[0], own[-1]))
        if whole[first:start].strip() or whole[end:last].strip():
            raise SubjectError(
                f"the tokenizer of {self._name} joins {target!r} to what stands beside its mask; let a space stand there, or give what "
                "reads as words of their own"
            )
        found = tuple(ids[own[0] : own[-1] + 1])
        for number in found:
            if number in self._tokenizer.all_special_ids:
                mark = self._tokenizer.convert_ids_to_tokens(number)
                raise SubjectError(f"the tokenizer of {self._name} reads {mark} in {target!r}, which is no text; give words that it knows")
        return found
