"""Run folders with planted numbers for the pages, a server of them, and a browser where there is one."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from fastapi.testclient import TestClient

from evals.audit.results import Answered, AuditItem, AuditResults, AuditRow
from evals.confidence.measures import MEASURES
from evals.confidence.reliability import reliability
from evals.confidence.results import ConfidenceResults, ConfidenceRow
from evals.database import Database, open_database
from evals.results import Calls, Candidate, Failure, Instrument, LeakAudit, Lift, RunResults, SiteResult, Tokens, Value
from evals.run_folder import write_json, write_json_lines, write_parquet
from explicate.web.app import create_app

HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(2)>\"'`"
TOKENS = [" He", " went", " on", " and", f" {HOSTILE}", "\n"]
PAGES = "http://127.0.0.1"


def value(number: float, n: int = 24) -> Value:
    return Value(value=number, low=number - 0.1, high=number + 0.1, n=n)


def _site(name: str, polarity: Literal["+", "-"], explanation: str | None, score: float | None, lift: float | None) -> SiteResult:
    why = Failure(stage="explain", reason=f"the explainer refused {HOSTILE}")
    scores = {"pearson": why if score is None else value(score), "pearson_null_contrast": why if score is None else value(score)}
    return SiteResult(
        site=name,
        polarity=polarity,
        explanation=explanation,
        explainer="marked-text(local:x)",
        simulator="all-at-once(local:y)",
        scores=scores,
        by_stratum={} if score is None else {"top": {"pearson_null_contrast": value(score + 0.05)}},
        controls={} if score is None else {"token_lookup": {"pearson": value(0.3)}, "shuffled": {"pearson_null_contrast": value(0.01)}},
        lift=why if lift is None else Lift(**value(lift).model_dump(), over="token_lookup", score="pearson_null_contrast"),
        q_value=None if score is None else 0.004,
        firing=0.0125,
        candidates=[]
        if explanation is None
        else [Candidate(explanation=explanation, select_score=0.41), Candidate(explanation="a worse one", select_score=0.17)],
        failures=[why] if explanation is None else [],
    )


SITES = [
    _site("L0.mlp.3", "+", "the word on", 0.8, 0.25),
    _site("L0.mlp.3", "-", f"and {HOSTILE}", 0.35, -0.05),
    _site("L1.mlp.7", "+", None, None, None),
    _site("L2.mlp.9", "-", "words of towns, such as bridge", 0.55, 0.1),
]
LABELS = ["L0.mlp.3", "L0.mlp.3-", "L1.mlp.7", "L2.mlp.9-"]


def _write(folder: Path, kind: str, config: dict[str, Any], results: dict[str, Any], **manifest: Any) -> None:
    folder.mkdir(parents=True)
    known = {"format": 1, "command": kind, "config": config, "version": "0.1.0", "code": "abc", **manifest}
    write_json(folder / "manifest.json", known)
    write_json(folder / "results.json", {**results, "manifest": known})


_COST = {"calls": Calls(made=7, cached=2).model_dump(), "tokens": Tokens(prompt=100, completion=11).model_dump(), "usd": 0.5}


@pytest.fixture
def label_run() -> Callable[..., Path]:
    """label_run(folder): a labelling run of SITES; " on" is the loudest token of every excerpt (6, then 5, ...), simulated as 7.5."""

    def build(folder: Path, *, subject: str = "tiny", sites: Sequence[SiteResult] = SITES, revision: str = "r1") -> Path:
        good = Instrument(simulator="y", auroc=value(0.9), within=value(0.9), kinds={"word": value(0.9)}, cannot_judge=["position"])
        results = RunResults(
            sites=list(sites),
            n_scored=3,
            n_failed=1,
            **_COST,
            leak_audit=LeakAudit(passed=True, checked=1, largest_overlap=0.0),
            instrument=good,
            means={"pearson": value(0.5), "pearson_null_contrast": value(0.5), "lift": value(0.1)},
            manifest={},
        ).model_dump(mode="json")
        _write(folder, "label", {"subject": subject}, results, subject={"name": subject, "revision": revision, "dtype": "float32"})
        kinds = (("test", "top"), ("test", "top"), ("test", "q95"), ("test", "random"), ("explain", "top"))
        rows, simulated = [], []
        for site in sites:
            for start, (split, stratum) in enumerate(kinds):
                place = {"site": site.site, "polarity": site.polarity, "split": split, "document": f"d{start} {HOSTILE}", "start": start}
                activations = [0.0, 0.1, 6.0 - start, 0.5, 0.0, 0.0]
                rows.append({**place, "stratum": stratum, "tokens": TOKENS, "activations": activations})
                if split == "test" and site.explanation is not None:
                    for of, values in (("explanation", [0.5, 0.4, 7.5, 0.4, 0.4, None]), ("null", [0.4] * 6)):
                        simulated.append({**place, "of": of, "values": values, "failed": None})
        write_parquet(folder / "excerpts.parquet", rows)
        write_parquet(folder / "simulations.parquet", simulated)
        write_parquet(folder / "scores.parquet", [{"site": "L0.mlp.3", "value": 0.8}])
        (folder / "explanations.jsonl").touch()
        return folder

    return build


@pytest.fixture
def audit_run() -> Callable[..., Path]:
    """audit_run(folder): three items. Item 1 is explained as was found, item 2 the other way round, item 3 not at all."""

    def build(folder: Path) -> Path:
        none = Failure(stage="align", reason=f"no list in {HOSTILE}")
        units = [["lovely", "staff", "today"], [f"cold{HOSTILE}", "soup", "again"], ["no", "idea"]]
        said: list[list[float] | Failure] = [[1.0, 0.5, 0.0], [1.0, 0.0, -1.0], none]
        found = [[0.4, 0.2, 0.0], [-0.3, 0.0, 0.3], [0.1, 0.2]]
        lines = [
            AuditItem(
                elicitation="attribution",
                order=order,
                operator="delete",
                text=" ".join(words),
                units=words,
                gold="positive" if at != 1 else "negative",
                answer=Answered(label="positive", confidence=0.8, stated=0.95),
                attributions={"self": said[at], "lime": found[at]},
                effects=found[at],
                metrics={"self": {"comprehensiveness": none if at == 2 else 0.125}},
                reply=f"I think {HOSTILE}",
            )
            for order in ("explain-first", "predict-first")
            for at, words in enumerate(units)
        ]
        rows = [
            AuditRow(
                elicitation="attribution",
                order=order,
                operator="delete",
                source="self",
                n=2,
                n_failed=1,
                n_constant=0,
                metrics={"comprehensiveness": Failure(stage="metric", reason="too few items")},
            )
            for order in ("explain-first", "predict-first")
        ]
        results = AuditResults(
            rows=rows,
            paired_differences=[],
            agreement={},
            n_items=3,
            verdict="undecided",
            verdict_reason="too few items",
            **_COST,
            manifest={},
        )
        task = {"name": "task", "items": "x"}
        _write(folder, "audit", {"model": "local:tiny"}, results.model_dump(mode="json"), task=task, model={"name": "local:tiny"})
        write_json_lines(folder / "items.jsonl", [line.model_dump(mode="json") for line in lines])
        return folder

    return build


@pytest.fixture
def confidence_run() -> Callable[..., Path]:
    """confidence_run(folder): eight items stated at .9, six of them right, and two at .6, one of them right."""

    def build(folder: Path) -> Path:
        stated, right = [0.9] * 8 + [0.6] * 2, [True] * 6 + [False] * 2 + [True, False]
        row = ConfidenceRow(
            prompting="vanilla",
            sampling="none",
            aggregate="stated",
            n=10,
            n_failed=0,
            n_replies=10,
            n_replies_failed=0,
            measures={name: value(0.7) for name in MEASURES} | {"auroc": Failure(stage="measure", reason=f"undefined {HOSTILE}")},
            chance={"auroc": 0.5},
            reliability=reliability(stated, right),
        )
        results = ConfidenceResults(rows=[row], deletion=None, replies=[], n_items=10, n_without_gold=0, **_COST, manifest={})
        known = {"task": {"name": "task"}, "model": {"name": "local:tiny"}}
        _write(folder, "confidence", {"model": "local:tiny"}, results.model_dump(mode="json"), **known)
        write_json_lines(folder / "items.jsonl", [])
        return folder

    return build


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    with open_database(f"sqlite:///{tmp_path / 'results.sqlite'}") as database:
        yield database


@pytest.fixture
def client(store: Database) -> TestClient:
    """The pages of `store`, as a browser on this machine asks for them."""
    return TestClient(create_app(store), base_url=PAGES)


@pytest.fixture
def served(store: Database) -> Iterator[str]:
    """Address of a server of the pages of `store`."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(create_app(store), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"{PAGES}:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browse(served: str, chromium: Callable[..., Any]) -> Callable[..., Any]:
    """browse(path, **context): a page of `store` in a real Chromium, on a phone's screen; skipped where there is none."""

    def opened(path: str, **context: Any) -> Any:
        page = chromium(served + path, own=(served + "/", "data:"), **{"viewport": {"width": 390, "height": 844}} | context)
        assert page.answer is not None
        assert page.answer.status == 200, page.inner_text("body")
        return page

    return opened
