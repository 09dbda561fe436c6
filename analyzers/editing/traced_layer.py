"""The layer whose MLP causal tracing finds most in at the subject's last token, over facts that a model knows: where to edit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from analyzers.errors import Failed
from analyzers.facts import Fact
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel
from analyzers.tracing.known import said
from analyzers.tracing.located import Located, locate
from analyzers.tracing.plan import Tracing, around, spread, window_of
from analyzers.tracing.restoring import Restoration, clean_run, corrupted_run, restored
from analyzers.tracing.stack import Stack

TRACING = "trace facts"
FACTS = 20
"""That are traced at most."""
LEAST = 3


@dataclass(frozen=True)
class TracedLayer:
    """Where the mean effect is largest."""

    layer: int
    effects: tuple[float, ...]
    """[layer] of putting the clean outputs of the MLPs around it back: what is regained of the target's probability, a mean over facts."""
    facts: int


@torch.inference_mode()
def traced_layer(model: TextModel, facts: Sequence[Fact], *, seed: int = 0, report: Report = quiet) -> TracedLayer | Failed:
    """Their targets are the true ones. Failed where the model knows too few of them."""
    located = [found for fact in facts if isinstance(found := locate(model, fact), Located)]
    known = [fact for fact, each in zip(located, said(model, located), strict=True) if each.known][:FACTS] if located else []
    if len(known) < LEAST:
        return Failed("trace", f"the model knows {len(known)} of {len(facts)} true targets, and tracing needs {LEAST}")
    stack = Stack(model, ("mlp",))
    layers = model.layers
    tracing = Tracing(sigma=spread(stack, known), window=window_of(layers), kinds=("mlp",), seed=seed)
    effects = []
    for done, fact in enumerate(known):
        report(TRACING, done, len(known))
        clean = clean_run(stack, fact)
        corrupted = corrupted_run(stack, fact, list(fact.subject), tracing)
        asked = [Restoration("mlp", around(layer, tracing.window, layers), (fact.last,)) for layer in range(layers)]
        regained = restored(stack, fact, clean, corrupted, asked, tracing)
        effects.append((regained.mean(1) - corrupted.probabilities.mean()).tolist())
    report(TRACING, len(known), len(known))
    mean = np.mean(effects, axis=0)
    return TracedLayer(int(mean.argmax()), tuple(mean.tolist()), len(known))
