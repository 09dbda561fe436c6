"""The model with planted heads, and one whose logits are linear in its embeddings: what methods find in them is known exactly."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analyzers.text_model import TextModel

TOKENS, WIDTH = 12, 5
FAR = -60.0
"""Logit of an unlikely token: the sum over the vocabulary does not see it, so that its log-probability is as linear as its logit."""


class LinearModel(nn.Module):
    """The logit of token 1 is FAR and the sum, over this and all earlier tokens, of their embedding's product with `weights`, times
    `steps` to the power of the distance; all other logits are 0. In float64."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.words = nn.Embedding.from_pretrained(torch.randn(TOKENS, WIDTH, generator=draw, dtype=torch.float64))
        self.weights = torch.randn(WIDTH, generator=draw, dtype=torch.float64)
        self.steps = -0.7

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, inputs_embeds: Tensor | None = None, **_: Any
    ) -> Any:
        given = self.words(input_ids) if inputs_embeds is None else inputs_embeds
        places = torch.arange(given.shape[1], dtype=torch.float64)
        reach = (self.steps ** (places[:, None] - places).clamp(min=0)).tril()
        logits = torch.zeros(*given.shape[:2], TOKENS, dtype=torch.float64)
        logits[..., 1] = FAR + given @ self.weights @ reach.T
        return SimpleNamespace(logits=logits)


@pytest.fixture
def linear_model() -> TextModel:
    """Takes up to 32 tokens; its tokenizer has 0, the end of a text, as its only special token."""
    tokenizer = SimpleNamespace(all_special_ids=[0], eos_token_id=0, bos_token_id=None, sep_token_id=None, pad_token_id=None)
    model = TextModel.__new__(TextModel)
    model.model, model.tokenizer, model.name, model.identity = LinearModel(), tokenizer, "linear", {"dtype": "float64"}
    model.dtype, model.device, model.limit, model.causal, model.masks = torch.float64, torch.device("cpu"), 32, True, None
    return model


@pytest.fixture
def planted_model(planted_heads: Any) -> TextModel:
    """It predicts what followed the last token when it stood before."""
    return TextModel(planted_heads.model.requires_grad_(False), planted_heads.tokenizer, name="planted", identity={})
