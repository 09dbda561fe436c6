"""How well a model tells two classes apart, and how well it would be expected to from how far apart the anchors of their labels are.

The distance of two labels' keys, along the directions in which the last position's queries vary, says how differently attention can
treat them: classes whose anchors are near should be confused. Both numbers are large for classes that are told apart, though the
paper calls them confusion. Source: Wang et al. 2023, arXiv 2305.14160, section 4.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from analyzers.attention.door import attending
from analyzers.icl.answers import next_logits
from analyzers.icl.prompts import IclPrompt
from analyzers.padding import like_lengths
from analyzers.progress import Report, quiet
from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
DIRECTIONS = 10
"""Of the queries, those in which they vary most: the paper's M."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """What attention to labels is computed from, after rotary positions, the heads side by side."""

    queries: Singles
    """[prompt, layer, width] of the last position."""
    keys: Singles
    """[prompt asked for, layer, class, width] of the first tokens of the class's labels, their mean."""


@torch.inference_mode()
def label_vectors(
    model: TextModel, prompts: Sequence[IclPrompt], *, keys_of: Sequence[int] | None = None, report: Report = quiet
) -> Vectors:
    """Queries of prompts that show every class, and the keys of some of them, by default of all, since they are the same behind the
    same demonstrations; a key of a group of queries is repeated for each of them.

    keys_of: numbers of prompts, each once. Raises SubjectError for a model whose attention cannot be exchanged, and as `answers` does;
    ValueError where there is no prompt, and for a class that one does not show.
    """
    if not prompts:
        raise ValueError("no prompts to read vectors of")
    classes = range(len(prompts[0].class_tokens))
    if any(set(prompt.classes) != set(classes) for prompt in prompts):
        raise ValueError("a prompt does not show every class")
    wanted = list(range(len(prompts)) if keys_of is None else keys_of)
    queries: list[list[Singles]] = [[]] * len(prompts)
    keys: dict[int, list[Singles]] = {number: [] for number in wanted}
    done = 0
    for batch in like_lengths([len(prompt) for prompt in prompts]):
        told = _told(model, [prompts[number] for number in batch])
        for row, number in enumerate(batch):
            prompt = prompts[number]
            places = [[at for at, label in zip(prompt.labels, prompt.classes, strict=True) if label == each] for each in classes]
            queries[number] = [_flat(query[row, :, [prompt.q]].mean(1)) for query, _ in told]
            if number in keys:
                keys[number] = [np.stack([_flat(_repeated(key, query)[row, :, some].mean(1)) for some in places]) for query, key in told]
        done += len(batch)
        report("queries and keys of labels", done, len(prompts))
    return Vectors(np.array(queries), np.array([keys[number] for number in wanted]))


def predicted_distances(
    queries: Floats | Singles, keys: Floats | Singles, *, directions: int = DIRECTIONS, weights: Floats | None = None
) -> Floats:
    """[class, class] distance of the classes' keys along the directions in which queries vary most, each times the queries' deviation
    there, as a share of the largest one; all 0 where queries or keys do not differ.

    queries [prompt, width], keys [class, width]; weights [prompt] say how often each prompt is counted. With all directions it is the
    deviation over prompts of the difference of two labels' attention scores.
    """
    queries, keys = np.asarray(queries, np.float64), np.asarray(keys, np.float64)
    counts = np.ones(len(queries)) if weights is None else weights
    centred = (queries - np.average(queries, axis=0, weights=counts)) * np.sqrt(counts / counts.sum())[:, None]
    _, deviations, vectors = np.linalg.svd(centred, full_matrices=False)
    seen = keys @ (deviations[:directions, None] * vectors[:directions]).T
    distances = np.linalg.norm(seen[:, None] - seen[None, :], axis=-1)
    largest = distances.max()
    return np.asarray(distances / largest if largest > 0 else distances)


def _told(model: TextModel, prompts: Sequence[IclPrompt]) -> list[tuple[Tensor, Tensor]]:
    """[layer] (queries, keys) of one forward pass, as the door gives them."""
    told: list[tuple[Tensor, Tensor]] = []
    with attending(model.model, seen=lambda one: told.append((one.queries, one.keys))):
        next_logits(model, prompts)
    return told


def _flat(vector: Tensor) -> Singles:
    return vector.float().flatten().cpu().numpy()


def _repeated(key: Tensor, query: Tensor) -> Tensor:
    return key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
