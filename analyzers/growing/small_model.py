"""A small causal language model, and one step of its training."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from analyzers.growing.recipe import Recipe


def small_model(recipe: Recipe, tokenizer: Any, seed: int) -> Any:
    """A model of the Llama family with fresh weights, input and output embeddings tied."""
    from transformers import LlamaConfig, LlamaForCausalLM

    build: Any = LlamaConfig
    config = build(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        use_cache=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LlamaForCausalLM(config).train()


def optimiser_of(model: Any, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; only matrices decay."""
    matrices = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.95), eps=1e-8)


def loss_of(model: Any, blocks: Tensor) -> Tensor:
    """Mean surprisal in nats of every token of blocks [block, context + 1] but their first."""
    logits = model(input_ids=blocks[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), blocks[:, 1:].flatten())


def learn(model: Any, optimiser: torch.optim.AdamW, blocks: Tensor, rate: float) -> float:
    """One step on blocks [block, context + 1], gradients clipped to a norm of 1; its loss before the step."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    loss = loss_of(model, blocks)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())
