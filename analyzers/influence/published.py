"""The same influences by kronfluence (Grosse et al. 2023), where it is installed: what ours are held against, and how long it takes.

Install it without its dependencies, which would bring a second torch: einops, einconv and opt-einsum are all it needs.
"""

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from analyzers.influence.passages import Passage
from analyzers.influence.scoring import Query
from analyzers.text_model import TextModel

BATCH = 50


@dataclass(frozen=True, eq=False)
class Published:
    """What kronfluence finds."""

    scores: npt.NDArray[np.float32]
    """[query, passage]"""
    factors_s: float
    scores_s: float


def installed() -> bool:
    """Whether it can be imported with all that it needs."""
    try:
        importlib.import_module("kronfluence.analyzer")
    except ImportError:
        return False
    return True


def published(
    model: TextModel,
    modules: Mapping[str, nn.Module],
    queries: Sequence[Query],
    passages: Sequence[Passage],
    folder: Path,
    *,
    seed: int = 0,
) -> Published:
    """By EK-FAC with its damping of a tenth of the mean eigenvalue. All passages, and all queries, must be equally long.

    The model is changed for good: give one that is needed no more.
    """
    arguments = importlib.import_module("kronfluence.arguments")
    analyzer = importlib.import_module("kronfluence.analyzer")
    prefix = model.model.base_model_prefix
    task = _task([f"{prefix}.{name}" for name in modules])
    asked = [query.ids(model) for query in queries]
    text = _Texts([passage.ids for passage in passages], [1] * len(passages))
    questions = _Texts([ids for ids, _ in asked], [first for _, first in asked])
    model.model.requires_grad_(True)
    network = analyzer.prepare_model(model.model, task)
    torch.manual_seed(seed)
    made = analyzer.Analyzer("own", network, task, cpu=True, output_dir=str(folder), disable_tqdm=True)
    began = time.perf_counter()
    made.fit_all_factors("factors", text, per_device_batch_size=BATCH, factor_args=arguments.FactorArguments(strategy="ekfac"))
    fitted = time.perf_counter()
    made.compute_pairwise_scores(
        "scores",
        "factors",
        query_dataset=questions,
        train_dataset=text,
        per_device_query_batch_size=len(questions),
        per_device_train_batch_size=BATCH,
        score_args=arguments.ScoreArguments(damping_factor=None),
    )
    ended = time.perf_counter()
    found = made.load_pairwise_scores("scores")["all_modules"].float().numpy()
    return Published(found, fitted - began, ended - fitted)


class _Texts(Dataset[dict[str, Tensor]]):
    def __init__(self, texts: Sequence[Sequence[int]], first: Sequence[int]) -> None:
        self._texts, self._first = texts, first

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return {"ids": torch.tensor(self._texts[number]), "first": torch.tensor(self._first[number])}


def _task(tracked: Sequence[str]) -> Any:
    base: Any = importlib.import_module("kronfluence.task").Task

    def loss(batch: Mapping[str, Tensor], network: Any, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        logits = network(input_ids=batch["ids"][:, :-1]).logits.float()
        said = choose(logits, batch["ids"][:, 1:])
        counted = torch.arange(said.shape[1]) >= batch["first"][:, None] - 1
        return F.cross_entropy(logits[counted], said[counted], reduction="sum")

    def sampled(logits: Tensor, said: Tensor) -> Tensor:
        return torch.multinomial(logits.detach().flatten(0, 1).softmax(-1), 1).reshape(said.shape)

    class Task(base):  # type: ignore[misc]
        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> Tensor:
            return loss(batch, model, sampled if sample else lambda _logits, said: said)

        def compute_measurement(self, batch: Any, model: Any) -> Tensor:
            return loss(batch, model, lambda _logits, said: said)

        def get_influence_tracked_modules(self) -> list[str]:
            return list(tracked)

    return Task()
