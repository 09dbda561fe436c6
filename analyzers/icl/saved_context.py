"""Demonstrations compressed to their anchors in one file, which answers further queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from analyzers.errors import ExplicateError
from analyzers.icl.compression import CompressedContext, anchors, check_compressible, read_context
from analyzers.icl.prompts import Shown, Template, class_tokens, icl_prompt, runs_on
from analyzers.noted_file import Note, NotedFile, check_model
from analyzers.prefixes import Prefix
from analyzers.text_model import TextModel

FORMAT = 1
KIND: Final = "explicate-context"
"""What the note in the header of the file is called."""
_ANY = "a"
"""A query like any other, behind which demonstrations are read."""


class _Note(Note):
    """What goes with the tensors."""

    length: int
    form: str
    labels: tuple[str, ...]
    text: str


_FILE = NotedFile(KIND, _Note, FORMAT, "context that was saved by explicate icl", "compress the context anew")
_OTHER_MODEL = ("the context was read by", "compress the demonstrations with this one")


@dataclass(frozen=True, eq=False)
class SavedContext:
    """The anchors of some demonstrations, with all that is needed to answer from them but the model."""

    context: CompressedContext
    text: str
    """The demonstrations as they were read."""
    template: Template
    model: dict[str, str]
    """Identity of the model that read them."""

    @classmethod
    def of(cls, model: TextModel, template: Template, demonstrations: Sequence[Shown]) -> "SavedContext":
        """Read demonstrations and keep their anchors; SubjectError as in icl_prompt, read_context and check_compressible."""
        prompt = icl_prompt(model, template, demonstrations, _ANY)
        whole = read_context(model, prompt.ids[: prompt.query.start])
        check_compressible(model, whole)
        text = "".join(template.query(shown) + template.target(label) + template.after for shown, label in demonstrations)
        return cls(whole.keeping(anchors(prompt)), text, template, dict(model.identity))

    def logits(self, model: TextModel, texts: Sequence[str]) -> Tensor:
        """Of the next token behind each query: float32 [text, vocabulary].

        Raises SubjectError for another model than the one that read the demonstrations, and for a text that is too long or changes how
        they are read.
        """
        check_model(self.model, model.identity, *_OTHER_MODEL)
        return self.context.logits(model, self._queries(model, texts))

    def answer(self, model: TextModel, texts: Sequence[str]) -> Tensor:
        """How likely each label is among the labels: float32 [text, class]; errors as in `logits` and class_tokens."""
        return self.logits(model, texts)[:, list(class_tokens(model, self.template))].softmax(-1)

    def _queries(self, model: TextModel, texts: Sequence[str]) -> list[list[int]]:
        """Token ids behind those of the demonstrations."""
        length = self.context.length
        begun = _read(model, self.text, self.template, _ANY)[:length]
        queries = []
        for text in texts:
            ids = _read(model, self.text, self.template, text)
            if ids[:length] != begun:
                raise runs_on(model, self.template.query(text))
            queries.append(ids[length:])
        return queries

    def save(self, path: Path) -> None:
        """Write it as one safetensors file: `keys.<layer>` and `values.<layer>` [head, kept token, dim], `ids` and `positions` of the kept
        tokens, and the rest in its note. Raises AssetError where it cannot be written."""
        tensors = {"ids": torch.tensor(self.context.kept.ids), "positions": torch.tensor(self.context.positions)}
        for number, (keys, values) in enumerate(self.context.kept.layers):
            tensors[f"keys.{number}"] = keys[0].contiguous().cpu()
            tensors[f"values.{number}"] = values[0].contiguous().cpu()
        template = self.template
        note = _Note(
            format=FORMAT, model=self.model, length=self.context.length, form=template.form, labels=template.labels, text=self.text
        )
        _FILE.write(path, tensors, note)

    @classmethod
    def load(cls, path: Path, model: TextModel) -> "SavedContext":
        """Read what `save` wrote, onto the model's device.

        Raises AssetError for a file that is none of these, and SubjectError for another model than the one that read the demonstrations.
        """
        told, tensors = _FILE.read(path, str(model.device))
        try:
            template = Template(told.form, told.labels)
        except ExplicateError as error:
            raise _FILE.refused(path, str(error)) from error
        check_model(told.model, model.identity, *_OTHER_MODEL)
        if (wrong := _wrong(told, template, tensors, model)) is not None:
            raise _FILE.refused(path, wrong)
        layers = tuple((tensors[f"keys.{number}"][None], tensors[f"values.{number}"][None]) for number in range(model.layers))
        kept = Prefix(tuple(tensors["ids"].tolist()), layers, 0)
        context = CompressedContext(kept, tuple(tensors["positions"].tolist()), told.length)
        return cls(context, told.text, template, told.model)


def check_saved(path: Path) -> None:
    """Raise AssetError for a file that is no context of this version, going by its note alone, before a model is loaded."""
    _FILE.check(path)


def is_saved_context(path: Path) -> bool:
    """Whether a file is a context of any version, going by its note."""
    return _FILE.is_at(path)


def _read(model: TextModel, demonstrations: str, template: Template, query: str) -> list[int]:
    """Token ids of demonstrations and a query. A tokenizer may write the end of the former otherwise where nothing is behind it."""
    return [*model.tokens.start, *model.tokens.encode(demonstrations + template.query(query))]


def _wrong(told: _Note, template: Template, tensors: Mapping[str, Tensor], model: TextModel) -> str | None:
    """Why these are not the anchors of a text that the model read, if so: what is computed from them must neither break nor lie."""
    names = {"ids", "positions", *(f"{part}.{number}" for part in ("keys", "values") for number in range(model.layers))}
    if tensors.keys() != names:
        return f"its tensors are not those of {model.layers} layers"
    ids, positions = tensors["ids"], tensors["positions"]
    if any(each.dim() != 1 or each.dtype != torch.int64 or len(each) != len(ids) or not len(each) for each in (ids, positions)):
        return "its tokens and their positions are not as many whole numbers"
    begun = _read(model, told.text, template, _ANY)[: max(told.length, 0)]
    places = positions.tolist()
    # The last token of demonstrations is of a label or what stands behind it, and so is kept.
    if any(later <= earlier for earlier, later in zip([-1, *places], places, strict=False)) or places[-1] != told.length - 1:
        return f"its positions are not ascending ones, up to the last, of a context of {told.length} tokens"
    if len(begun) != told.length or [begun[place] for place in places] != ids.tolist():
        return "its tokens are not those of its text"
    own = read_context(model, ids.tolist()[:1]).kept.layers
    for number, layer in enumerate(own):
        for part, expected in zip(("keys", "values"), layer, strict=True):
            found = tensors[f"{part}.{number}"]
            shape = (expected.shape[1], len(ids), expected.shape[3])
            if found.shape != shape or found.dtype != expected.dtype or not bool(found.isfinite().all()):
                return f"the {part} of layer {number} are not {list(shape)} numbers in {str(expected.dtype).removeprefix('torch.')}"
    return None
