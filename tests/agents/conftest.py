"""A small OpenAI-compatible server on the loopback interface, whose answers a test decides and whose requests it can read."""

import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

DIE = object()
"""Close the connection in the middle of an answer."""

Answer = dict[str, Any] | bytes | tuple[int, dict[str, str], dict[str, Any] | bytes] | object


def chat_reply(text: str, *, logprobs: list[dict[str, Any]] | None = None, finish: str = "stop", **changes: Any) -> dict[str, Any]:
    """A chat completion as OpenAI documents it."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish, "message": message, "logprobs": None if logprobs is None else {"content": logprobs}}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage, **changes}


def error(status: int, message: str, *, headers: dict[str, str] | None = None, code: str | None = None) -> Answer:
    return (status, headers or {}, {"error": {"message": message, "type": "test", "code": code, "param": None}})


def digit_logprobs() -> list[dict[str, Any]]:
    """One token, 7, beside the other digits."""
    tops = [{"token": str(digit), "logprob": -0.1 if digit == 7 else -4.0, "bytes": None} for digit in (7, 0, 1, 2, 3, 4, 5, 6, 8, 9)]
    return [{"token": "7", "logprob": -0.1, "bytes": None, "top_logprobs": tops}]


def toy_tokens(text: str) -> list[str]:
    """Words with the space before them, digits, and single characters."""
    return re.findall(r" ?[A-Za-z]+|[0-9]|.", text, flags=re.DOTALL)


def toy_next(tokens: list[str], vocabulary: list[str]) -> dict[str, float]:
    """Natural-log probabilities of the next token by a model that copies: .9 on what followed the last token when it stood before."""
    before = [tokens[i + 1] for i in range(len(tokens) - 1) if tokens[i] == tokens[-1]]
    share = {token: 1.0 / len(vocabulary) for token in vocabulary}
    if before:
        share = {token: 0.1 / len(vocabulary) for token in vocabulary}
        share[before[-1]] += 0.9
    return {token: math.log(value) for token, value in share.items()}


def toy_echo(body: dict[str, Any], *, shift: int = 0, bos: str = "") -> dict[str, Any]:
    """A legacy completion of the toy model with prompt log-probabilities; shift: places by which they stand too late."""
    tokens = toy_tokens(body["prompt"])
    vocabulary = sorted(set(tokens) | set("0123456789"))
    tops: list[dict[str, float] | None] = [None]
    for at in range(1, len(tokens) + 1):
        ranked = sorted(toy_next(tokens[:at], vocabulary).items(), key=lambda item: -item[1])
        tops.append(dict(ranked[: body["logprobs"]]))
    shown = [*tokens, "!"]
    moved = [tops[min(max(at - shift, 0), len(tops) - 1)] for at in range(len(tops))]
    if bos:
        shown, moved = [bos, *shown], [None, *moved]
    offsets = [sum(len(token) for token in shown[:at]) for at in range(len(shown))]
    logprobs = {"tokens": shown, "token_logprobs": [None] * len(shown), "top_logprobs": moved, "text_offset": offsets}
    choice = {"index": 0, "finish_reason": "length", "text": "".join(shown), "logprobs": logprobs}
    usage = {"prompt_tokens": len(tokens), "completion_tokens": 1, "total_tokens": len(tokens) + 1}
    return {"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


@dataclass
class Server:
    """`answer(body)` is called for every request, in the request's own thread; its value is sent."""

    url: str = ""
    answer: Callable[[dict[str, Any]], Answer] = lambda body: chat_reply("hello")
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    die = DIE

    def prompts(self) -> list[str]:
        """The last message of every conversation that was asked, in order."""
        return [body["messages"][-1]["content"] for body in self.bodies]

    chat = staticmethod(chat_reply)
    error = staticmethod(error)
    digits = staticmethod(digit_logprobs)
    echo = staticmethod(toy_echo)
    tokens = staticmethod(toy_tokens)
    following = staticmethod(toy_next)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.bodies.append(body)
            server.paths.append(self.path)
            server.keys.append(self.headers.get("authorization", ""))
            answer = server.answer(body)
            if answer is DIE:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{")
                self.close_connection = True
                return
            status, headers, content = answer if isinstance(answer, tuple) else (200, {}, answer)
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in ({"content-type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of some tests."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server; its base URL is `server.url`."""
    made = Server()
    http = _Http(("127.0.0.1", 0), _handler(made))
    made.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    http.shutdown()
    thread.join()
    http.server_close()
