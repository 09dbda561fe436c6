"""Demonstrations compressed to their anchors in one file, which answers further queries."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from analyzers.errors import AssetError, SubjectError
from analyzers.icl.compression import CompressedContext, anchors, check_compressible, read_context
from analyzers.icl.prompts import Shown, Template, class_tokens, icl_prompt
from analyzers.pass_folder import write_tensors
from analyzers.prefixes import Prefix
from analyzers.text_model import TextModel

FORMAT = 1
KIND = "explicate-context"
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
        if model.identity != self.model:
            raise SubjectError(
                f"the context was read by {_named(self.model)} and cannot be used with {_named(model.identity)}; load that model, or "
                "compress the demonstrations with this one"
            )
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
                raise SubjectError(
                    f"the tokenizer of {model.name} reads the demonstrations otherwise with {text[:40]!r} behind them; end the template "
                    "with a line break"
                )
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
        """Read what `save` wrote, onto the model's device; AssetError for a file that is none of these."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt", device=str(model.device)) as file:
                told = json.loads((file.metadata() or {})["note"])[KIND]
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dictionary)
            if told["format"] != FORMAT:
                raise AssetError(f"{str(path)!r} has format {told['format']}, and this version reads {FORMAT}; compress the context anew")
            count = sum(name.startswith("keys.") for name in tensors)
            layers = tuple((tensors[f"keys.{number}"][None], tensors[f"values.{number}"][None]) for number in range(count))
            kept = Prefix(tuple(tensors["ids"].tolist()), layers, 0)
            context = CompressedContext(kept, tuple(tensors["positions"].tolist()), told["length"])
            return cls(context, told["text"], Template(told["form"], tuple(told["labels"])), told["model"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())[:200]
            raise AssetError(f"{str(path)!r} is no context that was saved by explicate icl ({why}); save one with --save") from error


def _named(identity: dict[str, str]) -> str:
    return ", ".join(identity.values())
