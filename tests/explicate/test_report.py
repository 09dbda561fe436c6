"""The report page: whole, without external requests, safe against what models and corpora say, and honest about its instrument."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.results import (
    Calls,
    Candidate,
    Failure,
    Instrument,
    LeakAudit,
    Lift,
    RunResults,
    Scores,
    SiteResult,
    Tokens,
    Value,
)
from explicate.cli import app
from explicate.report import Artefacts, render, render_run, render_site
from explicate.shading import contrast, shaded

HOSTILE = "</style></title><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&lt; javascript:alert(3)"
VOID = {"meta", "br", "img", "input", "hr", "link", "rect", "line"}
KINDS = ["word-class", "conditional"]


def value(number: float, *, low: float | None = None, high: float | None = None) -> Value:
    return Value(value=number, low=number - 0.1 if low is None else low, high=number + 0.1 if high is None else high, n=448)


def instrument(auroc: Value | Failure, cannot_judge: Sequence[str] = KINDS) -> Instrument:
    return Instrument(simulator="all-at-once(local:x)", auroc=auroc, within=auroc, kinds={}, cannot_judge=list(cannot_judge))


GOOD = instrument(value(0.9))


def site(
    index: int = 0,
    *,
    explanation: str | None = "the word on",
    polarity: Literal["+", "-"] = "+",
    lift: float = 0.2,
    failure: Failure | None = None,
) -> SiteResult:
    """A scored site or, with a failure, one that could not be explained."""
    names = ("pearson", "pearson_null_contrast")
    scores: Scores = {"pearson": failure} if failure else {"pearson": value(0.71), "pearson_null_contrast": value(0.83)}
    told: Scores = {name: value(0.05) for name in names}
    controls: dict[str, Scores] = {"null": {"pearson": value(-0.62)}, "shuffled": told, "token_lookup": {"pearson": value(0.6)}}
    controls |= {"bigram_lookup": {"pearson": value(0.55)}, "lexical": {"pearson": Failure(stage="score", reason="it is constant")}}
    return SiteResult(
        site=f"L7.mlp.{index}",
        polarity=polarity,
        explanation=None if failure else explanation,
        explainer="marked-text(local:x)",
        simulator="all-at-once(local:x)",
        scores=scores,
        by_stratum={} if failure else {"top": {"pearson_null_contrast": value(0.9)}, "random": {"pearson_null_contrast": value(0.2)}},
        controls={} if failure else controls,
        lift=failure or Lift(**value(lift).model_dump(), over="token_lookup", score="pearson_null_contrast"),
        p_value=None if failure else 0.001,
        q_value=None if failure else 0.002,
        firing=0.0055,
        candidates=[]
        if failure
        else [Candidate(explanation=explanation or "", select_score=0.4), Candidate(explanation="b", select_score=0.1)],
        failures=[failure] if failure else [],
    )


def rows(tokens: Sequence[str], document: str = "a document") -> list[dict[str, Any]]:
    """An excerpt of every split, its third token the loudest."""
    activations = [0.0, 0.1, 6.0, *[0.0] * (len(tokens) - 3)]
    return [
        {"split": split, "stratum": stratum, "document": document, "start": start, "tokens": list(tokens), "activations": activations}
        for start, (split, stratum) in enumerate((("explain", "top"), ("test", "top"), ("test", "random"), ("select", "top")))
    ]


def run_of(
    sites: Sequence[SiteResult],
    tokens: Sequence[str] = (" He", " went", " on", " and", " away", "\n"),
    *,
    document: str = "a document",
    tested: Instrument | None = GOOD,
    subject: str = "smollm2-135m",
    void: bool = False,
    leaks: int = 0,
) -> Artefacts:
    """A run as its folder would be read: every test excerpt simulated, the last token of each without a prediction."""
    failed = sum(bool(each.failures) for each in sites)
    results = RunResults(
        sites=list(sites),
        n_scored=len(sites) - failed,
        n_failed=failed,
        void=void,
        calls=Calls(made=12, cached=3),
        tokens=Tokens(prompt=100, completion=10),
        usd=0.0,
        leak_audit=LeakAudit(passed=not leaks, checked=1530, leaks=[{"site": "L7.mlp.0"}] * leaks, largest_overlap=0.1),
        instrument=tested,
        means={"pearson": value(0.7), "pearson_null_contrast": value(0.81), "lift": value(0.2)},
        manifest={
            "config": {"subject": subject, "explainer": "local:x", "simulator": "local:x", "tokens": 20_000, "corpus": document},
            "corpus": {"tokens": 11_811},
            "subject": {"name": subject, "revision": "abc"},
        },
    )
    names = [each.site + ("-" if each.polarity == "-" else "") for each in sites]
    levels = [0.5, 0.4, 7.5, *[0.4] * (len(tokens) - 4), None]
    simulated: dict[tuple[str, str, int], Mapping[str, Sequence[float | None]]] = {
        (name, document, start): {"explanation": levels, "null": [0.4] * len(tokens)}
        for name, each in zip(names, sites, strict=True)
        for start in (1, 2)
        if not each.failures
    }
    return Artefacts(results, {name: rows(tokens, document) for name in names}, simulated)


class Page(HTMLParser):
    """Tags that open and close, attributes, and the text between, by element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, text or "") for name, text in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, text or "") for name, text in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> out of turn"

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("style", "script")).split())

    def with_attribute(self, name: str) -> Iterator[str]:
        return (text for _, found, text in self.attributes if found == name)


