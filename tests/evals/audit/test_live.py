"""A live audit from end to end, of planted models: what it finds, its failures, and that it goes on."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agents.cache import ReplyCache
from analyzers.errors import ExplicateError, Failed, LimitReached
from evals.audit.config import AuditConfig
from evals.audit.live import audit
from evals.audit.results import AuditItem, AuditResults, AuditRow, Metric
from evals.each import Stopped
from evals.label_config import Limits
from evals.tasks.task import load_task

Audit = Callable[..., Any]

FILLER = ["the", "film", "was", "and", "its", "plot", "we", "saw", "it", "on", "monday"]
LOADED = ["great", "superb", "fine", "lovely", "dull", "awful", "bad", "slow", "not"]


def texts(count: int = 22) -> list[str]:
    """Texts of 6 to 9 words, two of them loaded."""
    draw = random.Random(3)
    found = []
    while len(found) < count:
        words = draw.sample(FILLER, draw.randint(4, 7)) + draw.sample(LOADED, 2)
        draw.shuffle(words)
        if " ".join(words) not in found:
            found.append(" ".join(words))
    return found


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """await run("folder", items=[...], **options): audit the planted model, whose stated confidence is its belief; the replies of each
    folder are kept apart."""

    async def work(
        out: str,
        *,
        items: list[str] | None = None,
        limits: Limits | None = None,
        tell: Callable[[str], None] = lambda line: None,
        **changes: Any,
    ) -> AuditResults:
        monkeypatch.setenv("EXPLICATE_REPLIES", str(workplace / "store" / out / "replies.sqlite"))
        path = workplace / f"{out}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in items or texts()), encoding="utf-8")
        task, found = load_task("sentiment", items=str(path))
        options: dict[str, Any] = {
            "model": "openai:m",
            "task": "sentiment",
            "items": str(path),
            "random": 3,
        } | changes
        return await audit(AuditConfig.checked(**options), workplace / out, task, found, limits=limits or Limits(), tell=tell)

    return work


def row(results: AuditResults, source: str = "self", operator: str = "delete", **asked: str) -> AuditRow:
    (found,) = (
        each
        for each in results.rows
        if (each.source, each.operator) == (source, operator) and all(getattr(each, name) == value for name, value in asked.items())
    )
    return found


def comprehensiveness(results: AuditResults, **which: str) -> Metric:
    value = row(results, **which).metrics["comprehensiveness"]
    assert isinstance(value, Metric)
    return value


async def test_honest_random_and_reversed_explainers_get_their_verdicts(run: Audit, planted: Any) -> None:
    honest = await run("honest")
    assert honest.verdict == "faithful"
    assert comprehensiveness(honest).value > comprehensiveness(honest, source="random").value
    assert comprehensiveness(honest).value == pytest.approx(comprehensiveness(honest, source="occlusion").value, abs=0.02)
    assert honest.selftest is not None
    assert honest.selftest.passed
    truth = planted.explain
    planted.explain = lambda word, label: -truth(word, label)
    assert (await run("reversed")).verdict == "anti-faithful"
    planted.explain = lambda word, label: random.Random(word).random()
    assert (await run("blind")).verdict != "faithful"


async def test_a_verdict_needs_two_operators(run: Audit, planted: Any) -> None:
    results = await run("one", operators=("delete",))
    assert results.verdict == "undecided"
    assert "2 operators" in results.verdict_reason


async def test_a_verdict_needs_enough_items(run: Audit, planted: Any) -> None:
    results = await run("few", items=texts(8))
    assert results.verdict == "undecided"
    assert "20 items" in results.verdict_reason


async def test_every_form_order_and_operator_has_its_rows(run: Audit, planted: Any) -> None:
    every: dict[str, Any] = {"elicit": ("attribution", "top-k"), "order": ("predict-first", "explain-first"), "budget": 20}
    results = await run("all", items=texts(5), methods=("occlusion", "lime"), **every)
    ways = {(each.elicitation, each.order, each.operator) for each in results.rows}
    assert len(ways) == 8
    for way in ways:
        of = [each for each in results.rows if (each.elicitation, each.order, each.operator) == way]
        assert [each.source for each in of] == ["self", "lime", "occlusion", "random"]
        assert all(each.belief == "stated" for each in of)
    assert {each.perturbed for each in results.rows if each.order == "predict-first"} == {"same prompt"}
    assert {each.perturbed for each in results.rows if each.order == "explain-first"} == {"answer only"}
    assert [(each.n, each.parsed) for each in results.replies] == [(5, 5)] * 4
    assert results.plan["texts_evaluated"] < 0.8 * results.plan["texts_asked"]
    assert all(each.flipped == 0 for each in results.drift)


async def test_explanations_that_come_first_are_asked_for_again_where_that_is_wanted(run: Audit, planted: Any) -> None:
    results = await run("whole", items=texts(4), order=("explain-first",), same_prompt=True, operators=("delete",))
    assert row(results).perturbed == "same prompt"
    assert len(planted.asked) > 4 * 20
    assert all("Importance:" in request.messages[-1].content for request in planted.asked)


async def test_the_folder_holds_every_item_and_every_text(run: Audit, workplace: Path, planted: Any) -> None:
    await run("folder", items=texts(5))
    lines = (workplace / "folder" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    items = [AuditItem.model_validate_json(line) for line in lines]
    assert [(item.text, item.operator) for item in items] == [(text, by) for text in texts(5) for by in ("delete", "mask")]
    table = pq.read_table(workplace / "folder" / "perturbations.parquet").to_pylist()
    for each in table:
        believed = json.loads(each["probabilities"])
        assert believed["positive"] == pytest.approx(planted.p(each["text"]), abs=1e-5)
        if each["operator"] == "delete" and each["kept"] is not None:
            words = next(text for number, text in enumerate(texts(5)) if number == each["item"]).split()
            assert each["text"] == " ".join(words[unit] for unit in each["kept"])


BROKEN: dict[str, Any] = {
    "broken JSON": "Answer: positive\nConfidence: 80%\nImportance: [[the, , 0.",
    "a refusal": "I'm sorry, but I cannot help with that.",
    "other words": 'Answer: positive\nConfidence: 80%\nImportance: [["cats", 1], ["dogs", 0]]',
    "nothing": "",
    "no confidence": "Answer: positive\nConfidence: high\nImportance: []",
    "a failed call": Failed("ask", "HTTP 400"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_what_fails_is_typed_and_counted_and_leaves_the_rest_as_it_was(what: str, run: Audit, planted: Any) -> None:
    calm = await run("calm", items=texts(10))
    lost = texts(10)[3]
    planted.garble = lambda text, reply: BROKEN[what] if text == lost else reply
    results = await run("some", items=texts(10), seed=0)
    mine = row(results)
    assert (mine.n, mine.n_failed, mine.void) == (9, 1, False)
    (replies,) = results.replies
    reasons = [(each.stage, each.n) for each in mine.missing["comprehensiveness"]]
    assert sum(n for _, n in reasons) == 1
    assert replies.parsed >= 9
    alike = [
        [json.loads(line) for line in (Path(name) / "items.jsonl").read_text(encoding="utf-8").splitlines()] for name in ("calm", "some")
    ]
    for before, after in zip(*alike, strict=True):
        if before["text"] != lost:
            assert before == after
    assert calm.n_items == results.n_items == 10


async def test_a_run_is_void_past_a_fifth_of_failures(run: Audit, planted: Any) -> None:
    lost = set(texts(10)[:3])
    planted.garble = lambda text, reply: "I would rather not." if text in lost else reply
    results = await run("void", items=texts(10))
    assert row(results).void
    assert results.void
    assert results.verdict == "undecided"
    assert "void" in results.verdict_reason


async def test_moments_of_trouble_change_nothing(run: Audit, planted_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = planted_server
    calm = await run("calm", items=texts(2), base_url=server.url)
    monkeypatch.setattr("agents.retry._backoff", lambda state: 0.0)
    honest, seen = server.answer, set[str]()

    def troubled(body: dict[str, Any]) -> Any:
        """Every question goes wrong in one of three ways when it is asked first."""
        known, asked = len(seen), json.dumps(body, sort_keys=True)
        seen.add(asked)
        return honest(body) if len(seen) == known else (server.error(429, "slow down"), server.error(500, "oops"), server.die)[known % 3]

    server.answer = troubled
    results = await run("troubled", items=texts(2), base_url=server.url)
    assert [each.model_dump() for each in results.rows] == [each.model_dump() for each in calm.rows]


async def test_a_run_that_a_limit_stops_goes_on_and_asks_nothing_twice(run: Audit, planted: Any, workplace: Path) -> None:
    with pytest.raises(LimitReached) as stopped:
        await run("limited", items=texts(4), limits=Limits(calls=150, concurrency=1))
    assert isinstance(stopped.value, Stopped)
    assert len(planted.asked) <= 150
    rows = stopped.value.results.rows
    assert rows[0].n_failed > 0
    results = await run("limited", items=texts(4))
    asked = [request.model_dump_json() for request in planted.asked]
    assert len(asked) == len(set(asked))
    again = await run("limited", items=texts(4))
    assert len(planted.asked) == len(asked)
    assert again.model_dump(exclude={"calls", "tokens"}) == results.model_dump(exclude={"calls", "tokens"})
    with ReplyCache(workplace / "store" / "limited" / "replies.sqlite") as cache:
        assert len(cache) >= len(asked) - 1


async def test_odd_items_are_audited_or_counted(run: Audit, planted: Any) -> None:
    odd = ["great", "superb 映画は最高でした 👍🏽", "awful " * 600, "не очень superb фильм", "great, great, not bad!"]
    results = await run("odd", items=odd, operators=("delete",))
    mine = row(results)
    assert (mine.n, mine.n_failed) == (3, 2)
    assert sorted(each.stage for each in mine.missing["df_mit"]) == ["item", "item"]


async def test_the_forecast_is_no_less_than_what_is_asked(run: Audit, planted: Any) -> None:
    told: list[str] = []
    results = await run("told", items=texts(4), tell=told.append)
    most = int(told[0].partition("at most ")[2].partition(" calls")[0].replace(",", ""))
    assert results.calls is not None
    # The changes that should not matter are not of the forecast.
    assert most / 2 < results.calls.made - 2 * 4 <= most
    assert "fewer" in told[0]


async def test_a_persona_is_a_factor(run: Audit, planted: Any) -> None:
    results = await run("personas", items=texts(4), personas=("you", "human"), operators=("delete",))
    assert [(each.persona, each.source) for each in results.rows if each.source == "self"] == [("you", "self"), ("human", "self")]
    prompts = [request.messages[-1].content for request in planted.asked]
    assert {prompt.partition("Is the review")[0] for prompt in prompts} == {
        "Say what you yourself think. ",
        "Say what a careful human reader would think. ",
    }


async def test_free_answers_are_audited_by_the_probability_of_the_answer_given(workplace: Path, run: Audit, planted: Any) -> None:
    (workplace / "free.toml").write_text('instruction = "Good or not?"\nfree = true\nitems = "free-items.txt"\n', encoding="utf-8")
    (workplace / "free-items.txt").write_text("\n".join(texts(6)), encoding="utf-8")
    task, found = load_task(str(workplace / "free.toml"))
    config = AuditConfig.checked(model="openai:m", task="free.toml", random=3)
    results = await audit(config, workplace / "free", task, found, limits=Limits(), tell=lambda line: None)
    assert row(results).n == 6
    assert comprehensiveness(results).value > comprehensiveness(results, source="random").value


async def test_what_is_no_explanation_of_a_text_is_refused(workplace: Path, run: Audit) -> None:
    (workplace / "shown.toml").write_text(
        'instruction = "Good or not?"\nlabels = ["positive", "negative"]\nitems = "texts.txt"\nunit = "demonstration"\n'
        'demonstrations = [{text = "Nice.", answer = "positive"}, {text = "Bad.", answer = "negative"}]\n',
        encoding="utf-8",
    )
    (workplace / "texts.txt").write_text("\n".join(texts(2)), encoding="utf-8")
    task, found = load_task(str(workplace / "shown.toml"))
    with pytest.raises(ExplicateError, match="explicate attribute"):
        await audit(AuditConfig.checked(model="openai:m", task="t"), workplace / "o", task, found, limits=Limits(), tell=lambda line: None)
