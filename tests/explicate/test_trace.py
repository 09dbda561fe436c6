"""`explicate trace` as a user gives it, and its page."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from analyzers.errors import ExplicateError
from evals.results import Failure, Value
from evals.tracing.results import Claim, Controls, Cost, Knockout, LeftOut, Lens, NotKnown, Traced, TracedFact
from explicate.heat_map import heat_map, plain_map
from explicate.shaded_words import visible
from explicate.trace_page import SHOWN, render
from explicate.trace_table import show_traced
from explicate.trace_words import CLAIMS, CLASSES, KINDS, LIFTS, headline, verdict

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
HOSTILE = "<script>alert(1)</script>[b]\x1b[2J\u202e"
LAYERS, TOKENS = 12, ["<s>", "Ada", HOSTILE, "Love", "lace", " speaks"]
ROLES = [None, "first_subject", "middle_subject", "last_subject", "next", "last"]
NONE = Failure(stage="score", reason=f"no fact has such a token {HOSTILE}")


def exact(number: float, n: int = 25) -> Value:
    return Value(value=number, low=number - 0.01, high=number + 0.01, n=n)


def row(layer: int, kind: str) -> list[Value | Failure]:
    size = 0.25 if (kind, layer) == ("mlp", 5) else -0.125
    return [exact(0.001), NONE, exact(size), exact(0.002), exact(0.003), exact(0.004)]


def traced(facts: int = 2, **changes: Any) -> Traced:
    curve = [exact(0.02)] * LAYERS
    claim = Claim(
        seen=True,
        peak=Value(value=5, low=4, high=6, n=25),
        within=(3, 8),
        effect=exact(0.25),
        lifts={"random": exact(0.2), "attention": exact(0.1)},
    )
    not_seen = Claim(seen=False, effect=exact(0.3), lifts={"elsewhere": exact(-0.2)})
    one = TracedFact(
        id="1",
        prompt=f"Ada {HOSTILE}",
        subject="Ada",
        target=f" English{HOSTILE}",
        probability=0.75,
        corrupted=0.25,
        tokens=TOKENS,
        classes=ROLES,
        effect={
            kind: [[None, 0.1, -0.2, 0.3 * (layer == 5), 0.0, 0.1] for layer in range(LAYERS)] for kind in ("residual", "mlp", "attention")
        },
    )
    given: dict[str, Any] = {
        "model": {"name": f"m{HOSTILE}", "revision": "7"},
        "source": {"facts.jsonl": "0" * 64},
        "seed": 0,
        "layers": LAYERS,
        "kinds": ["residual", "mlp", "attention"],
        "window": 4,
        "samples": 5,
        "noise": 3.0,
        "sigma": 0.125,
        "known": 25,
        "tried": 60,
        "there": 1000,
        "probability": exact(0.75),
        "corrupted": exact(0.45),
        "total_effect": exact(0.3),
        "token_classes": ["first_subject", "middle_subject", "last_subject", "next", "further", "last"],
        "effect": {kind: [row(layer, kind) for layer in range(LAYERS)] for kind in ("residual", "mlp", "attention")},
        "lens": Lens(probability=curve, rank=[exact(20)] * LAYERS, top=curve, other_probability=curve, other_rank=[exact(2000)] * LAYERS),
        "knockout": Knockout(subject=curve, elsewhere=curve),
        "controls": Controls(
            random={at: dict.fromkeys(("residual", "mlp", "attention"), curve) for at in ("last_subject", "last")},
            elsewhere_total_effect=exact(0.1),
            elsewhere=dict.fromkeys(("residual", "mlp", "attention"), curve),
        ),
        "claims": {"mlp_last_subject": claim, "subject_noise": not_seen},
        "facts": [one] * facts,
        "not_known": [NotKnown(id="2", prompt=HOSTILE, target=" Greek", says=HOSTILE, probability=0.125)],
        "left_out": [LeftOut(id="3", reason=f"too long {HOSTILE}")],
        "cost": Cost(passes=10, texts=1000, tokens=9000, seconds=50.0),
        "notes": [f"a note {HOSTILE}"],
    }
    return Traced(**{**given, **changes})


def test_nothing_from_outside_is_markup() -> None:
    page = render(traced())
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert html.escape(visible(HOSTILE)) in page
    assert "http-equiv" in page
    assert "src=" not in page


def test_cells_are_where_their_layers_and_tokens_are() -> None:
    values = [[exact(0.2), exact(-0.1), NONE, Value(value=0.01, low=-0.01, high=0.03, n=25)]]
    found = heat_map("a map", ["last"], values, 0.2)
    assert [(cell["x"], cell["shade"], cell["against"], cell["sure"]) for cell in found["cells"]] == [
        (0.0, "1.00", False, True),
        (75.0, "0.50", True, True),
        (225.0, "0.05", False, False),
    ]
    assert found["cells"][1]["says"] == "last, layer 1: -0.100 [-0.110, -0.090], 25 facts"
    assert found["missing"] == []
    assert heat_map("none", ["last"], [[NONE]], 0.0)["missing"] == ["last"]


def test_shades_without_numbers_are_paths() -> None:
    found = plain_map("a map", ["one", "other"], [[0.4, None, 0.2], [0.0, -0.4, 0.2]], 0.4)
    assert {(each["shade"], each["against"]): each["path"].count("M") for each in found["shades"]} == {
        ("1.00", False): 1,
        ("0.50", False): 2,
        ("1.00", True): 1,
    }
    assert next(each["path"] for each in found["shades"] if each["against"]).startswith("M100.0 20h100.0v20")


def test_the_page_tells_claims_with_their_controls() -> None:
    page = render(traced(SHOWN + 3))
    assert "Seen: MLPs of middle layers store the fact" in page
    assert "over a change as large in a random direction: 0.200 [0.190, 0.210]" in page
    assert "peak at layer 5 [4, 6], claimed 3 to 8" in page
    assert "Not shown by this." in page
    assert page.count('<details class="own"') == SHOWN
    assert "3 more facts are in the .json form" in page
    assert "No fact has middle subject tokens" in page
    failed = render(traced(knockout=Failure(stage="knockout", reason="bloom cannot"), kinds=["residual"], claims={}))
    assert "Attention was not cut.</b> bloom cannot" in failed
    assert "Noise on the subject takes 0.300 [0.290, 0.310]" in failed


def test_words_of_verdicts() -> None:
    found = traced()
    assert verdict(found.claims["mlp_last_subject"])[0] == "Seen"
    assert verdict(found.claims["subject_noise"])[0] == "Not seen"
    lost = found.claims["subject_noise"].model_copy(update={"lifts": {"elsewhere": NONE}})
    assert verdict(lost)[0] == "Not measured"
    assert headline(found).startswith("Seen: ")


def test_the_table_steers_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    show_traced(traced(), Path("trace.html"))
    shown = capsys.readouterr().out
    for expected in (
        "Seen: MLPs of middle layers",
        "Not seen: noise on the subject",
        "+0.250",
        "Report: trace.html",
        "[b]",
        "2 s and 40 texts a fact",
    ):
        assert expected in shown
    assert "\x1b[2J" not in shown


def test_in_a_browser(show: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "trace.html"
    path.write_text(render(traced(3)), encoding="utf-8")
    for width in (1300, 390):
        page = show(path, viewport={"width": width, "height": 900})
        assert page.overflow() == 0
        own = page.locator("details.own")
        assert [own.nth(number).evaluate("each => each.open") for number in range(3)] == [True, False, False]
        own.nth(1).locator("summary").click()
        assert [own.nth(number).evaluate("each => each.open") for number in range(3)] == [False, True, False]


@pytest.fixture
def arguments(planted_facts: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "140")
    for part in (planted_facts.model, planted_facts.tokenizer):
        part.save_pretrained(workplace / "model")
    rows = [*planted_facts.facts, {**planted_facts.facts[0], "target": " iron"}]
    (workplace / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ["trace", "model", "--facts", "facts.jsonl", "--samples", "1", "--dtype", "float32", "--device", "cpu"]


def test_json_is_one_object_that_is_documented(arguments: list[str], call: Callable[..., Result], tmp_path: Path) -> None:
    told = json.loads(call(*arguments, "--json", "-o", "trace.json").stdout)
    assert told.pop("report") == "trace.json"
    found = Traced.model_validate(told)
    assert Traced.model_validate_json((tmp_path / "trace.json").read_text("utf-8")) == found
    assert (found.known, len(found.not_known)) == (6, 1)
    line = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate trace` |"))
    kinds = (Traced, Lens, Knockout, Controls, TracedFact, NotKnown, LeftOut, Cost, Value)
    assert [key for kind in kinds for key in kind.model_fields if f"`{key}`" not in line] == []
    section = DOCUMENTED.split("### The effects and claims of `explicate trace`")[1].split("\n### ")[0]
    assert [key for key in Claim.model_fields if f"`{key}`" not in section] == []
    assert [name for name in found.token_classes if f"`{name}`" not in section] == []
    for name, claim in found.claims.items():
        (told_of,) = [line for line in section.splitlines() if line.startswith(f"| `{name}` |")]
        assert [lift for lift in claim.lifts if f"`{lift}`" not in told_of] == []


def test_everything_that_is_measured_has_its_words(arguments: list[str], call: Callable[..., Result]) -> None:
    found = Traced.model_validate(json.loads(call(*arguments, "--json").stdout))
    assert set(found.token_classes) == set(CLASSES)
    assert set(found.kinds) == set(KINDS)
    assert set(found.claims) == set(CLAIMS)
    assert {lift for claim in found.claims.values() for lift in claim.lifts} == set(LIFTS)


def test_a_page_and_a_table(arguments: list[str], call: Callable[..., Result], tmp_path: Path) -> None:
    shown = call(*arguments, "--window", "1", "-o", "trace.html").stdout
    assert re.search(r"6 facts traced of 7 asked for and 7 of the file", shown)
    assert "Seen: MLPs of middle layers store the fact at the subject's last token" in shown.replace("\n", " ")
    page = (tmp_path / "trace.html").read_text("utf-8")
    assert "Where model keeps facts" in page
    assert ">nan" not in page


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--kinds", "mlp,heads"], "choose of residual, mlp, attention"),
        (["-o", "trace.pdf"], "name a file that ends with"),
        (["--facts", "none.jsonl"], "cannot be read"),
        (["--least", "9"], "holds 7 facts, and --least asks for 9"),
        (["--noise", "0"], "without noise nothing is forgotten"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(more: list[str], said: str, arguments: list[str], call: Callable[..., Result]) -> None:
    with pytest.raises(ExplicateError, match=said) as error:
        call(*arguments, *more)
    assert "\n" not in str(error.value)
