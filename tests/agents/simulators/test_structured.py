import json

import numpy as np
import pytest

from agents.llm import Chat
from agents.providers.scripted import ScriptedLLM
from agents.simulators.structured import Structured, rows
from analyzers.errors import Failed
from analyzers.evidence import Excerpt

TOKENS = ("The", " cat", "\n", ' "', " sat")
ENTRIES = [[1, "The", 0], [2, " cat", 9], [3, "\\n", 1], [4, ' "', 2], [5, " sat", 0]]


def excerpt() -> Excerpt:
    return Excerpt("doc", 0, TOKENS, np.zeros(len(TOKENS), np.float32), "top")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"levels": ENTRIES}),
        json.dumps(ENTRIES, indent=2),
        f"Here you are:\n```json\n{json.dumps({'levels': ENTRIES}, indent=1)}\n```\nThe feature [sic] fires on {{cats}}.",
        json.dumps({"levels": [{"index": i, "token": token, "level": level} for i, token, level in ENTRIES]}),
        json.dumps({"levels": [{"level": level, "token": token, "number": i} for i, token, level in ENTRIES]}),
        json.dumps([{"note": "so", "text": token, "activation": level} for _, token, level in ENTRIES]),
        json.dumps({"levels": [[i, token, str(level)] for i, token, level in ENTRIES]}),
        "\n".join(json.dumps(entry) for entry in ENTRIES),
    ],
    ids=[
        "plain",
        "pretty",
        "fenced with prose",
        "objects",
        "objects in another order",
        "objects without numbers",
        "levels as strings",
        "one a line",
    ],
)
async def test_a_reply_is_read_however_it_is_dressed(text: str) -> None:
    [simulation] = await Structured(ScriptedLLM([text])).simulate("cats", [excerpt()])
    assert not isinstance(simulation, Failed)
    assert simulation.values.tolist() == [0, 9, 1, 2, 0]
    assert simulation.present.all()
    assert simulation.scale == "level"


async def test_what_is_missing_out_of_range_or_no_number_is_missing() -> None:
    entries = [[1, "The", 10], [2, " cat", -1], [3, "\\n", True], [4, ' "', "high"], [5, " sat", 3.5]]
    [simulation] = await Structured(ScriptedLLM([json.dumps(entries)])).simulate("cats", [excerpt()])
    assert not isinstance(simulation, Failed)
    assert simulation.present.tolist() == [False, False, False, False, True]
    assert simulation.values[4] == 3.5


async def test_a_cut_off_reply_gives_what_is_whole_and_renumbered_entries_are_repaired() -> None:
    text = json.dumps({"levels": ENTRIES})
    cut = text[: text.index('" sat') + 3]
    renumbered = json.dumps([[1, " cat", 9], [2, " sat", 4]])
    first, second = await Structured(ScriptedLLM([cut, renumbered])).simulate("cats", [excerpt()] * 2)
    assert not isinstance(first, Failed)
    assert not isinstance(second, Failed)
    assert first.present.tolist() == [True, True, True, True, False]
    assert second.present.tolist() == [False, True, False, False, True]
    assert second.values[[1, 4]].tolist() == [9, 4]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        "{}",
        "[[1, 2]]",
        json.dumps([[1, "dog", 3]]),
        '{"start": 1, "word": "The", "end": 3}',
        '{"levels": [[1, "The", 12]]}',
        "[" * 5000,
    ],
)
async def test_nothing_usable_is_a_failure(text: str) -> None:
    [outcome] = await Structured(ScriptedLLM([text])).simulate("cats", [excerpt()])
    assert isinstance(outcome, Failed)
    assert outcome.stage == "simulate"


def test_three_entries_are_not_taken_for_one() -> None:
    assert [row.token for row in rows(json.dumps(ENTRIES[:3]))] == ["The", " cat", "\\n"]


async def test_the_schema_is_sent_only_to_a_model_that_takes_one() -> None:
    for capabilities, expected in ((frozenset({"chat", "json_schema"}), True), (frozenset({"chat"}), False)):
        llm = ScriptedLLM([json.dumps(ENTRIES)], capabilities=capabilities)  # type: ignore[arg-type]
        await Structured(llm).simulate("", [excerpt()])
        [request] = llm.history
        assert isinstance(request, Chat)
        assert (request.json_schema is not None) == expected
        assert request.messages[-1].content.startswith("Fires on: something unknown\n1\tThe\n")
