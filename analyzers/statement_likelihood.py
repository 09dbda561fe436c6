"""How likely a model holds texts to be, token by token: what it says of a statement without any probe."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from analyzers.errors import Failed
from analyzers.padding import like_lengths, padded
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

LIKELIHOOD = "likelihood of statements"
BATCH_TOKENS = 512
"""In one forward pass: every token has a logit for each of the vocabulary."""


@torch.inference_mode()
def mean_logprobs(model: TextModel, texts: Sequence[str], *, report: Report = quiet) -> npt.NDArray[np.float64] | Failed:
    """float64 [text] mean natural logarithm of the probability of each token given those before it; the first has none before it
    unless the model's tokenizer puts one there.

    Failed for an encoder, for a model without a head for language, for a text of a single token, and where a value is no number.
    """
    if not model.causal:
        return Failed("likelihood", f"{model.name} is an encoder, which gives no text a probability")
    prompts = [model.prompt(text).ids for text in texts]
    if any(len(ids) < 2 for ids in prompts):
        return Failed("likelihood", "a statement is a single token, which nothing stands before")
    found, done = np.empty(len(prompts)), 0
    for batch in like_lengths([len(ids) for ids in prompts], BATCH_TOKENS):
        ids, mask = padded([prompts[number] for number in batch])
        output = model.forward(ids, mask)
        logits = getattr(output, "logits", None)
        if logits is None:
            return Failed("likelihood", f"{model.name} has no head for language")
        before = logits[:, :-1]
        said = before.gather(-1, ids[:, 1:, None].to(before.device))[..., 0].float() - before.float().logsumexp(-1)
        there = mask[:, 1:].to(said.device)
        found[batch] = ((said * there).sum(1) / there.sum(1)).double().cpu().numpy()
        done += len(batch)
        report(LIKELIHOOD, done, len(prompts))
    return found if np.isfinite(found).all() else Failed("likelihood", f"{model.name} gives probabilities that are no numbers")
