"""/healthz: whether the server's work goes on, for whatever restarts it where it does not."""

import errno
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from analyzers.errors import ExplicateError
from evals.schedule.heartbeat import Pulse

_WHY = {
    errno.EADDRINUSE: "is in use",
    errno.EACCES: "may not be used by you",
    errno.EADDRNOTAVAIL: "is on no network of this machine",
}


@contextmanager
def answering(pulse: Pulse, host: str, port: int) -> Iterator[int]:
    """Answer GET /healthz on threads of their own: 200 while the pulse goes, 503 where it does not; yields the port.

    port: 0 for any that is free. Raises ExplicateError where the port cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # of a client that says nothing

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            code, said = 404, {"status": "not found"}
            if self.path.partition("?")[0] == "/healthz":
                hung = pulse.hung
                code, said = (503, {"status": "hung"}) if hung else (200, {"status": "ok"})
                said["seconds_since_progress"] = f"{pulse.age:.1f}"
            data = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Not in the log: probes ask every few seconds."""

        def version_string(self) -> str:
            return "explicate"

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        why = _WHY.get(error.errno or 0, f"cannot be used ({error.strerror})")
        raise ExplicateError(f"port {port} on {host!r} {why}; give another --port (0: any that is free), or another --host") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="healthz", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