GALLERY = {
    "plain": run_of([site(0), site(1, polarity="-")]),
    "one that failed": run_of([site(0), site(1, failure=Failure(stage="explain", reason="the reply names no explanation"))]),
    "void": run_of([site(0, failure=Failure(stage="explain", reason="refused"))], void=True),
    "untested": run_of([site(0)], tested=None),
    "leaking": run_of([site(0)], leaks=2),
    "hostile": run_of([site(0, explanation=HOSTILE)], [HOSTILE, " a", " b", "c", "d"], document=HOSTILE, subject=HOSTILE),
}


@pytest.mark.parametrize("name", GALLERY)
def test_tags_are_balanced_and_identifiers_unique(name: str) -> None:
    page = Page(render(GALLERY[name]))
    assert page.open == []
    identifiers = list(page.with_attribute("id"))
    assert len(identifiers) == len(set(identifiers))
    links = [target.removeprefix("#") for target in page.with_attribute("href")]
    assert set(links) <= set(identifiers)


@pytest.mark.parametrize("name", GALLERY)
def test_nothing_is_requested_and_only_the_pages_own_script_may_run(name: str) -> None:
    text = render(GALLERY[name])
    page = Page(text)
    assert [target for target in page.with_attribute("href") if not target.startswith("#")] == []
    assert list(page.with_attribute("src")) == []
    style = "".join(found for tag, found in page.texts if tag == "style") + "".join(page.with_attribute("style"))
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = (found for found in page.with_attribute("content") if "default-src" in found)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='$", policy)
    assert sum(tag == "script" for tag, _ in page.texts) == 1


def test_what_models_and_corpora_say_is_shown_and_never_obeyed() -> None:
    page = Page(render(GALLERY["hostile"]))
    plain = Page(render(run_of([site(0)], [" He", " went", " on", " and", " away"])))
    assert {(tag, name) for tag, name, _ in page.attributes} <= {(tag, name) for tag, name, _ in plain.attributes}
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    said = [text for tag, text in page.texts if HOSTILE in text]
    # In the title and heading (subject), the table and card, the candidates, the excerpts, their documents, and the manifest.
    assert len(said) >= 10


def test_a_notebook_card_keeps_hostile_text_in_its_frame() -> None:
    for html in (render_site(GALLERY["hostile"], GALLERY["hostile"].results.sites[0]), render_run(GALLERY["hostile"])):
        outer = Page(html)
        assert [tag for tag, _, _ in outer.attributes if tag != "iframe"] == []
        assert ("iframe", "sandbox", "") in outer.attributes  # no permission at all: no script runs
        (inside,) = outer.with_attribute("srcdoc")
        assert Page(inside).open == ["body"]  # HTML lets it end with the text
        assert "<script" not in inside


