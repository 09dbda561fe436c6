"""Makes edits of one model, each once: an edit is kept on disk by all that decides it, so that a killed run goes on."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from torch import Tensor

from analyzers.editing.contexts import beginnings
from analyzers.editing.covariance import key_covariances
from analyzers.editing.deltas import Edit, applied
from analyzers.editing.memit import WEIGHT
from analyzers.editing.methods import Tuning, fine_tuned, memit, memit_value, projections, rome
from analyzers.editing.saved import SavedEdits, save
from analyzers.editing.values import Found, Search
from analyzers.errors import SubjectError
from analyzers.facts import Fact
from analyzers.influence.passages import Passage
from analyzers.pass_folder import alone, content_key, open_tensors, write_tensors
from analyzers.progress import Report, quiet
from analyzers.settings import settings
from analyzers.text_model import TextModel

Method = Literal["rome", "memit", "ft"]
METHODS: tuple[Method, ...] = ("rome", "memit", "ft")
MEMIT_SHARE = 8
"""Blocks of a model for each layer of MEMIT."""
MEMIT_LAYERS = 5
"""Layers of MEMIT at most (Meng et al. 2023)."""
DEPTH: Final = 0.2
"""Of the block whose MLP is changed, where nothing else says which."""
VERSIONS: Mapping[Method, int] = {"rome": 2, "memit": 3, "ft": 1}
"""Of what decides an edit, so that those that were made otherwise are not taken for these."""


class Editor:
    """Of one model, at one layer, with what edits must not disturb."""

    def __init__(
        self,
        model: TextModel,
        layer: int,
        text: Sequence[Passage],
        *,
        seed: int = 0,
        search: Search | None = None,
        tuning: Tuning | None = None,
        weight: float = WEIGHT,
        report: Report = quiet,
    ) -> None:
        """text: passages that keys are read from. Raises SubjectError for a layer that the model does not have."""
        self.model = model
        self.layer = check_layer(model, layer)
        self.text = text
        self.seed = seed
        self.search, self.tuning, self.weight = search or Search(), tuning or Tuning(), weight
        self._report = report
        self._identity = dict(model.identity)
        self._known: dict[int, Tensor] = {}

    def layers(self, method: Method) -> list[int]:
        """Whose MLPs a method changes, in order."""
        return memit_layers(self.layer, len(projections(self.model))) if method == "memit" else [self.layer]

    def settings(self, method: Method) -> dict[str, str]:
        """What decides an edit of this method, but for the model and the facts."""
        found: dict[str, object] = {"version": VERSIONS[method], "layers": self.layers(method)}
        if method == "ft":
            found["tuning"] = asdict(self.tuning)
        else:
            found |= {"search": asdict(self.search), "text": self._text, "seed": self.seed}
        if method == "memit":
            found["weight"] = self.weight
        return {key: str(value) for key, value in found.items()}

    def made(
        self, method: Method, facts: Sequence[Fact], *, earlier: Sequence[Fact] = (), edits: Sequence[Edit] = ()
    ) -> tuple[Edit, float]:
        """(the edit that writes some facts, seconds that it took, also where it was made before); rome writes one.

        edits: what is in the model before, which writes the earlier facts. The model is left as it is. Raises SubjectError for a target
        that is no continuation of its prompt.
        """
        self.prepare(method)
        wanted = self.settings(method)
        folder = self._folder([method, wanted, _told(facts), _told(earlier)])
        path = folder / "edit.safetensors"
        with alone(folder, self._report):
            if not path.exists():
                with applied(self.model, edits):
                    edit, took = self._write(method, facts, earlier)
                SavedEdits((edit,), tuple(facts), method, {**wanted, "seconds": f"{took:.2f}"}, self._identity).write(path)
            found = SavedEdits.read(path)
        return found.edits[0], float(found.settings["seconds"])

    def prepare(self, method: Method) -> None:
        """Read the keys that a method needs, of the model as it is without edits."""
        if method != "ft":
            self._beginnings  # noqa: B018 -- drawn once, from the model as it is
            self._covariances(method)

    def save(self, path: Path, edits: Sequence[Edit], facts: Sequence[Fact], method: Method) -> None:
        """Write edits of a method to a file."""
        save(path, edits, facts, method, self.settings(method), self.model)

    def _write(self, method: Method, facts: Sequence[Fact], earlier: Sequence[Fact]) -> tuple[Edit, float]:
        """(the edit, seconds that it took)"""
        begun, values, searched = time.monotonic(), [], 0.0
        if method == "memit":
            told = self._report if len(facts) > 1 else quiet
            for done, fact in enumerate(facts):
                told("find values", done, len(facts))
                value, seconds = self._value(fact, earlier)
                values.append(value)
                searched += seconds
            told("find values", len(facts), len(facts))
            begun = time.monotonic()
            layers = self.layers(method)
            written = memit(self.model, facts, values, layers, self._covariances(method), self._beginnings, weight=self.weight, report=told)
        elif method == "ft":
            written = fine_tuned(self.model, facts, self.layer, self.tuning)
        else:
            (fact,) = facts
            written = rome(self.model, fact, self.layer, self._covariances(method)[self.layer], self._beginnings, self.search)
        return written.edit, time.monotonic() - begun + searched

    def _value(self, fact: Fact, earlier: Sequence[Fact]) -> tuple[Found, float]:
        """(what MEMIT's last layer is to give for a fact, whichever others are written with it; seconds that finding it took)"""
        decides = {"version": VERSIONS["memit"], "layer": self.layer, "search": asdict(self.search), "seed": self.seed}
        folder = self._folder(["value", decides, _told([fact]), _told(earlier)])
        path = folder / "value.safetensors"
        with alone(folder, self._report):
            if not path.exists():
                begun = time.monotonic()
                made = memit_value(self.model, fact, self.layer, self._beginnings, self.search)
                told = {"probability": made.probability, "steps": made.steps, "seconds": time.monotonic() - begun}
                write_tensors(path, {"before": made.before.cpu(), "added": made.added.cpu()}, told)
            with open_tensors(path) as file:
                note = json.loads(file.metadata()["note"])
                before, added = (file.get_tensor(name).to(self.model.device) for name in ("before", "added"))
        return Found(before, added, float(note["probability"]), int(note["steps"])), float(note["seconds"])

    def _folder(self, told: Sequence[object]) -> Path:
        """Of what is kept of this model under what was told: one of its own, so that nobody waits who makes something else."""
        return settings().passes / "edits" / content_key([self._identity, *told])

    @cached_property
    def _beginnings(self) -> list[str]:
        return beginnings(self.model, self.seed)

    @cached_property
    def _text(self) -> str:
        return content_key([passage.ids for passage in self.text])

    def _covariances(self, method: Method) -> dict[int, Tensor]:
        layers = self.layers(method)
        if missing := [layer for layer in layers if layer not in self._known]:
            names = projections(self.model)
            found = key_covariances(self.model, dict(names[layer] for layer in missing), self.text, report=self._report)
            self._known.update({layer: found[names[layer][0]] for layer in missing})
        return {layer: self._known[layer] for layer in layers}


def _told(facts: Sequence[Fact]) -> list[list[str]]:
    return [[each.prompt, each.subject, each.target] for each in facts]


def check_layer(model: TextModel, layer: int) -> int:
    """The layer; SubjectError where the model has none of that number."""
    blocks = len(projections(model))
    if not 0 <= layer < blocks:
        raise SubjectError(f"--layer {layer}: {model.name} has the layers 0 to {blocks - 1}; give one of them")
    return layer


def usual_layer(model: TextModel) -> int:
    """The layer at a fifth of the depth."""
    return round(DEPTH * (len(projections(model)) - 1))


def memit_layers(last: int, blocks: int) -> list[int]:
    """Those up to the last one: one of eight blocks, five at most."""
    count = min(MEMIT_LAYERS, max(1, round(blocks / MEMIT_SHARE)))
    return list(range(max(0, last - count + 1), last + 1))
