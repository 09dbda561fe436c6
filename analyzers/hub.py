"""The Hugging Face Hub: asked once whether it is there, then taken from or left alone.

A model is called organisation/model, or organisation/model@revision for a branch, tag or commit that is not its main branch.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analyzers.errors import AssetError
from analyzers.progress import Report

_SECONDS = 5.0
BESIDE_WEIGHTS = (".json", ".txt", ".model", ".jinja", ".py")
"""What the files end with that decide, with the weights, what a model answers."""


@dataclass(frozen=True)
class Snapshot:
    """One commit of a model on the Hub."""

    repository: str
    revision: str
    files: tuple[str, ...]
    """Those needed to run it: in its top folder, one format of weights."""
    asked: str | None = None
    """The revision as it was asked for; None the main branch."""


Find = Callable[[str], Snapshot | None]
"""Asks the Hub for a model, as `find` does."""


def parted(name: str) -> tuple[str, str | None]:
    """(repository, revision or None) of a model's name."""
    repository, at, revision = name.partition("@")
    return repository, revision if at else None


def find(name: str) -> Snapshot | None:
    """Ask the Hub for a model once; None where the Hub cannot be reached, AssetError where it has no such model for this user.

    `from_pretrained` would retry for half a minute per file instead.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    repository, revision = parted(name)
    try:
        info = HfApi().model_info(repository, revision=revision, timeout=_SECONDS)
    except GatedRepoError as error:
        raise AssetError(f"{repository!r} asks its users for consent first: give it on its page, then run `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise AssetError(
            f"the Hugging Face Hub has no model {repository!r} that you may read; a private one needs `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise AssetError(
            f"the Hugging Face Hub has no revision {revision!r} of {repository!r}; its page lists the branches that it has"
        ) from error
    except HFValidationError as error:
        raise AssetError(
            f"{name!r} is not a name that the Hugging Face Hub can have: write organisation/model, or organisation/model@revision"
        ) from error
    except (httpx2.HTTPError, OSError, ValueError):
        return None  # no route, offline mode, a server error, or an answer that is not the Hub's
    names = [sibling.rfilename for sibling in info.siblings or () if "/" not in sibling.rfilename]
    return Snapshot(repository, str(info.sha), tuple(needed(names)), revision)


def needed(names: list[str]) -> list[str]:
    """Of a repository's top-level files: configuration, tokenizer, and the weights in one format, safetensors first."""
    weights = [name for name in names if name.endswith(".safetensors")] or [name for name in names if name.endswith(".bin")]
    return sorted(weights + [name for name in names if name.endswith(BESIDE_WEIGHTS)])


def download(snapshot: Snapshot, folder: Path | None, report: Report) -> Path:
    """Fetch the snapshot into `folder`, or where None what its branch has now into the Hub client's own cache; returns where it lies.

    Raises AssetError where that breaks off.
    """
    import httpx2
    from huggingface_hub import snapshot_download

    report("downloading", 0, len(snapshot.files))
    # By branch into the cache: only so does the client note which commit the branch means, and find it again without the Hub.
    revision = snapshot.asked if folder is None else snapshot.revision
    try:
        path = snapshot_download(snapshot.repository, revision=revision, local_dir=folder, allow_patterns=list(snapshot.files))
    except (httpx2.HTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AssetError(f"fetching {snapshot.repository!r} from the Hugging Face Hub broke off: {reason}; try again") from error
    report("downloading", len(snapshot.files), len(snapshot.files))
    return Path(path)


def cached(name: str) -> Path | None:
    """The folder of a model that lies whole in the Hub's own cache on this machine; asks nobody."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    repository, revision = parted(name)
    try:
        config = try_to_load_from_cache(repository, "config.json", revision=revision)
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if is_model(folder) else None


def is_model(folder: Path) -> bool:
    """Whether `folder` holds a configuration and weights, with every shard that an index names."""
    indices = sorted(folder.glob("*.index.json"))
    if not (folder / "config.json").is_file():
        return False
    if indices:
        try:
            shards = set(json.loads(indices[0].read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError):
            return False
        return all((folder / shard).is_file() for shard in shards)
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
