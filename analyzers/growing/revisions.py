"""A model on the Hugging Face Hub at a named revision, as its training left it there."""

from pathlib import Path

from analyzers import hub
from analyzers.errors import AssetError
from analyzers.progress import Report, quiet

_SECONDS = 5.0


def revision_folder(name: str, revision: str, report: Report = quiet) -> Path:
    """The folder of a model's revision in the Hub client's own cache, fetched where needed.

    A revision that lies there is not asked for again. Raises AssetError where the Hub has no such model or revision, cannot be reached,
    or breaks off.
    """
    found = cached_revision(name, revision)
    return _fetched(name, revision, report) if found is None else found


def cached_revision(name: str, revision: str) -> Path | None:
    """The folder of one that lies whole in the Hub client's own cache; asks nobody."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:
        return None
    if not isinstance(config, str) or not hub.is_model(Path(config).parent):
        return None
    return Path(config).parent


def _fetched(name: str, revision: str, report: Report) -> Path:
    import httpx2
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    called = f"{name!r} at revision {revision!r}"
    try:
        info = HfApi().model_info(name, revision=revision, timeout=_SECONDS)
    except GatedRepoError as error:
        raise AssetError(f"{name!r} asks its users for consent first: give it on its page, then run `hf auth login`") from error
    except RevisionNotFoundError as error:
        raise AssetError(
            f"the Hugging Face Hub has no revision {revision!r} of {name!r}; its page lists the branches that it has"
        ) from error
    except RepositoryNotFoundError as error:
        raise AssetError(f"the Hugging Face Hub has no model {name!r} that you may read; a private one needs `hf auth login`") from error
    except HFValidationError as error:
        raise AssetError(f"{name!r} is not a name that the Hugging Face Hub can have: write organisation/model") from error
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise AssetError(
            f"{called} is not on this machine, and the Hugging Face Hub cannot be reached; give a folder of downloaded checkpoints, or "
            "--train a small model here"
        ) from error
    names = [sibling.rfilename for sibling in info.siblings or () if "/" not in sibling.rfilename]
    wanted = hub.needed(names)
    what = f"downloading {revision}"
    report(what, 0, len(wanted))
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except (httpx2.HTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise AssetError(f"fetching {called} from the Hugging Face Hub broke off: {reason}; try again") from error
    report(what, len(wanted), len(wanted))
    if not hub.is_model(folder):
        raise AssetError(f"{called} on the Hugging Face Hub has no config.json with .safetensors or .bin weights; choose another revision")
    return folder
