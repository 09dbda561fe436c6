"""Demonstrations compressed to their anchors in one file, which answers further queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from analyzers.errors import AssetError, ExplicateError, SubjectError
from analyzers.icl.compression import CompressedContext, anchors, check_compressible, read_context
from analyzers.icl.prompts import Shown, Template, class_tokens, icl_prompt, runs_on
from analyzers.pass_folder import write_tensors
from analyzers.prefixes import Prefix
from analyzers.text_model import TextModel

FORMAT = 1
KIND: Final = "explicate-context"
"""What the note in the header of the file is called."""


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
        prompt = icl_prompt(model, template, demonstrations, "a")
        whole = read_context(model, prompt.ids[: prompt.query.start])
        check_compressible(model, whole)
        text = "".join(template.query(shown) + template.target(label) + template.after for shown, label in demonstrations)
        made = cls(whole.keeping(anchors(prompt)), text, template, dict(model.identity))
        made._queries(model, ["a"])
        return made

    def logits(self, model: TextModel, texts: Sequence[str]) -> Tensor:
        """Of the next token behind each query: float32 [text, vocabulary].

        Raises SubjectError for another model than the one that read the demonstrations, and for a text that is too long or changes how
        they are read.
        """
        _check_model(model, self.model)
        return self.context.logits(model, self._queries(model, texts))

    def answer(self, model: TextModel, texts: Sequence[str]) -> Tensor:
        """How likely each label is among the labels: float32 [text, class]; errors as in `logits` and class_tokens."""
        return self.logits(model, texts)[:, list(class_tokens(model, self.template))].softmax(-1)

    def _queries(self, model: TextModel, texts: Sequence[str]) -> list[list[int]]:
        """Token ids behind those of the demonstrations."""
        begun = [*model.tokens.start, *model.tokens.encode(self.text)]
        queries = []
        for text in texts:
            ids = [*model.tokens.start, *model.tokens.encode(self.text + self.template.query(text))]
            if ids[: len(begun)] != begun or len(begun) != self.context.length:
                raise runs_on(model, text)
            queries.append(ids[len(begun) :])
        return queries

    def save(self, path: Path) -> None:
        """Write it as one safetensors file: `keys.<layer>` and `values.<layer>` [head, kept token, dim], `ids` and `positions` of the kept
        tokens, and the rest in its note."""
        tensors = {"ids": torch.tensor(self.context.kept.ids), "positions": torch.tensor(self.context.positions)}
        for number, (keys, values) in enumerate(self.context.kept.layers):
            tensors[f"keys.{number}"] = keys[0].contiguous().cpu()
            tensors[f"values.{number}"] = values[0].contiguous().cpu()
        told = {
            "format": FORMAT,
            "model": self.model,
            "length": self.context.length,
            "form": self.template.form,
            "labels": list(self.template.labels),
            "text": self.text,
        }
        write_tensors(path, tensors, {KIND: told})

    @classmethod
    def load(cls, path: Path, model: TextModel) -> "SavedContext":
        """Read what `save` wrote, onto the model's device.

        Raises AssetError for a file that is none of these, and SubjectError for another model than the one that read the demonstrations.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt", device=str(model.device)) as file:
                note = (file.metadata() or {})["note"]
                version = _Outer.model_validate_json(note).context.format
                if version != FORMAT:
                    raise AssetError(f"{str(path)!r} has format {version}, and this version reads {FORMAT}; compress the context anew")
                told = _WholeOuter.model_validate_json(note).context
                template = Template(told.form, told.labels)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dictionary)
        except AssetError:
            raise
        except (SafetensorError, OSError, KeyError, ValueError, RecursionError, ExplicateError) as error:
            raise _not_saved(path, " ".join(str(error).split())[:200]) from error
        _check_model(model, told.model)
        if (wrong := _wrong(told, tensors, model)) is not None:
            raise _not_saved(path, wrong)
        layers = tuple((tensors[f"keys.{number}"][None], tensors[f"values.{number}"][None]) for number in range(model.layers))
        kept = Prefix(tuple(tensors["ids"].tolist()), layers, 0)
        context = CompressedContext(kept, tuple(tensors["positions"].tolist()), told.length)
        return cls(context, told.text, template, told.model)


def is_saved_context(path: Path) -> bool:
    """Whether a file is a context of any version, going by its note."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            _Outer.model_validate_json((file.metadata() or {})["note"])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError):
        return False
    return True


class _Version(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    format: int


class _Outer(BaseModel):
    context: _Version = Field(alias=KIND)


class _Note(BaseModel):
    """What goes with the tensors."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: int
    model: dict[str, str]
    length: int
    form: str
    labels: tuple[str, ...]
    text: str


class _WholeOuter(BaseModel):
    context: _Note = Field(alias=KIND)


def _wrong(told: _Note, tensors: Mapping[str, Tensor], model: TextModel) -> str | None:
    """Why these are not the anchors of a text that the model read, if so: what is computed from them must neither break nor lie."""
    names = {"ids", "positions", *(f"{part}.{number}" for part in ("keys", "values") for number in range(model.layers))}
    if tensors.keys() != names:
        return f"its tensors are not those of {model.layers} layers"
    ids, positions = tensors["ids"], tensors["positions"]
    if any(each.dim() != 1 or each.dtype != torch.int64 or len(each) != len(ids) or not len(each) for each in (ids, positions)):
        return "its tokens and their positions are not as many whole numbers"
    begun = [*model.tokens.start, *model.tokens.encode(told.text)]
    places = positions.tolist()
    if any(later <= earlier for earlier, later in zip([-1, *places], places, strict=False)) or places[-1] >= told.length:
        return f"its positions are not ascending ones of a context of {told.length} tokens"
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


def _not_saved(path: Path, why: str) -> AssetError:
    return AssetError(f"{str(path)!r} is no context that was saved by explicate icl ({why}); save one with --save")


def _check_model(model: TextModel, read_by: Mapping[str, str]) -> None:
    if model.identity != read_by:
        in_order = dict(sorted(read_by.items(), key=lambda item: [*model.identity, item[0]].index(item[0])))  # a file has another order
        raise SubjectError(
            f"the context was read by {_named(in_order)} and cannot be used with {_named(model.identity)}; load that model, or "
            "compress the demonstrations with this one"
        )


def _named(identity: Mapping[str, str]) -> str:
    return ", ".join(identity.values())
