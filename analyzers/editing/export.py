"""A model with its edits as a folder of its own, which every command and other programs take like any other model."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from analyzers.editing.deltas import Edit, applied
from analyzers.errors import AssetError
from analyzers.text_model import TextModel
from analyzers.whole_files import open_weights


def check_export(folder: Path) -> None:
    """Raise AssetError where something stands at its place, or no folder can be."""
    if folder.exists():
        raise AssetError(f"--export {str(folder)!r}: it is there already; name a new folder")
    if not folder.absolute().parent.is_dir():
        raise AssetError(f"--export {str(folder)!r}: there is no folder {str(folder.absolute().parent)!r}; make it, or name another one")


def export(model: TextModel, edits: Sequence[Edit], folder: Path) -> None:
    """Write weights, configuration and tokenizer, whole or not at all. Raises AssetError as `check_export`, and where that fails."""
    from safetensors import SafetensorError

    check_export(folder)
    making = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(making, ignore_errors=True)
    try:
        with applied(model, edits):
            model.model.save_pretrained(making)
        model.tokenizer.save_pretrained(making)
        open_weights(making)
        making.replace(folder)
    except OSError as error:
        raise AssetError(f"--export {str(folder)!r} cannot be written ({error.strerror or error}); name another folder") from error
    except SafetensorError as error:  # how a full disk comes
        raise AssetError(f"--export {str(folder)!r} cannot be written ({error}); make room, or name another folder") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
