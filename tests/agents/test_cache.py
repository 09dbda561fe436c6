"""The reply cache gives back exactly what was put in, survives damage, and is shared by processes."""

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.cache import ReplyCache, request_key
from agents.llm import Chat, ChatReply, Message, Readout, ReadoutReply, Reply, TokenLogprob, Usage
from analyzers.errors import ExplicateError

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
logprobs = st.floats(max_value=0.0, allow_nan=False)
tokens = st.builds(TokenLogprob, token=texts, logprob=logprobs, top=st.lists(st.tuples(texts, logprobs), max_size=3).map(tuple))
usages = st.builds(Usage, prompt_tokens=st.integers(0, 10**9), completion_tokens=st.integers(0, 10**9), usd=st.floats(0, 1e6))
chat_replies = st.builds(ChatReply, text=texts, logprobs=st.none() | st.lists(tokens, max_size=3).map(tuple), finish=texts, usage=usages)
rows = st.lists(st.lists(st.none() | logprobs, max_size=3).map(tuple), max_size=3).map(tuple)
replies = chat_replies | st.builds(ReadoutReply, logprobs=rows, usage=usages)

CHAT = Chat(messages=(Message(role="user", content="hello"),), max_tokens=5)
IDENTITY = {"provider": "test", "model": "m"}


@given(reply=replies)
@settings(max_examples=60, deadline=None)
def test_gives_back_exactly_what_was_put_in(reply: Reply) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "replies.sqlite"
        with ReplyCache(path) as cache:
            assert cache.get("k") is None
            assert cache.put("k", reply) == reply
        with ReplyCache(path) as cache:
            assert cache.get("k") == reply
            assert len(cache) == 1


CHANGES: list[dict[str, Any]] = [
    {"max_tokens": 6},
    {"temperature": 0.5},
    {"seed": 1},
    {"stop": ("\n",)},
    {"top_logprobs": 3},
    {"json_schema": {"a": 1}},
    {"messages": (Message(role="user", content="hello "),)},
    {"messages": (Message(role="assistant", content="hello"),)},
    {"messages": (*CHAT.messages, *CHAT.messages)},
]


def test_key_differs_wherever_the_request_or_the_model_differs() -> None:
    keys = [request_key(IDENTITY, CHAT.model_copy(update=change)) for change in [dict[str, Any](), *CHANGES]]
    keys += [request_key(IDENTITY | change, CHAT) for change in ({"model": "n"}, {"dtype": "float32"})]
    # The order of a schema's properties is the order in which a model writes them.
    keys += [request_key(IDENTITY, CHAT.model_copy(update={"json_schema": schema})) for schema in ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
    readout = Readout(prefix="a", head="b", pieces=("c", "d"), after=(0,), options=("0",))
    keys += [request_key(IDENTITY, readout), request_key(IDENTITY, readout.model_copy(update={"pieces": ("cd",)}))]
    keys += [request_key(IDENTITY, readout.model_copy(update={"prefix": "", "head": "ab"}))]
    assert len(set(keys)) == len(keys)


def test_key_of_equal_requests_is_equal() -> None:
    assert request_key({"a": "1", "b": "2"}, CHAT) == request_key({"b": "2", "a": "1"}, CHAT.model_copy())
    assert request_key(IDENTITY, Chat.model_validate(CHAT.model_dump())) == request_key(IDENTITY, CHAT)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE replies SET reply = replace(reply, 'hello', 'hullo')",
        "UPDATE replies SET reply = substr(reply, 1, 10)",
        "UPDATE replies SET reply = x'00ff'",
        "UPDATE replies SET checksum = 'no'",
        "UPDATE replies SET key = 'other' WHERE key = 'k'; UPDATE replies SET key = 'k'",
    ],
)
def test_a_damaged_row_is_missing_and_is_written_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "replies.sqlite"
    with ReplyCache(path) as cache:
        cache.put("k" if "other" not in damage else "elsewhere", ChatReply(text="hello"))
    with sqlite3.connect(path) as file:
        file.executescript(damage)
    file.close()
    with ReplyCache(path) as cache, caplog.at_level(logging.WARNING):
        assert cache.get("k") is None
        assert "damaged" in caplog.text
        cache.put("k", ChatReply(text="again"))
        assert cache.get("k") == ChatReply(text="again")


def test_the_first_reply_stays(tmp_path: Path) -> None:
    with ReplyCache(tmp_path / "r") as one, ReplyCache(tmp_path / "r") as other:
        one.put("k", ChatReply(text="first"))
        assert other.put("k", ChatReply(text="second")) == ChatReply(text="first")
        assert one.get("k") == ChatReply(text="first")


def test_a_file_that_is_no_cache_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to look like one " * 50)
    with pytest.raises(ExplicateError, match=r"(?s)^[^\n]*text[^\n]*EXPLICATE_REPLIES[^\n]*$"):
        ReplyCache(tmp_path / "text")
    with pytest.raises(ExplicateError, match="cannot be used"):
        ReplyCache(tmp_path / "text" / "below")
    with sqlite3.connect(tmp_path / "later") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(ExplicateError, match=r"version 99.*reads version 1"):
        ReplyCache(tmp_path / "later")


def test_a_full_disk_is_a_plain_error(tmp_path: Path) -> None:
    with ReplyCache(tmp_path / "r") as cache:
        cache.put("k", ChatReply(text="kept"))
        cache._file.execute("PRAGMA max_page_count = 3")
        with pytest.raises(ExplicateError, match="full"):
            cache.put("big", ChatReply(text="x" * 100_000))
        assert cache.get("k") == ChatReply(text="kept")


def test_replies_that_belong_together_are_kept_together_or_not_at_all(tmp_path: Path) -> None:
    small, big = ChatReply(text="small"), ChatReply(text="x" * 100_000)
    with ReplyCache(tmp_path / "r") as cache:
        assert cache.put_all([("a", small), ("b", big)]) == [small, big]
        assert cache.put_all([("b", small), ("c", small)]) == [big, small]
        cache._file.execute("PRAGMA max_page_count = 40")
        with pytest.raises(ExplicateError, match="full"):
            cache.put_all([("d", small), ("e", big)])
        assert [cache.get(key) for key in "abcde"] == [small, big, small, None, None]
        assert cache.put("f", small) == small


WRITER = """
import sys
from pathlib import Path
from agents.cache import ReplyCache
from agents.llm import ChatReply
with ReplyCache(Path(sys.argv[1])) as cache:
    for key in range(100):
        print(cache.put(str(key), ChatReply(text=sys.argv[2])).text)
"""


def test_processes_share_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "replies.sqlite")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    seen = []
    for writer in writers:
        out, err = writer.communicate(timeout=120)
        assert (writer.returncode, err) == (0, "")
        seen.append(out.split())
    with ReplyCache(Path(path)) as cache:
        kept = [cache.get(str(key)) for key in range(100)]
    # Whoever came first, everybody works with the reply that is kept.
    assert seen == [[reply.text for reply in kept if isinstance(reply, ChatReply)]] * 3
