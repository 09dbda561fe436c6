"""A suite of six calls, each paid for once, run by a real process: `python scripted.py COMMAND DATABASE_URL PLACE {"lease": 60, ...}`.

serve: `schedule serve`, with its log on stderr; suite: the same with whatever suite is scheduled, in place of this one; race: claims and
runs whatever is due until the file `end` is there. What is paid for, recorded, begun and ended is a line in a file of PLACE. The fourth
call waits until the file `gate` is there: without an end, or, where the file `block` is there, without letting anything else go on.
"""

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from analyzers.progress import Report
from evals.database import Database, open_database
from evals.run_folder import RunFolder
from evals.schedule.due import run_due
from evals.schedule.serve import serve
from evals.schedule.servers import new_id
from evals.schedule.times import Times
from evals.schedule.work import Ended, Recorded, Tell

CALLS = 6
GATED = 3


def append(path: Path, line: str) -> None:
    """Add a line in one write, which other processes do not mix with theirs."""
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(number, f"{line}\n".encode())
    finally:
        os.close(number)


def main(command: str, url: str, place: Path, times: Times) -> None:
    async def run(suite_file: Path, folder: Path, *, report: Report, tell: Tell) -> Ended:
        with RunFolder(folder, "suite", {}):
            for call in range(CALLS):
                answered = folder / f"answer-{call}"
                if answered.exists():
                    continue
                while call == GATED and not (place / "gate").exists():
                    if (place / "block").exists():
                        time.sleep(0.01)
                    else:
                        await asyncio.sleep(0.01)
                append(place / "paid", f"{folder.name} {call}")
                answered.touch()
                report("calls", call + 1, CALLS)
        return Ended("done", None, lambda database: record(folder))

    def record(folder: Path) -> Recorded:
        append(place / "recorded", folder.name)
        return Recorded(f"run-{folder.name}", False)

    async def brief(suite_file: Path, folder: Path, *, report: Report, tell: Tell) -> Ended:
        append(place / "seen", f"begin {os.getpid()} {folder.name}")
        await asyncio.sleep(0.002)
        append(place / "seen", f"end {os.getpid()} {folder.name}")
        return Ended("done", None, lambda database: Recorded("run", False))

    def race(database: Database) -> None:
        begun = json.loads((place / "begun").read_text())

        def clock() -> datetime:
            """One minute goes by in a hundredth of a second."""
            return datetime(2026, 5, 1, 12, tzinfo=UTC) + timedelta(minutes=(time.time() - begun) * 100)

        append(place / "ready", str(os.getpid()))
        while not (place / "end").exists():
            if not run_due(database, run=brief, owner=new_id(), runs=place / "runs", times=times, clock=clock):
                # Less than a run takes: whoever looks without a pause takes the time of the one that runs.
                time.sleep(0.002)

    with open_database(url) as database:
        if command == "serve":
            serve(database, run=run, runs=place / "runs", port=0, times=times)
        elif command == "suite":
            from evals.schedule.suite_run import suite_runner  # it imports for seconds what the others do without

            serve(database, run=suite_runner(), runs=place / "runs", port=0, times=times)
        else:
            race(database)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Times(**json.loads(sys.argv[4])))
