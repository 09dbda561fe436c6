"""`./run bench [NAME ...]`: run the named benchmarks (all without a name), one after the other, and print each result as JSON."""

import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any


def _sampling() -> dict[str, Any]:
    from evals.bench.sampling import main

    return {dtype: main(200_000, dtype) for dtype in ("float32", "bfloat16")}


def _simulation() -> dict[str, Any]:
    from evals.bench.simulation import main

    return main()


def _occlusion() -> dict[str, Any]:
    from evals.bench.occlusion import main

    return main()


def _states() -> dict[str, Any]:
    from evals.bench.states import main

    return main()


def _trees() -> dict[str, Any]:
    from evals.bench.trees import main

    return main()


def _labels() -> dict[str, Any]:
    from evals.bench.labels import main

    return main()


def _pipelines() -> dict[str, Any]:
    from evals.bench.pipelines import main

    return main()


def _lookups() -> dict[str, Any]:
    from evals.bench.lookups import main

    return main()


def _startup() -> dict[str, Any]:
    from evals.bench.startup import main

    return main()


def _database() -> dict[str, Any]:
    from evals.bench.database import main

    return main()


def _attention() -> dict[str, Any]:
    from evals.bench.attention import main

    return main()


def _influence() -> dict[str, Any]:
    from evals.bench.influence import main

    return main()


BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "startup": _startup,
    "lookups": _lookups,
    "simulation": _simulation,
    "occlusion": _occlusion,
    "labels": _labels,
    "pipelines": _pipelines,
    "database": _database,
    "attention": _attention,
    "states": _states,
    "trees": _trees,
    "influence": _influence,
    "sampling": _sampling,
}


def machine() -> dict[str, str]:
    """What the figures are of."""
    import psutil

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a file of ours
            cpu = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor()
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy"))
    memory = f"{psutil.virtual_memory().total / 1e9:.0f} GB"
    return {"cpu": f"{cpu}, {psutil.cpu_count()} cores", "memory": memory, "python": platform.python_version(), "packages": packages}


if __name__ == "__main__":
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"error: no benchmark is called {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    print(json.dumps({"machine": machine()}, indent=1), flush=True)
    for name in names:
        print(json.dumps({name: BENCHMARKS[name]()}, indent=1), flush=True)
