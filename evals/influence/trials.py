"""Small models trained on parts of the passages, and what each says of the queries; kept, so that a killed run goes on."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.progress import Report, quiet

if TYPE_CHECKING:
    from analyzers.influence.passages import Passage
    from analyzers.influence.retraining import Training
    from analyzers.influence.scoring import Query
    from analyzers.text_model import TextModel

KEPT_FORMAT = 2
"""Of what is kept; another one is made anew."""
TRIAL_STEPS = 8
"""By so many is told how many the minutes hold; the first is not counted."""


def read(tokenizer: Any, text: str) -> tuple[int, ...]:
    """As a model is trained on it: as many tokens as it takes."""
    return tuple(tokenizer.encode(text, truncation=True))


class Trials:
    """Trainings of one set of passages."""

    def __init__(self, ids: Sequence[tuple[int, ...]], training: "Training", tokenizer: Any, folder: Path) -> None:
        """ids [passage][pos], as `read` gives them; folder: where pieces are kept."""
        self.training = training
        self.folder = folder
        self.tokenizer = tokenizer
        self.ids = ids

    def told(self, **more: Any) -> dict[str, Any]:
        """What decides a piece that is kept."""
        whole = {"format": KEPT_FORMAT, "ids": self.ids, "training": asdict(self.training), "torch": version("torch")}
        return {**whole, **more}

    def piece(self, told: dict[str, Any], make: Any) -> Any:
        """What was kept under these, or is made now: plain data."""
        from analyzers.pass_folder import FORMAT, content_key, read_json, write_json

        path = self.folder / f"{content_key(told)}.json"
        if path.exists():
            return read_json(path)["piece"]
        made = make()
        write_json(path, {"format": FORMAT, "piece": made})
        return made

    def passages(self, more: Sequence[str] = ()) -> "list[Passage]":
        """Just what was trained on, one for each text, and more texts read alike behind them."""
        from analyzers.influence.passages import Passage

        every = [*self.ids, *(read(self.tokenizer, text) for text in more)]
        return [Passage(str(place), ids, (0, 0), "", (None,) * len(ids)) for place, ids in enumerate(every)]

    def whole(self, report: Report = quiet) -> "TextModel":
        """The model of all passages."""
        return self._train(range(len(self.ids)), "train on all passages", report)

    def logprobs(self, places: Sequence[int], queries: "Sequence[Query]", what: str, report: Report = quiet) -> list[float]:
        """[query] of a model that was trained on these passages alone."""
        from evals.influence.influences import logprobs

        def make() -> list[float]:
            return logprobs(self._train(places, what, report), queries)

        asked = [(query.prompt, query.completion) for query in queries]
        found: list[float] = self.piece(self.told(places=list(places), queries=asked), make)
        return found

    def _train(self, places: Sequence[int], what: str, report: Report) -> "TextModel":
        from analyzers.influence.retraining import trained

        return trained(self.tokenizer, [self.ids[place] for place in places], self.training, len(self.ids), what=what, report=report)


def steps_in(minutes: float, trainings: float, tokenizer: Any, ids: Sequence[Sequence[int]], seed: int) -> int:
    """Steps of one training, so that so many last the minutes on this machine as it is now."""
    from analyzers.influence.retraining import Training, trained

    took, last = [], time.perf_counter()

    def watch(_what: str, _done: int, _total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        took.append(now - last)
        last = now

    trained(tokenizer, ids, Training(TRIAL_STEPS, seed), len(ids), report=watch)
    return max(1, round(60 * minutes / trainings / float(np.median(took[2:]))))
