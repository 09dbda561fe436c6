"""A real GPT-2 whose weights are set by hand, so that what each of its heads does is known exactly."""

import math
import string
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import pytest

LETTERS = " .," + string.ascii_letters + string.digits
"""The vocabulary after <s>: every character is one token."""
POSITIONS = 64
LAYERS, HEADS, WIDTH = 2, 4, 160
"""WIDTH dimensions a head, so that it can compare both tokens and positions."""
SHARP = 20.0
"""By how much the score of the key that a head looks for stands out."""
GAP = 10.0
"""Logits between a token that is copied with all attention and one that is not."""


@dataclass(frozen=True, eq=False)
class PlantedHeads:
    """A model and its tokenizer, and what its heads do: (layer, head) of each that has a role. All others attend evenly."""

    model: Any
    tokenizer: Any
    roles: dict[tuple[int, int], str]

    def at(self, role: str) -> tuple[int, int]:
        """Layer and head with the role."""
        (found,) = [at for at, own in self.roles.items() if own == role]
        return found


@pytest.fixture
def planted_heads() -> PlantedHeads:
    """A fresh one that predicts what followed the last token when it stood before: the induction head copies it. Nothing else reaches the
    logits. The keys of that head are what the previous-token head wrote. It takes up to 64 tokens, <s> and then characters."""
    return PlantedHeads(
        _planted_model(induction=True),
        _character_tokenizer(),
        {(0, 2): "previous", (0, 1): "first", (0, 3): "duplicate", (1, 2): "induction"},
    )


@pytest.fixture
def planted_copy() -> PlantedHeads:
    """As `planted_heads`, but it predicts the token before the last one, whatever that is: the previous-token head copies it to the logits,
    and there is no induction head."""
    return PlantedHeads(_planted_model(induction=False), _character_tokenizer(), {(0, 2): "previous", (0, 1): "first", (0, 3): "duplicate"})


def _character_tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(["<s>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="."))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    build: Any = PreTrainedTokenizerFast
    return build(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>", pad_token="<s>")


def _planted_model(*, induction: bool) -> Any:
    """The residual stream has four parts: the token and its position, one-hot; the token before; the token that is to come. Without an
    induction head the previous-token head writes to the last part.

    What layer normalisation does is undone: it subtracts the same mean everywhere, which no softmax sees, and divides by the deviation
    of a known number of ones, by which its weight multiplies again.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokens, size = 1 + len(LETTERS), HEADS * WIDTH
    config = GPT2Config(
        vocab_size=tokens,
        n_positions=POSITIONS,
        n_embd=size,
        n_layer=LAYERS,
        n_head=HEADS,
        n_inner=4,
        layer_norm_epsilon=1e-12,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model: Any = GPT2LMHeadModel(config)
    model.eval()
    ends = list(accumulate((tokens, POSITIONS, tokens, tokens)))
    token, place, before, coming = (slice(start, end) for start, end in pairwise([0, *ends]))
    score = SHARP * math.sqrt(WIDTH)

    def part(kind: int, layer: int, head: int) -> Any:
        """What a head reads as queries (0), keys (1) or values (2): a view [residual, head's dimension]."""
        start = kind * size + head * WIDTH
        return model.transformer.h[layer].attn.c_attn.weight[:, start : start + WIDTH]

    def written(layer: int, head: int) -> Any:
        """[head's dimension, residual]"""
        return model.transformer.h[layer].attn.c_proj.weight[head * WIDTH : (head + 1) * WIDTH]

    def copies(layer: int, head: int, to: slice) -> None:
        part(2, layer, head)[token, :tokens] = torch.eye(tokens)
        written(layer, head)[:tokens, to] = torch.eye(tokens)

    def undoes(norm: Any, ones: int) -> None:
        norm.weight.fill_(math.sqrt(ones / size - (ones / size) ** 2))

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.transformer.wte.weight[:, token] = torch.eye(tokens)
        model.transformer.wpe.weight[:, place] = torch.eye(POSITIONS)
        last = 4 if induction else 3
        for ones, norm in ((2, model.transformer.h[0].ln_1), (3, model.transformer.h[1].ln_1), (last, model.transformer.ln_f)):
            undoes(norm, ones)
        # The previous-token head: the query at a position looks for the key of the position before.
        part(0, 0, 2)[place, :POSITIONS] = score * torch.diag(torch.ones(POSITIONS - 1), -1)
        part(1, 0, 2)[place, :POSITIONS] = torch.eye(POSITIONS)
        copies(0, 2, before if induction else coming)
        # The first-token head: every query looks for position 0.
        model.transformer.h[0].attn.c_attn.bias[WIDTH] = score
        part(1, 0, 1)[place, :1] = torch.eye(POSITIONS)[:, :1]
        # The duplicate-token head: the same token, and for twice as much not the same position.
        part(0, 0, 3)[token, :tokens] = score * torch.eye(tokens)
        part(1, 0, 3)[token, :tokens] = torch.eye(tokens)
        part(0, 0, 3)[place, tokens : tokens + POSITIONS] = -2 * score * torch.eye(POSITIONS)
        part(1, 0, 3)[place, tokens : tokens + POSITIONS] = torch.eye(POSITIONS)
        if induction:
            # Its token is what stood before the key.
            part(0, 1, 2)[token, :tokens] = score * torch.eye(tokens)
            part(1, 1, 2)[before, :tokens] = torch.eye(tokens)
            copies(1, 2, coming)
        model.lm_head.weight[:, coming] = GAP * torch.eye(tokens)
    return model
