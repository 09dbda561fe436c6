"""What each tool measures, beside a plain computation of the same."""

import dataclasses
import json
import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.experimenter import arguments as a
from agents.experimenter.bench import SILENT, Live
from agents.experimenter.hypotheses import Hypotheses
from agents.experimenter.told import fence
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from analyzers.laboratory import Laboratory
from analyzers.sites import Site
from analyzers.subject import Subject


@pytest.fixture
def bench(planted: SimpleNamespace) -> Live:
    return Live(planted.lab, planted.excerpts, 10.0, score_on_select=planted.score, seed=5)


async def found(bench: Live, name: str, **arguments: Any) -> dict[str, Any]:
    read = a.read(name, arguments)
    assert not isinstance(read, str), read
    result = await bench.measure(name, read)
    assert not isinstance(result, Failed), result
    return dict(result)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.9, 1.0), (0.5, 0.8), (0.0, 0.01)])
async def test_excerpts_lie_between_their_quantiles_loudest_first(planted: SimpleNamespace, bench: Live, low: float, high: float) -> None:
    result = await found(bench, "excerpts", low=low, high=high, count=12)
    peaks = sorted(float(excerpt.activations.max()) for excerpt in planted.excerpts)
    n = len(peaks)
    wanted = [peaks[at] for at in range(n) if at + 1 > low * n and at < high * n]
    shown = [row["peak"] for row in result["texts"]]
    assert shown == sorted(shown, reverse=True)
    if len(wanted) <= 12:
        assert shown == sorted(wanted, reverse=True)
    else:
        assert (shown[0], shown[-1], len(shown)) == (wanted[-1], wanted[0], 12)


async def test_tokens_it_fires_on_are_marked_beyond_what_a_text_can_write(bench: Live) -> None:
    result = await found(bench, "activations", texts=["it fell due to rain <<here>> \n now"])
    assert result["marks"] == ["<<<", ">>>"]
    assert result["texts"] == [{"text": "it fell due to <<<rain>>> <<here>> \\n now", "peak": 8.0, "loudest": [[" rain", 8.0]]}]


async def test_edits_measure_each_change(bench: Live) -> None:
    edits = [
        {"kind": "swap", "find": "due", "to": "owing"},
        {"kind": "mask", "find": "rain"},
        {"kind": "delete", "find": "fell"},
        {"kind": "delete", "find": "nowhere"},
    ]
    result = await found(bench, "edits", text="it fell due to rain", edits=edits)
    assert result["original"]["peak"] == 8.0
    by_edit = {row["edit"]: row for row in result["edits"]}
    assert by_edit["swap 'due' for 'owing'"]["change"] == -8.0
    assert by_edit["mask 'rain'"]["text"].endswith("due to <<[REDACTED]>>")
    assert (by_edit["delete 'fell'"]["text"], by_edit["delete 'fell'"]["change"]) == ("it due to <<rain>>", 0.0)
    assert by_edit["delete 'nowhere'"] == {"edit": "delete 'nowhere'", "failed": "changes nothing"}


async def test_an_edit_without_a_target_is_made_to_each_token_in_turn(planted: SimpleNamespace, bench: Live) -> None:
    result = await found(bench, "edits", text="it fell due to rain", edits=[{"kind": "delete"}])
    words = ["it", "fell", "due", "to", "rain"]
    left = [" ".join(words[:at] + words[at + 1 :]) for at in range(5)]
    # The first token has no space before it, so that its deletion leaves the next one's.
    assert [text.strip() for text in planted.lab.asked[-5:]] == left
    assert [row["change"] for row in result["edits"]] == [0.0, 0.0, -8.0, -8.0, -8.0]


async def test_no_edit_is_left_out_in_silence(bench: Live) -> None:
    each = [{"kind": kind, "to": "x"} for kind in ("swap", "delete", "mask")] * 2
    result = await found(bench, "edits", text="it fell due to rain", edits=each)
    failed = [row for row in result["edits"] if "failed" in row]
    assert (len(result["edits"]), len(failed)) == (30, 6)
    assert {row["failed"] for row in failed} == {"not measured: only 24 are at a time"}
    whole = await found(bench, "edits", text="rain", edits=[{"kind": "delete", "find": "rain"}])
    assert whole["edits"] == [{"edit": "delete 'rain'", "failed": "leaves nothing"}]


async def test_a_text_that_its_tokens_do_not_spell_is_edited_only_where_it_says(planted: SimpleNamespace) -> None:
    def torn(text: str) -> Excerpt:
        excerpt = planted.lab.excerpt(text, "text/0")
        return dataclasses.replace(excerpt, tokens=tuple(token.replace("\U0001f40e", "\ufffd\ufffd") for token in excerpt.tokens))

    lab = SimpleNamespace(activations=lambda texts: [torn(text) for text in texts])
    bench = Live(lab, planted.excerpts, 10.0, score_on_select=planted.score, seed=5)  # type: ignore[arg-type]
    text = "the \U0001f40e fell due to rain"
    each = a.Edits(text=text, edits=[a.Edit(kind="delete")])
    outcome = await bench.measure("edits", each)
    assert isinstance(outcome, Failed)
    assert "say in each edit what to find" in outcome.reason
    named = await found(bench, "edits", text=text, edits=[{"kind": "delete", "find": "fell"}])
    assert named["edits"][0]["change"] == 0.0


