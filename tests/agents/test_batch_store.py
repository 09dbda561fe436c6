"""Which requests lie in which batch, kept in the reply cache's file."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.batch_store import KEPT_DAYS, BatchStore, Noted
from agents.cache import ReplyCache
from agents.llm import ChatReply
from analyzers.errors import ExplicateError


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with ReplyCache(tmp_path / "replies.sqlite") as cache:
        cache.put("k", ChatReply(text="kept"))
        yield cache.path
        # The two live side by side.
        assert len(cache) == 1


def test_what_is_noted_is_there_for_the_next_process(path: Path) -> None:
    now = time.time()
    first = BatchStore(path)
    first.intend("m", now, ["b", "a"])
    second = BatchStore(path)
    assert second.get("m") == Noted("m", None, now, {"b": 0, "a": 1})
    first.confirm("m", "batch_7")
    assert (second.find("a"), second.find("c")) == ("m", None)
    assert second.get("m") == Noted("m", "batch_7", now, {"b": 0, "a": 1})
    first.close()
    second.close()


def test_a_request_lies_in_the_latest_batch_and_lines_keep_their_numbers(path: Path) -> None:
    store = BatchStore(path)
    store.intend("m", time.time(), ["a", "b", "c"])
    store.intend("n", time.time(), ["b"])
    assert (store.find("b"), store.get("m").lines) == ("n", {"a": 0, "c": 2})
    # Of a batch that no longer holds it nothing can be forgotten.
    store.forget("m", ["b", "c"])
    assert (store.find("b"), store.find("c"), store.get("m").lines) == ("n", None, {"a": 0})
    store.drop("n")
    assert (store.find("b"), store.find("a")) == (None, "m")
    store.close()


def test_batches_are_forgotten_when_the_endpoint_has_forgotten_them(path: Path) -> None:
    store = BatchStore(path)
    store.intend("old", time.time() - (KEPT_DAYS + 1) * 86_400, ["a"])
    store.intend("young", time.time() - (KEPT_DAYS - 1) * 86_400, ["b"])
    store.close()
    again = BatchStore(path)
    assert (again.find("a"), again.find("b")) == (None, "young")
    again.close()


def test_without_a_file_it_remembers_for_as_long_as_it_lives() -> None:
    store = BatchStore(None)
    store.intend("m", time.time(), ["a"])
    assert store.find("a") == "m"
    store.close()
    store = BatchStore(None)
    assert store.find("a") is None
    store.close()


def test_a_write_that_fails_leaves_nothing_half_done(path: Path) -> None:
    store = BatchStore(path)
    store.intend("m", time.time(), ["a"])
    with pytest.raises(ExplicateError, match="cannot hold what batches are under way"):
        store.intend("m", time.time(), ["b"])
    assert (store.find("a"), store.find("b")) == ("m", None)
    store.close()


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.sqlite").write_bytes(b"not a database, however long it is" * 100)
    with pytest.raises(ExplicateError, match=r"broken.sqlite' cannot hold .* EXPLICATE_REPLIES"):
        BatchStore(tmp_path / "broken.sqlite")