def test_scores_controls_and_kinds_stand_beside_each_other() -> None:
    page = Page(render(GALLERY["plain"]))
    for shown in ("0.83 [0.73, 0.93]", "0.71 [0.61, 0.81]", "another site's explanation", "token look-up", "+0.20 [+0.10, +0.30]", "0.55%"):
        assert shown in page.text
    assert "none: it is constant" in page.text  # a control that failed says why, and is no number
    # A mark at the score of each site, in the table and in its card, names the kinds.
    marks = [text for text in page.with_attribute("title") if "cannot judge" in text]
    assert len(marks) == 2 * 2
    assert all(kind in mark for kind in KINDS for mark in marks)
    assert page.text.count("✱ cannot judge: word-class, conditional") == 2


def test_the_axis_reaches_down_to_a_score_below_its_usual_end() -> None:
    text = render(run_of([site(0)]))
    assert ">-1<" in text  # the empty explanation scores -0.62
    positions = [float(found) for found in re.findall(r"(?:left|width):([\d.-]+)%", text)]
    assert min(positions) >= 0
    assert max(positions) <= 100


def test_a_failed_site_shows_its_reason_and_no_number() -> None:
    page = Page(render(GALLERY["one that failed"]))
    assert page.text.count("the reply names no explanation") == 2  # in the table and in its card
    assert "1 of 2 scored" in page.text
    card = page.text.split("L7.mlp.1 ")[-1].split("How this was measured")[0]
    assert "0.83" not in card
    assert "[" not in card.split("Activations")[0]


def test_a_void_run_shows_no_means() -> None:
    page = Page(render(GALLERY["void"]))
    assert "This run is void." in page.text
    assert "0.81" not in page.text


def test_a_leak_is_said_at_the_top() -> None:
    page = Page(render(GALLERY["leaking"]))
    assert page.text.index("The leak audit failed.") < page.text.index("L7.mlp.0")


def test_money_that_is_not_known_is_not_shown_as_none() -> None:
    run = run_of([site(0)])
    assert "0.00 USD." in render(run)
    run.results.unpriced = ["openai:my-model"]
    assert "0.00 USD, not counting openai:my-model, whose price is not known." in render(run)


def test_the_page_says_how_much_text_there_was_not_how_much_was_asked_for() -> None:
    page = Page(render(run_of([site(0)])))
    assert "11,811 tokens" in page.text
    assert "20,000 tokens" not in page.text


def test_an_instrument_that_was_not_tested_or_is_at_chance_is_said_at_every_score() -> None:
    untested = Page(render(GALLERY["untested"]))
    assert sum("not tested" in text for text in untested.with_attribute("title")) == 2
    assert "untested" in untested.text
    chance = Page(render(run_of([site(0)], tested=instrument(value(0.55)))))
    assert "no better than chance" in chance.text
    assert "its score is no evidence for the explanation" in chance.text
    assert "no evidence" not in Page(render(GALLERY["plain"])).text


def test_tokens_are_shaded_by_their_share_of_the_largest_and_quiet_ones_are_plain() -> None:
    row = {"document": "d", "start": 3, "tokens": ["a", " b", " c", "\n", " d"], "activations": [0.0, 0.05, 4.0, 2.0, 0.0]}
    shown = shaded(row, [0.0, 0.1, 8.0, 0.0, None], 4.0, 8.0)
    assert shown["peak"] == "4.00"
    assert [(run["text"], run.get("a"), run.get("s")) for run in shown["runs"]] == [
        ("a b", None, None),
        (" c", "1.00", "1.00"),
        ("↵", "0.50", "0.00"),
        (" d", "0.00", "0.00"),
    ]
    assert [run.get("missing") for run in shown["runs"]] == [None, False, False, True]
    assert shown["runs"][2]["title"] == "activation 2, simulated +0.00"
    assert shaded(row, None, 4.0, 0.0)["runs"][1]["title"] == "activation 4, not simulated"


def test_a_site_that_never_fires_is_drawn_without_shading() -> None:
    row = {"document": "d", "start": 0, "tokens": ["a", "b"], "activations": [0.0, 0.0]}
    assert [run["text"] for run in shaded(row, [0.0, 0.0], 0.0, 0.0)["runs"]] == ["ab"]