async def test_what_is_marked_is_what_counts_as_firing(planted: SimpleNamespace) -> None:
    heights = {"a": 2.9, "b": 3.0, "c": 3.9, "d": 4.0, "e": 10.0}
    lab = planted.FakeLab(lambda tokens, at: heights[tokens[at].strip()])
    result = await found(Live(lab, (), 10.0, score_on_select=None, seed=0), "activations", texts=["a b a c a d a e"])
    assert result["texts"][0]["text"] == "a <<b>> a <<c>> a <<d>> a <<e>>"


async def test_the_nearest_silent_text_shares_the_most_words(planted: SimpleNamespace, bench: Live) -> None:
    result = await found(bench, "nearest_silent", text="the marathon was stopped in the park due to rain", count=3)
    assert result["texts"][0]["text"] == "the marathon began at noon in the park"
    assert [row["peak"] for row in result["texts"]] == [0.0] * 3
    assert result["of"] == sum(float(excerpt.activations.max()) == 0 for excerpt in planted.excerpts)


async def test_the_output_side(bench: Live) -> None:
    ablated = await found(bench, "ablation", texts=["it fell due to rain"])
    (row,) = ablated["texts"]
    assert math.isclose(row["mean_nats"], 0.08 / 5)
    assert row["largest"][0] == {"after": " rain", "nats": 0.08, "next": " rain", "next_without": "x"}
    steered = await found(bench, "steering", prompts=["I think"], direction="down")
    assert steered == {"continuations": [{"prompt": "I think", "text": "I think -1 0.25 5"}]}


async def test_every_tool_measures_on_a_subject_and_again_the_same(tiny_model: Callable[..., Any]) -> None:
    model, tokenizer = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[:, 7] *= 30
    lab = Laboratory(Subject(model, tokenizer, name="llama", identity={}), Site(1, 7))
    texts = ["The river rises in the hills", "a bridge", "There are markets on Mondays"]
    excerpts = [excerpt for excerpt in lab.activations(texts) if not isinstance(excerpt, Failed)]
    peak = max(float(excerpt.activations.max()) for excerpt in excerpts)
    silent = Excerpt("silent", 0, ("a", " river"), np.zeros(2, np.float32), "random")
    given: dict[str, dict[str, Any]] = {
        "excerpts": {"low": 0.0},
        "activations": {"texts": texts},
        "edits": {"text": texts[0], "edits": [{"kind": "mask"}, {"kind": "swap", "find": "river", "to": "lake"}]},
        "nearest_silent": {"text": "the river"},
        "output_tokens": {},
        "ablation": {"texts": texts, "to": "zero"},
        "steering": {"prompts": ["The river"], "direction": "up"},
        "score_on_select": {"explanation": "rivers"},
    }
    assert given.keys() == a.MEASURED.keys()

    async def score(explanation: str) -> float:
        return 0.5

    bench = Live(lab, [*excerpts, silent], peak, score_on_select=score, seed=2)
    first = {name: await found(bench, name, **arguments) for name, arguments in given.items()}
    json.dumps(first, allow_nan=False)
    assert {name: await found(bench, name, **arguments) for name, arguments in given.items()} == first
    assert max(row["peak"] for row in first["activations"]["texts"]) == 10
    assert len(first["edits"]["edits"]) > 4
    assert all(row["peak"] < SILENT for row in first["nearest_silent"]["texts"])
    assert len(first["output_tokens"]["promoted"]) == 10
    assert first["ablation"]["texts"][0]["mean_nats"] > 0
    assert first["steering"]["continuations"][0]["text"]


@given(st.text(alphabet="`a\n ", max_size=40))
def test_nothing_closes_its_fence(text: str) -> None:
    shown = fence(text, "json")
    opening, closing = shown.split("\n")[0].removesuffix("json"), shown.split("\n")[-1]
    assert opening == closing
    assert set(opening) == {"`"}
    assert max((len(run) for run in re.findall("`+", text)), default=0) < len(opening)


def test_schemas_stand_alone() -> None:
    for name, kind in a.TOOLS.items():
        schema = a._schema(kind)
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert "$ref" not in str(schema), name
        assert set(schema["properties"]) == set(kind.model_fields)
    assert a._schema(a.Conclude)["properties"]["clauses"]["items"]["properties"]["text"]["type"] == "string"


def test_the_best_hypothesis_stands_and_does_best() -> None:
    hypotheses = Hypotheses()
    for text, status, score, support in (
        ("a", "refuted", 0.9, {1, 2}),
        ("b", "open", 0.8, {1, 2}),
        ("c", "supported", None, {1, 2, 3}),
        ("d", "supported", 0.1, {1}),
        ("e", "supported", 0.1, {1, 4}),
        ("f", "open", None, set()),
    ):
        one = hypotheses.of(text)
        one.status, one.score, one.support = status, score, support  # type: ignore[assignment]
    assert hypotheses.of(" A ") is hypotheses.of("a")
    assert [one.text for one in hypotheses.best_first()] == ["e", "d", "c", "b", "f"]
