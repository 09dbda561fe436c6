"""The files of a batch: what is written keeps the limits, what is read says what became of each request."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agents.batch_lines
from agents.batch_lines import Answer, Line, parts, read


@given(
    lengths=st.lists(st.tuples(st.sampled_from(["/v1/a", "/v1/b"]), st.integers(0, 60)), max_size=40),
    most=st.integers(1, 7),
    room=st.integers(150, 900),
)
def test_parts_keep_the_limits_and_the_order_and_lose_nothing(lengths: list[tuple[str, int]], most: int, room: int) -> None:
    lines = [Line(f"k{n}", path, {"x": "y" * length}) for n, (path, length) in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents.batch_lines, "MOST_REQUESTS", most)
        patch.setattr(agents.batch_lines, "MOST_BYTES", room)
        made = list(parts(lines))
    for path in ("/v1/a", "/v1/b"):
        mine = [part for part in made if part[0].path == path]
        assert [line for part in mine for line in part] == [line for line in lines if line.path == path]
        sizes = [[len(line.text()) for line in part] for part in mine]
        assert all(len(size) <= most and sum(size) <= room for size in sizes)
        # None could have begun in the part before.
        assert all(len(a) == most or sum(a) + b[0] > room for a, b in pairwise(sizes))
    assert sum(len(part) for part in made) == len(lines)


@given(body=st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_a_line_is_one_line_of_ascii_and_keeps_its_body_in_order(body: dict[str, Any]) -> None:
    text = Line("k", "/v1/chat/completions", body).text()
    assert text.encode("ascii").count(b"\n") == 1
    found = json.loads(text)
    assert (found["custom_id"], found["method"], found["url"]) == ("k", "POST", "/v1/chat/completions")
    assert list(found["body"].items()) == list(body.items())


def row(key: str, **changes: Any) -> bytes:
    return json.dumps({"id": "x", "custom_id": key, "response": None, "error": None, **changes}).encode() + b"\n"


def test_each_request_is_read_as_what_a_call_would_have_answered() -> None:
    expired = {"code": "batch_expired", "message": "This request could not be executed in time."}
    content = (
        row("good", response={"status_code": 200, "request_id": "r", "body": {"choices": []}})
        + row("busy", response={"status_code": 429, "body": {"error": {"message": "slow"}}})
        + b"\n"
        + row("late", error=expired)
        + row("mute")
        + row("coded", error={"code": "batch_cancelled"})
    )
    answers, torn = read(content)
    assert torn == 0
    assert answers["good"] == Answer(200, {"choices": []})
    assert answers["busy"] == Answer(429, {"error": {"message": "slow"}})
    assert answers["late"] == Answer(503, {"error": {"message": "This request could not be executed in time."}})
    assert answers["mute"] == Answer(503, {"error": {"message": "it gives no reason"}})
    assert answers["coded"].body["error"]["message"] == "batch_cancelled"


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"7", b'{"response": null}', b"\xff\xfe", row("k", error="text"), row("k", response={"status_code": "x"})]
)
def test_lines_that_cannot_be_read_are_counted_and_the_others_kept(line: bytes) -> None:
    answers, torn = read(line.strip() + b"\n" + row("good", response={"status_code": 200, "body": {}}))
    assert (answers, torn) == ({"good": Answer(200, {})}, 1)
