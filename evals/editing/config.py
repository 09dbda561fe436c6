"""What `explicate edit` was asked for."""

from dataclasses import dataclass
from pathlib import Path

from analyzers.corpus import SAMPLE
from analyzers.errors import ExplicateError
from evals.editing.cases import FORMATS

METHODS = ("rome", "memit", "ft", "ice")
WRITING = ("rome", "memit", "ft")
"""Those that change weights."""
UNEDITED = "unedited"
_RANDOM = "random_"
GENERATED = 100
"""Tokens that fluency is measured on (Meng et al. 2022)."""
ANSWERED = 20
"""Tokens that are written to answer a question."""
TOKENS = 100_000
TRACE = "trace"
"""The layer that tracing finds."""


def random_of(method: str) -> str:
    """Name of a method's control: a change of the same size at the same place that says nothing."""
    return _RANDOM + method


def of_control(name: str) -> str | None:
    """The method whose random control this is called after, or None."""
    return name.removeprefix(_RANDOM) if name.startswith(_RANDOM) else None


def is_control(name: str) -> bool:
    """Whether it is measured beside the methods: the model as it was, or a random change."""
    return name == UNEDITED or of_control(name) is not None


@dataclass(frozen=True)
class EditConfig:
    """All that decides the figures, but for the model's weights and the files' content."""

    model: str
    edits: Path
    methods: tuple[str, ...] = ("rome",)
    form: str = "auto"
    evaluate: bool = False
    """Whether each edit by itself is measured on all that its record asks."""
    sequential: bool = False
    """Whether what becomes of the model after many edits is measured."""
    out: Path | None = None
    """Folder that the edits are saved in."""
    layer: str | None = None
    """Number of the block whose MLP is changed, or `trace`: where causal tracing peaks over the edits' true facts; None: by the depth."""
    covariance: str = SAMPLE
    """A corpus, whose keys are to be disturbed least."""
    tokens: int = TOKENS
    """Of that corpus."""
    generate: int = GENERATED
    """Tokens that are written for fluency; 0: none."""
    limit: int = 0
    """Edits, drawn by seed; 0: all."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what is wrong whatever the model is."""
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods:
            raise ExplicateError(f"--method: {', '.join(map(repr, unknown)) or 'none'}; choose some of {', '.join(METHODS)}")
        if self.form not in ("auto", *FORMATS):
            raise ExplicateError(f"--format {self.form!r} is none; choose auto, {', '.join(FORMATS)}")
        if not self.written and (self.out is not None or self.sequential or not self.evaluate):
            raise ExplicateError("--method ice changes no weight: there is nothing to save; measure it with --evaluate, or add rome")
        if self.layer is not None and self.layer != TRACE and not self.layer.isdecimal():
            raise ExplicateError(f"--layer {self.layer!r}: give the number of a block, from 0 on, or {TRACE}")
        if self.tokens < 1000:
            raise ExplicateError(f"--tokens {self.tokens}: too few for a covariance of keys; give 1000 or more, such as 100000")
        if self.generate < 0 or 0 < self.generate < 3:
            raise ExplicateError(f"--generate {self.generate}: give 3 tokens or more, such as 100, or 0 to leave fluency out")
        if self.limit < 0:
            raise ExplicateError(f"--limit {self.limit}: give how many edits at most, or 0 for all")

    @property
    def written(self) -> list[str]:
        """Methods that change weights, in the order they were asked for."""
        return [name for name in self.methods if name in WRITING]


@dataclass(frozen=True)
class AskConfig:
    """A question to a model with saved edits."""

    model: str
    folders: tuple[Path, ...]
    """With edits, which are made one after the other; or the files themselves."""
    prompts: tuple[str, ...]
    export: Path | None = None
    """Folder that the model with the edits is written into."""
    tokens: int = ANSWERED
    """Written behind each prompt at most."""
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what is wrong whatever the model is."""
        if not all(each.strip() for each in self.prompts) or (not self.prompts and self.export is None):
            raise ExplicateError('--load needs a question: add --ask "The capital of France is", or --export FOLDER')
        if self.tokens < 1:
            raise ExplicateError(f"--generate {self.tokens}: give 1 token or more")
