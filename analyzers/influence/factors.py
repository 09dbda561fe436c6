"""The factors of a model's curvature in their folder: which model they are of, and one layer's curvature at a time.

The folder: `shard-<k>.safetensors` with the factors of some layers each, and `factors.json`, which says what they are of.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from analyzers.errors import RunFolderError, SubjectError
from analyzers.influence.curvature import Basis, Curvature
from analyzers.influence.kinds import Method
from analyzers.pass_folder import open_tensors, read_json
from analyzers.text_model import TextModel

FACTORS = "factors.json"
BASIS = ("inputs", "outputs", "kfac")
KEYS = {"ekfac": (*BASIS, "values"), "diagonal": ("values",)}
"""By method that can be fitted, what is kept of each layer."""


class Factors:
    """Those of a folder, read one layer at a time."""

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        self.folder = folder
        self.info = info
        self.model: dict[str, str] = info["model"]
        """Identity of the model that they are of."""
        self.kind: str = info["kind"]
        self.shapes: dict[str, tuple[int, int]] = {name: (outputs, inputs) for name, outputs, inputs in info["layers"]}
        self._shards: dict[str, str] = info["shards"]

    @classmethod
    def open(cls, folder: Path) -> "Factors":
        """RunFolderError where there are none, or they are damaged or not fitted to the end."""
        path = folder / FACTORS
        if not path.is_file():
            if (folder / "lock").exists():
                raise RunFolderError(
                    f"the factors in {str(folder)!r} were begun and not finished; run the same `explicate influence fit` again"
                )
            raise RunFolderError(
                f"there are no factors in {str(folder)!r}; make some by `explicate influence fit MODEL --train FILE -o FOLDER`"
            )
        info = read_json(path)
        try:
            return cls(folder, info)
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"{str(path)!r} is damaged ({error}); fit the factors again") from error

    @property
    def methods(self) -> tuple[Method, ...]:
        """Those that these factors serve."""
        fitted = self.info["method"]
        return ("ekfac", "kfac", "identity") if fitted == "ekfac" else ("diagonal", "identity")

    def state(self) -> list[list[str | int]]:
        """Names, sizes and times of the files: another one where factors were fitted anew, by other code, say."""
        found = [(name, (self.folder / name).stat()) for name in sorted(set(self._shards.values()))]
        return [[name, file.st_size, file.st_mtime_ns] for name, file in found]

    def served(self, method: str) -> Method:
        """The method of that name. SubjectError for one that they do not serve."""
        for each in self.methods:
            if each == method:
                return each
        raise SubjectError(
            f"the factors in {str(self.folder)!r} serve {', '.join(self.methods)}, not {method!r}; "
            f"fit with --method {'diagonal' if method == 'diagonal' else 'ekfac'}"
        )

    def check(self, model: TextModel) -> None:
        """SubjectError for another model than that they were fitted to."""
        ours, theirs = ({key: value for key, value in each.items() if key != "name"} for each in (self.model, model.identity))
        if ours != theirs:
            differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
            raise SubjectError(
                f"the factors in {str(self.folder)!r} are of {self.model['name']!r} ({_told(ours, differing)}), not of {model.name!r} "
                f"({_told(theirs, differing)}); fit some to it, or give the model that they are of"
            )

    def curvature(self, name: str, method: Method, device: torch.device) -> Curvature:
        """Of one layer. SubjectError for a method that they do not serve."""
        if self.served(method) == "identity":
            return Curvature(torch.ones(self.shapes[name], device=device))
        with open_tensors(self.folder / self._shards[name]) as file:
            tensors = {key: file.get_tensor(f"{name}.{key}").to(device) for key in KEYS[self.info["method"]]}
        if method == "diagonal":
            return Curvature(tensors["values"])
        basis = Basis(tensors["inputs"], tensors["outputs"], tensors["kfac"])
        return Curvature(tensors["values"] if method == "ekfac" else basis.kfac, basis)


def _told(identity: Mapping[str, str], keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {str(identity.get(key))[:12]}" for key in keys)