def test_no_character_of_an_excerpt_is_lost_or_left_invisible() -> None:
    row = {
        "document": "d",
        "start": 0,
        "tokens": ["\x00", "\x1b[31m", " سلام", "👩", "\u200d💻", "\r\n"],
        "activations": [1.0, 0.0, 2.0, 0, 0, 0],
    }
    text = "".join(run["text"] for run in shaded(row, None, 2.0, 0.0)["runs"])
    assert text == "␀␛[31m سلام👩\u200d💻␍↵"


def test_contrast_subtracts_the_null_and_keeps_what_is_missing() -> None:
    assert contrast({"explanation": [1.0, None, 3.0], "null": [0.5, 1.0, None]}) == [0.5, None, None]
    assert contrast({"explanation": [1.0]}) == [1.0]
    assert contrast({"null": [1.0]}) is None


def test_two_hundred_sites_make_a_page_that_a_browser_can_hold() -> None:
    tokens = [f" word{count}" for count in range(32)]
    page = render(run_of([site(index) for index in range(200)], tokens))
    assert page.count("<article") == 200
    assert len(page) < 200 * 20_000
    assert '<details class="legend"><summary>' in page  # folded away, so that the table is near


@pytest.fixture
def folders(call: Callable[..., Result], workplace: Path, tiny_corpus: Path, tiny_checkpoint: Callable[[str], Path]) -> dict[str, Path]:
    """A run of every command that makes one, by the command's name."""
    reply = 'Answer: good\nConfidence: 80%\nWords: thing\nImportance: [["a", 0], ["good", 1], ["thing", 0]]'
    script = {"rules": [{"contains": "good thing", "reply": reply}], "default": "Answer: bad\nConfidence: 60%", "capabilities": ["chat"]}
    (workplace / "script.json").write_text(json.dumps(script), encoding="utf-8")
    rows = [{"text": text, "gold": "good"} for text in ("a good thing", "no good thing", "good thing indeed")]
    (workplace / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (workplace / "mine.toml").write_text('instruction = "What?"\nlabels = ["good", "bad"]\nitems = "items.jsonl"\n', encoding="utf-8")
    asked = ("scripted:script.json", "--task", "mine.toml")
    commands: dict[str, tuple[object, ...]] = {
        "label": (tiny_checkpoint("llama"), "--sites", "L0.mlp.3", "--corpus", tiny_corpus, "--tokens", 9000),
        "audit": (*asked, "--random", 2, "--operators", "delete"),
        "confidence": (*asked, "--prompting", "vanilla", "--sampling", "none", "--no-deletion"),
    }
    commands["label"] += ("--explainer", "template", "--simulator", "lexical")
    for command, arguments in commands.items():
        call(command, *arguments, "--out", command)
    return {command: Path(command) for command in commands}


def test_the_report_of_every_kind_of_run_is_drawn_again_from_its_folder(folders: dict[str, Path], call: Callable[..., Result]) -> None:
    for command, folder in folders.items():
        page, results = folder / "report.html", json.loads((folder / "results.json").read_text(encoding="utf-8"))
        before = page.read_bytes()
        page.unlink()
        shown = call("report", folder).stdout
        assert shown.splitlines()[-1] == f"Report: {command}/report.html"
        assert page.read_bytes() == before
        assert json.loads(call("report", folder, "--json").stdout) == {"report": str(page), **results}
        if command != "label":
            refused = CliRunner().invoke(app, ["report", str(folder), "--leak-audit"])
            assert isinstance(refused.exception, ExplicateError)
            assert f"no labelling run, but one of '{command}'" in str(refused.exception)


def test_what_is_no_run_has_no_report(workplace: Path) -> None:
    (workplace / "pass").mkdir()
    (workplace / "pass" / "manifest.json").write_text('{"command": "sample"}', encoding="utf-8")
    for folder in ("nowhere", "pass"):
        refused = CliRunner().invoke(app, ["report", folder])
        assert isinstance(refused.exception, ExplicateError)
        assert "\n" not in str(refused.exception)
