"""A process that has imported what takes seconds to import and done nothing else, and forks those that tests start, kill, and start again.

Each line of its input is an order, and each line of its output the answer, both of them JSON: see Forks in tests/conftest.py.
"""

import contextlib
import gc
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

LEARNED = Path(sys.argv[1])
"""A folder for what processes have imported."""


def work(order: dict[str, Any]) -> int:
    """Run a program in this process, which is the child, and return its exit code."""
    out, err = (os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for name in ("out", "err"))
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = [order["name"], *order["argv"]]
    before = set(sys.modules)
    try:
        exec(compile(order["program"], order["name"], "exec"), {"__name__": "__main__", "__file__": order["name"]})
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - this process ends here, whatever it is
        traceback.print_exc()
        return 70
    finally:
        # There may be no room for it, or nobody who reads.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            # What takes part only on the way is imported once and for all: later processes have it from the start.
            (LEARNED / str(os.getpid())).write_text("\n".join(name for name in sys.modules if name not in before), encoding="utf-8")
    return 0


def start(order: dict[str, Any], prepared: set[str]) -> int:
    """Fork a process for this program; return its number."""
    if order["prepare"] not in prepared:
        prepared.add(order["prepare"])
        exec(order["prepare"], {"__name__": "prepare"})
    gc.freeze()
    process = os.fork()
    if process == 0:
        code = 70
        try:
            code = work(order)
        finally:
            os._exit(code)
    return process


def ended(process: int) -> int | None:
    """Its exit code, negative the signal that killed it; None while it runs."""
    number, status = os.waitpid(process, os.WNOHANG)
    learned = LEARNED / str(process)
    if number and learned.exists():
        for name in learned.read_text("utf-8").split():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        learned.unlink()
    return os.waitstatus_to_exitcode(status) if number else None


def main() -> None:
    prepared: set[str] = set()
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(ended(order["ended"]) if "ended" in order else start(order, prepared)), flush=True)


if __name__ == "__main__":
    main()
