"""What `explicate doctor` looks at."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    found: str
    remedy: str = ""


def run_checks() -> list[Check]:
    """All checks, the cheap ones first; none writes anything, none shows a key."""
    from analyzers.settings import settings

    where = settings()
    checks = [
        Check("python", sys.version_info >= (3, 11), sys.version.split()[0], "use Python 3.11 or newer"),
        *(_version(name) for name in ("torch", "transformers", "openai", "langchain", "pydantic", "tenacity")),
        *(own(name) for name in ("agents", "analyzers", "evals", "explicate", "prompts")),
        _pip(),
        *(_folder(name, path) for name, path in (("assets", where.assets), ("passes", where.passes), ("replies", where.replies.parent))),
    ]
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        checks.append(Check(variable, True, "set" if os.environ.get(variable) else "not set (local models need none)"))
    return [*checks, *_machine(), _hub()]


def _version(name: str) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", "run ./run setup, or install explicate again")


def own(name: str) -> Check:
    """Whether a package of this name is ours alone: other distributions own folders `agents` and `evals`, and an import may find theirs."""
    spec = importlib.util.find_spec(name)
    ours = Path(__file__).resolve().parent.parent
    if spec is None or not spec.submodule_search_locations:
        return Check(f"package {name}", False, "not importable", "run ./run setup, or install explicate again")
    found = Path(next(iter(spec.submodule_search_locations))).resolve()
    others = sorted({owner for owner in importlib.metadata.packages_distributions().get(name, []) if owner != "explicate"})
    if found != ours / name or others:
        who = f"{', '.join(others)} also installs {name!r}" if others else f"{str(found)!r} is found first"
        return Check(f"package {name}", False, who, "give explicate an environment of its own, where nothing else owns this name")
    return Check(f"package {name}", True, str(found))


def _pip() -> Check:
    """Models and text come by pip where the Hub is out of reach; environments made by uv are without it."""
    found = importlib.util.find_spec("pip") is not None
    return Check("pip", found, "there" if found else "not installed", f"models by name may need it; run {sys.executable} -m ensurepip")


def _folder(name: str, path: Path) -> Check:
    home = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(home).free / 1e9
    found = f"{path}, {free:.1f} GB free"
    if not os.access(home, os.W_OK):
        return Check(name, False, f"{found}, not writable", f"change its permissions, or set EXPLICATE_{name.upper()} to another place")
    return Check(name, free >= 8, found, f"about 8 GB are wanted: free some, or set EXPLICATE_{name.upper()} to another place")


def _machine() -> list[Check]:
    import psutil

    from analyzers.loading import choose_device, choose_dtype, dtype_name

    device = choose_device("auto")
    memory = psutil.virtual_memory().available / 1e9
    return [
        Check("device", True, f"{device}, {dtype_name(choose_dtype('auto', device))} by default, {os.cpu_count()} cores"),
        Check("memory", memory >= 6, f"{memory:.1f} GB available", "the 1.5B explainer wants 6 GB: use local:qwen2.5-coder-0.5b or an API"),
    ]


def _hub() -> Check:
    from analyzers import hub
    from analyzers.asset_table import assets

    reached = hub.find(next(asset.hub for asset in assets() if asset.hub)) is not None
    return Check("Hugging Face Hub", True, "reachable" if reached else "not reachable: models by name come from the package index")
