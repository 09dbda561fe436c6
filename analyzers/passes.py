"""Sampling passes are kept and used again: one folder for each (subject, corpus, settings)."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from analyzers.blocks import Blocks, BlockSettings
from analyzers.corpus import source_identity
from analyzers.kept import SampleSettings
from analyzers.pass_folder import CHECKPOINT, FORMAT, RESULT, content_key, read_json, write_json
from analyzers.progress import Report, quiet
from analyzers.sampling import sample
from analyzers.settings import settings
from analyzers.store import ActivationStore
from analyzers.subject import Subject

_TIMING = "timing.json"
"""Beside the pass and no part of it: a pass made twice has equal bytes, but never takes equally long."""


def open_blocks(subject: Subject, corpus: str, *, tokens: int, excerpt_tokens: int, seed: int, report: Report = quiet) -> Blocks:
    """The blocks of a corpus in a subject's tokens: opened where they were cut before, else cut. CorpusError for one of no use."""
    cut = BlockSettings(tokens=tokens, excerpt_tokens=excerpt_tokens, seed=seed)
    tokenizer = _tokenizer_identity(subject.tokenizer)
    text = {"source": source_identity(corpus, report=report), "tokenizer": tokenizer, "settings": cut.__dict__}
    folder = settings().passes / "blocks" / content_key(text)
    if not folder.exists():
        Blocks.build(corpus, subject.encode, folder, tokenizer_identity=tokenizer, settings=cut, report=report)
    return Blocks.open(folder)


def run_pass(subject: Subject, blocks: Blocks, *, batch: int = 16, report: Report = quiet) -> ActivationStore:
    """The pass of a subject over blocks: opened where it was made before, continued where it was begun, else made.

    Raises CorpusError, SubjectError and RunFolderError as `sample` does.
    """
    folder = settings().passes / content_key(
        {
            "format": FORMAT,
            "subject": dict(subject.identity),
            "blocks": blocks.fingerprint,
            "batch": batch,
            "settings": SampleSettings().as_json(),
        }
    )
    made_before, begun_before = (folder / RESULT).exists(), (folder / CHECKPOINT).exists()
    started = time.perf_counter()
    store = sample(subject, blocks, folder, batch=batch, report=report)
    if not made_before and not begun_before:
        write_json(folder / _TIMING, {"format": FORMAT, "seconds": time.perf_counter() - started})
    return store


def open_pass(
    subject: Subject, corpus: str, *, tokens: int, excerpt_tokens: int, seed: int, batch: int = 16, report: Report = quiet
) -> ActivationStore:
    """`open_blocks`, then `run_pass`."""
    blocks = open_blocks(subject, corpus, tokens=tokens, excerpt_tokens=excerpt_tokens, seed=seed, report=report)
    return run_pass(subject, blocks, batch=batch, report=report)


def pass_seconds(folder: Path) -> float | None:
    """How long the pass took, loading the model and cutting the text not counted; None for one that was interrupted in between."""
    path = folder / _TIMING
    return float(read_json(path)["seconds"]) if path.exists() else None


def _tokenizer_identity(tokenizer: Any) -> str:
    """Hash of all that it does, or of its kind and vocabulary where it is one that runs in Python."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    whole = backend.to_str() if backend is not None else json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    return hashlib.sha256(whole.encode()).hexdigest()
