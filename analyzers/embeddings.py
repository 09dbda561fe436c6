"""Sentence embeddings: texts as unit vectors whose inner products say how near they are in meaning."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analyzers.errors import SubjectError
from analyzers.evidence import FloatArray
from analyzers.loading import choose_device, readable
from analyzers.padding import padded
from analyzers.progress import Report, quiet

EMBEDDING = "embed texts"
BATCH = 32
"""Texts computed together, the ones about as long."""

_NO_ENCODER = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")
"""Ends of architectures whose states of a token know nothing of the text behind it, or that have no states of the text at all."""


class Embedder:
    """A text is the mean over its tokens, the special ones included, of the last hidden states of an encoder, at length 1.

    Source: Reimers and Gurevych 2019 (Sentence-BERT, mean pooling), as all-MiniLM-L6-v2 was trained. Computed in float32.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str, identity: Mapping[str, str]) -> None:
        """model: an encoder that gives `last_hidden_state`; a text longer than it takes is cut at its end."""
        self.name = name
        self.identity = identity
        """What must be equal for two embeddings to compare: source and revision."""
        self._model = model
        self._tokenizer = tokenizer
        limits = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
        self._limit = min(int(limit) for limit in limits if limit)

    @classmethod
    def load(cls, name_or_path: str = "minilm", *, device: str = "auto", report: Report = quiet) -> Self:
        """Load an encoder by an asset's name or its folder; fetches it if need be.

        Raises AssetError for a name that is none, and SubjectError for what is no encoder, is damaged, or for a device that is not there.
        """
        from analyzers.assets import model_source

        place = choose_device(device)
        source = model_source(name_or_path, report=report)
        report(f"loading {source.name}", 0, 0)
        model, tokenizer = _pretrained(str(source.path), name_or_path)
        identity = {"source": source.source, "revision": source.revision}
        return cls(model.to(place), tokenizer, name=source.name, identity=identity)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], *, report: Report = quiet) -> FloatArray:
        """[text, dim] unit vectors, float32; raises ValueError for a text without any token."""
        ids = [self._tokenizer(text, truncation=True, max_length=self._limit, verbose=False)["input_ids"] for text in texts]
        if not all(ids):
            raise ValueError("a text without any token has no embedding")
        order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
        found = np.zeros((len(ids), self._model.config.hidden_size), np.float32)
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            found[some] = self._computed([ids[number] for number in some]).cpu().numpy()
            report(EMBEDDING, start + len(some), len(order))
        return found

    def _computed(self, ids: Sequence[Sequence[int]]) -> Tensor:
        # Whatever stands in the padding is masked, in attention and in the mean.
        tokens, mask = (part.to(self._model.device) for part in padded(ids))
        hidden = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
        weight = mask[:, :, None].to(hidden.dtype)
        return F.normalize((hidden * weight).sum(dim=1) / weight.sum(dim=1), dim=-1)


def _pretrained(folder: str, name: str) -> tuple[Any, Any]:
    """(model, tokenizer); raises SubjectError, naming `name`, for what cannot be loaded as an encoder."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    with readable(name, "sentence encoder", remedy="; use minilm or the folder of another one"):
        config: Any = AutoConfig.from_pretrained(folder)
        if any(made_for.endswith(_NO_ENCODER) for made_for in config.architectures or ()):
            raise SubjectError(f"{name!r} is no encoder but a model that writes; use minilm or the folder of another sentence encoder")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.eval().requires_grad_(False), tokenizer
