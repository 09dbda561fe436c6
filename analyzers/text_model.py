"""Any model of transformers that reads text, decoder or encoder: its tokens, where they stand in the text, and its forward pass."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2.exceptions import TemplateError
from torch import Tensor, nn

from analyzers.attention.door import can_intervene
from analyzers.errors import SubjectError
from analyzers.loading import choose_device, choose_dtype, dtype_name, load_pretrained
from analyzers.masks import Masks
from analyzers.progress import Report, quiet
from analyzers.tokens import Span, Tokens, located, overlap

_MARK = "\ue000"
"""Stands for the text where a chat template is asked where it puts it: a character that has no meaning."""


@dataclass(frozen=True)
class Prompt:
    """A text as a model reads it."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    """Text of each token. A decoder's are exact, with their leading spaces; an encoder's are the characters that it covers, and the
    names of its special tokens."""
    spans: tuple[Span | None, ...]
    """Characters of the text that each token covers; None for a token of the tokenizer or the chat template. Tokens that one character
    is split over all cover it."""

    def __len__(self) -> int:
        return len(self.ids)

    def covering(self, span: Span) -> list[int]:
        """Places of the tokens that cover one of these characters of the text."""
        return [at for at, covered in enumerate(self.spans) if covered is not None and overlap(covered, span)]


class TextModel:
    """A model with its tokenizer, read whole: what an analyzer of attention or of gradients needs of it."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, identity: dict[str, str]) -> None:
        """Take a loaded model; SubjectError where it is no stack of attention layers that reads one text."""
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.path: Path | None = None
        """Folder it was loaded from."""
        self.tokens = Tokens(tokenizer)
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self.identity = {"name": name, **identity, "dtype": dtype_name(self.dtype)}
        config = model.config.get_text_config()
        if getattr(model.config, "is_encoder_decoder", False):
            raise SubjectError(f"{name!r} reads with an encoder and writes with a decoder; choose a model that is one of the two")
        self.layers, self.heads = (_count(config, key, name) for key in ("num_hidden_layers", "num_attention_heads"))
        self.limit = _limit(model, _words(model, name))
        """Tokens that a text may have, special ones included; None where positions have no end."""
        if not can_intervene(model) and model._can_set_attn_implementation():
            model.set_attn_implementation("eager")  # the others return no attention
        self.causal = self._is_causal()
        """Whether no token sees a later one. Measured, since a configuration does not say."""
        self.masks = None if self.causal else Masks(tokenizer, name)
        """An encoder's."""

    @classmethod
    def load(cls, name_or_path: str, *, dtype: str = "auto", device: str = "auto", report: Report = quiet) -> "TextModel":
        """Load any Hugging Face decoder or encoder by name or folder, with its head for language where it was made with one.

        dtype and device as in Subject.load. Raises AssetError for a model that does not exist, SubjectError for a dtype or device that
        does not and for a model that cannot be loaded or is no such model.
        """
        from analyzers.assets import model_source

        place = choose_device(device)
        number = choose_dtype(dtype, place)
        source = model_source(name_or_path, report=report)
        report(f"loading {source.name}", 0, 0)
        model, tokenizer = load_pretrained(str(source.path), name_or_path, number, place, trust_remote_code=False, any_kind=True)
        made = cls(model, tokenizer, name=source.name, identity={"source": source.source, "revision": source.revision})
        made.path = source.path
        return made

    def prompt(self, text: str, *, chat: bool = False) -> Prompt:
        """A text as the model reads it, with what the tokenizer puts around it, or with chat as the user's turn before the model's.

        Raises SubjectError for an empty text, for one longer than the model takes, for a tokenizer that cannot say where its tokens
        stand, and with chat for a model without a chat template or whose template changes the text, and for a text that has its marks.
        """
        read = self._read(text, "", chat)
        if all(span is None for span in read.spans):
            raise SubjectError("the text is empty; give one with at least one token")
        self.check_length(len(read))
        return read

    def read(self, text: str) -> Prompt:
        """As `prompt` without chat, of any length. Raises SubjectError for a tokenizer that cannot say where its tokens stand."""
        return self._read(text, "", chat=False)

    def begun(self, text: str) -> Prompt:
        """As `read`, a decoder's text behind its BOS or else its EOS, also where its tokenizer leaves that to others.

        So that its first word is predicted, too, and holds something: the first token of many decoders rests all attention that nothing
        needs, with states a hundred times as large as those of others. An empty text is that token alone.
        """
        read = self.read(text) if text else Prompt((), (), ())
        start = self.around[0] if self.causal else ()
        if read.ids[: len(start)] == start:
            return read
        names = tuple(self.tokens.text(number) for number in start)
        return Prompt((*start, *read.ids), (*names, *read.tokens), (*(None for _ in start), *read.spans))

    @property
    def around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Token ids that stand before and behind tokens of no text: an encoder's own; before a decoder's its BOS, or else its EOS."""
        if self.causal:
            first = self.tokenizer.bos_token_id if self.tokenizer.bos_token_id is not None else self.tokenizer.eos_token_id
            return ((), ()) if first is None else ((first,), ())
        ids, _, added = located(self.tokenizer, "a", special=True)
        at = added.index(0)
        return tuple(ids[:at]), tuple(ids[at + added[at:].index(1) :] if 1 in added[at:] else ())

    def continuation(self, text: str, target: str, *, chat: bool = False) -> tuple[int, ...]:
        """Token ids of a target: what a decoder says behind a text, or what stands at an encoder's masks in it.

        Of a decoder the text with the target behind it reads `prompt(text, chat=chat)` and then those. Of an encoder the tokenizer gives
        them for the target in place of the masks in that text (Masks.filled), which must be one for each, one right behind the other.
        Raises SubjectError for a target that is no such one, one that is empty or together with a decoder's text too long for the model,
        for an encoder without a head for language, and as `prompt` does.
        """
        read = self.prompt(text, chat=chat)
        if self.masks is not None:
            self._check_head(read)

            def reread(written: str) -> tuple[Sequence[int], Sequence[Span | None]]:
                again = self._read(written, "", chat)
                return again.ids, again.spans

            found = self.masks.filled(text, target, self.masks.span(text, read.ids, read.spans), reread)
            self.masks.predicting(read.ids, found)
            return found
        whole = self._read(text, target, chat).ids
        if whole[: len(read)] != read.ids or len(whole) == len(read):
            raise SubjectError(
                f"{target!r} is not one continuation of the text: the tokenizer of {self.name} has no tokens for it alone; write it as "
                "it stands behind the text, mostly with a leading space (' Paris'), and let the text end where a word ends"
            )
        self.check_length(len(whole))
        return whole[len(read) :]

    def reads(self, ids: Sequence[int], target: Sequence[int]) -> tuple[list[int], list[int]]:
        """(tokens that are read, the place among them that predicts each token of the target).

        A decoder reads ids and all of the target but its last token, since each of them predicts the next one; an encoder ids alone, and
        its masks predict. Raises SubjectError for more tokens than the model takes and for an encoder's ids without a mask for each token
        of the target; ValueError for no ids or no target.
        """
        if not ids or not target:
            raise ValueError("a target needs a text to be predicted from, each of at least one token")
        if self.masks is not None:
            self.check_length(len(ids))
            return list(ids), self.masks.predicting(ids, target)
        self.check_length(len(ids) + len(target))
        return [*ids, *target[:-1]], list(range(len(ids) - 1, len(ids) + len(target) - 1))

    def forward(self, ids: Tensor, mask: Tensor | None = None, **kwargs: Any) -> Any:
        """The model's output, within autograd where it is on, without a cache.

        ids [batch, pos]; mask [batch, pos] is 1 where there is a token; further arguments go to the model.
        """
        if self.causal:
            kwargs = {"use_cache": False, **kwargs}
        mask = torch.ones_like(ids) if mask is None else mask
        return self.model(input_ids=ids.to(self.device), attention_mask=mask.to(self.device), **kwargs)

    def logits(self, output: Any) -> Tensor:
        """Those of an output of the model; SubjectError where it has no head for language."""
        found: Tensor | None = getattr(output, "logits", None)
        if found is None:
            raise SubjectError(
                f"{self.name!r} has no head for language, so that no target has a probability; choose a model of causal or masked language"
            )
        return found

    def check_length(self, length: int) -> None:
        """Raise SubjectError for more tokens than the model takes, those of a target counted."""
        if self.limit is not None and length > self.limit:
            raise SubjectError(
                f"the text is {length} tokens, special ones and any target included, and {self.name} takes {self.limit}; shorten it, "
                "or choose a model that takes more"
            )

    @torch.inference_mode()
    def _check_head(self, read: Prompt) -> None:
        """Raise SubjectError without one, before masks are asked for."""
        self.logits(self.forward(torch.tensor([read.ids[:1]])))

    def _read(self, text: str, target: str, chat: bool) -> Prompt:
        """The text with the target behind it; spans are those of the text and, without chat, of the target."""
        if not self.tokenizer.is_fast:
            raise SubjectError(f"the tokenizer of {self.name!r} cannot say where its tokens stand; choose a model with a fast tokenizer")
        if chat:
            written, covered = self._templated(text)
            ids, places, _ = located(self.tokenizer, written + target, special=False)
            read = self._exact(ids, [_clipped(place, *covered) for place in _widened(places)])
            self._check_marks(read, text)
            return read
        if self.causal:
            ids, places = self.tokens.located(text + target)
            start = self.tokens.start
            return self._exact([*start, *ids], [*(None for _ in start), *_widened(places)])
        ids, places, added = located(self.tokenizer, text, special=True)
        spans = [None if own or start == end else (start, end) for (start, end), own in zip(places, added, strict=True)]
        names = self.tokenizer.convert_ids_to_tokens(ids)
        tokens = [name if span is None else text[slice(*span)] for name, span in zip(names, spans, strict=True)]
        return Prompt(tuple(ids), tuple(tokens), tuple(spans))

    def _exact(self, ids: Sequence[int], spans: Sequence[Span | None]) -> Prompt:
        return Prompt(tuple(ids), tuple(self.tokens.text(number) for number in ids), tuple(spans))

    def _templated(self, text: str) -> tuple[str, tuple[int, int, int]]:
        """The conversation as the chat template writes it, the text's first character in it and the two in the text that it covers."""
        if not self.tokenizer.chat_template:
            raise SubjectError(f"{self.name!r} has no chat template; leave chat out, or choose a model trained to follow instructions")
        mark = max(re.findall(f"{_MARK}+", text), key=len, default="") + _MARK
        try:
            written, marked = (self._user_turn(content) for content in (text, mark))
        except TemplateError as error:
            why = " ".join(str(error).split())[:200]
            raise SubjectError(f"the chat template of {self.name!r} refuses the text ({why}); leave chat out") from error
        # Not looked for as such: a short text may also stand in what the template says of its own.
        begin = marked.find(mark)
        whole = [kept for kept in (text, text.strip()) if written == marked[:begin] + kept + marked[begin + len(mark) :]]
        if marked.count(mark) != 1 or not whole:
            raise SubjectError(f"the chat template of {self.name!r} does not write the text as it is; leave chat out")
        kept = whole[0]
        first = text.index(kept)
        return written, (begin, first, first + len(kept))

    def _user_turn(self, content: str) -> str:
        turns = [{"role": "user", "content": content}]
        text: str = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text

    def _check_marks(self, read: Prompt, text: str) -> None:
        """Raise SubjectError where the text has a mark of its own that ends the user's turn or begins another one."""
        added, special = self.tokenizer.added_tokens_decoder, set(self.tokenizer.all_special_ids)
        special |= {number for number, token in added.items() if token.special}
        if self.masks is not None:
            special.discard(self.tokenizer.mask_token_id)
        # Of some models the template's marks are not special, of others runs of spaces are added tokens, which only look like marks.
        marks = special | {number for number, span in zip(read.ids, read.spans, strict=True) if span is None and number in added}
        for number, span in zip(read.ids, read.spans, strict=True):
            mark: str = self.tokenizer.convert_ids_to_tokens(number)
            if span is not None and number in marks and mark.strip() and mark in text[slice(*span)]:
                raise SubjectError(
                    f"the text has {mark!r}, which {self.name} would read as a mark of the conversation, not as text; break it with a "
                    f"space, as in {mark[:1] + ' ' + mark[1:]!r}, or leave chat out"
                )

    @torch.inference_mode()
    def _is_causal(self) -> bool:
        """Whether another second token leaves what is computed of the first one as it is."""
        size = self.model.get_input_embeddings().num_embeddings
        ids = torch.tensor([[size // 2, size // 3], [size // 2, 2 * size // 3]])
        ids = ids.to(self.device)
        one, other = self.model(input_ids=ids, attention_mask=torch.ones_like(ids))[0][:, 0].float()
        slack = 1e-4 if self.dtype.itemsize >= 4 else 1e-2
        return bool((one - other).abs().max() <= slack * one.abs().max())


def _widened(places: Sequence[Span]) -> list[Span]:
    """Each from where the one before it ends: some tokenizers leave out the space before a word, which its token has."""
    reached, found = 0, []
    for start, end in places:
        found.append((min(start, reached), end))
        reached = max(reached, end)
    return found


def _clipped(place: Span, begin: int, first: int, last: int) -> Span | None:
    """In characters of a text of which [first, last) stands in another one from `begin` on; None for what is outside."""
    start, end = (min(max(at - begin + first, first), last) for at in place)
    return (start, end) if start < end else None


def _count(config: Any, what: str, name: str) -> int:
    found = getattr(config, what, None)
    if not isinstance(found, int) or found < 1:
        raise SubjectError(f"{name!r} has no {what} in its configuration; choose a transformer that has as many heads in every layer")
    return found


def _words(model: Any, name: str) -> Any:
    """The embeddings of tokens."""
    try:
        found = model.get_input_embeddings()
    except NotImplementedError:
        found = None
    if not hasattr(found, "num_embeddings"):
        raise SubjectError(f"{name!r} does not read one text, token by token; choose a decoder or an encoder of text")
    return found


def _limit(model: Any, words: Any) -> int | None:
    most: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for module in model.modules():
        # RoBERTa's kind of position embeddings begins behind the one of padding.
        if isinstance(module, nn.Embedding) and module is not words and module.num_embeddings == most and module.padding_idx is not None:
            return most - module.padding_idx - 1
    return most
