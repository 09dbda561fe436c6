"""`explicate attribute` as a user gives it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analyzers.errors import ExplicateError
from evals.attribute import Attributed, AttributedBy, Interaction, Listed
from evals.continuation import Continuation, ContinuationBy, ControlBy, Curves, Instead
from evals.continuation_compare import Compared, Comparison, Control
from explicate.attribution_page import ARCS, BARS, render
from explicate.cli import app


@pytest.fixture
def arguments(tiny_llm: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    text = "the [red]food\x1b[2J was :cold:"
    return ["attribute", str(tiny_llm), text, "--labels", "good,[b]bad", "--budget", "20", "--unit", "spaced"]


def call(arguments: list[str], *more: str) -> Result:
    result = CliRunner().invoke(app, [*arguments, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_the_table_has_every_unit_and_method_and_no_control_signs(arguments: list[str]) -> None:
    shown = call(arguments, "--method", "occlusion,lime").stdout
    for expected in ("chooses among: good", "occlusion", "lime", "[red]food", ":cold:", "[b]bad", "different texts", "log-probabilities"):
        assert expected in shown
    assert "± is the standard error" in " ".join(shown.split())
    assert "tokens computed" in " ".join(shown.split())
    assert "shapley" not in shown
    assert "\x1b[2J" not in shown


def test_json_is_one_object(arguments: list[str]) -> None:
    told = json.loads(call(arguments, "--json").stdout)
    assert "report" not in told
    found = Attributed.model_validate(told)
    assert set(found.methods) == {"occlusion", "shapley"}
    assert all(len(by.values) == len(found.units) for by in found.methods.values())
    assert found.methods["occlusion"].errors is None
    # Four units have sixteen sets, which fit twenty.
    assert found.methods["shapley"].errors is None
    assert found.methods["shapley"].sets == 16
    sampled = Attributed.model_validate(json.loads(call(arguments, "--json", "--method", "lime").stdout))
    assert len(sampled.methods["lime"].errors or ()) == len(found.units)
    line = documented()
    assert all(
        f"`{key}`" in line
        for key in (*Attributed.model_fields, *AttributedBy.model_fields, *Interaction.model_fields, *Listed.model_fields, *found.model)
    )


def test_a_choice_that_follows_the_order_of_the_labels_is_told(arguments: list[str], workplace: Path) -> None:
    """In the table, on the page and in both JSON forms."""
    rules = [{"contains": "Answer with one of: good, bad", "reply": "Answer: good\nConfidence: 90%"}]
    script = {"rules": rules, "default": "Answer: bad\nConfidence: 80%", "capabilities": ["chat"]}
    (workplace / "script.json").write_text(json.dumps(script), encoding="utf-8")
    asked = ["attribute", f"scripted:{workplace / 'script.json'}", "the food was", "--method", "occlusion", "--labels"]
    said = "listed as good, bad, the model chooses good (0.90); as bad, good, it chooses bad (0.80)"
    told = json.loads(call(asked, "good,bad", "--json", "-o", "page.html").stdout)
    assert told["order_decides"]
    assert said in told["notes"][0]
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.split("Not shown by this.")[0].count(said) == 1
    shown = " ".join(call(asked, "good,bad", "-o", "all.json").stdout.split())
    assert said in shown
    # It is told once.
    assert "With the labels listed in another order" not in shown
    assert "With the labels listed in another order, as bad, good: good 0.20, bad 0.80." in page
    assert said in Attributed.model_validate_json(Path("all.json").read_text(encoding="utf-8")).notes[0]
    steady = " ".join(call(asked, "bad,fine").stdout.split())
    assert "decides" not in steady
    assert "as fine, bad: bad 0.80, fine 0.20." in steady


def test_interactions_are_shown_below_the_table(arguments: list[str]) -> None:
    shown = call(arguments, "--interactions", "--method", "occlusion").stdout
    pairs = [line for line in shown.splitlines() if line.startswith("together ")]
    assert 0 < len(pairs) <= 5
    assert any("[red]food" in line for line in pairs)
    assert "\x1b[2J" not in shown


def test_a_model_that_only_states_its_confidence(arguments: list[str], workplace: Path) -> None:
    rules = [{"contains": "Text: the was", "reply": "Answer: good\nConfidence: 60%"}]
    script = {"rules": rules, "default": "Answer: good\nConfidence: 90%", "capabilities": ["chat"]}
    (workplace / "script.json").write_text(json.dumps(script), encoding="utf-8")
    asked = ["attribute", f"scripted:{workplace / 'script.json'}", "the food was", "--labels", "good,bad", "--method", "occlusion"]
    found = Attributed.model_validate(json.loads(call(asked, "--json").stdout))
    assert found.methods["occlusion"].values == pytest.approx([0, 0.3, 0])
    assert (found.belief, found.value, found.label_mass) == ("stated", "probability", None)
    assert found.prompt_tokens > 0
    shown = call(asked).stdout
    assert "(by stated confidence)" in shown
    assert "probability of good" in " ".join(shown.split())
    # What was asked once is in the reply cache, and occlusion samples nothing.
    assert " ".join(shown.split()).endswith("; all answers are from the cache.")
    assert "tokens computed" not in shown
    assert "±" not in shown


def test_demonstrations_of_a_task(arguments: list[str]) -> None:
    task = Path("shown.toml")
    Path("items.jsonl").write_text('{"text": "Cold soup."}\n', encoding="utf-8")
    task.write_text(
        'instruction = "Good or bad?"\nlabels = ["good", "bad"]\nitems = "items.jsonl"\n'
        'demonstrations = [{text = "Warm bread.", answer = "good"}, {text = "Stale bread.", answer = "bad"}]\n',
        encoding="utf-8",
    )
    asked = ["attribute", arguments[1], "Fresh bread.", "--task", str(task), "--unit", "demonstration", "--method", "occlusion", "--json"]
    found = Attributed.model_validate(json.loads(call(asked).stdout))
    assert found.units == ["Warm bread. (good)", "Stale bread. (bad)"]
    assert found.texts_evaluated == 3


def test_a_wrong_name_is_told_before_a_model_is_loaded(arguments: list[str]) -> None:
    missing = ["attribute", "no-such-model", *arguments[2:]]
    for more, named in (
        (["--method", "attention"], "kernel-shap, lime"),
        (["--operator", "swap"], "delete, mask"),
        (["--method", ","], "no method"),
        (["--unit", "letter"], "sentence, spaced, span, word"),
        (["--labels", "good"], "at least two different"),
        (["--labels", "good, Good"], "at least two different"),
        (["--task", "sentimnt"], "did you mean 'sentiment'"),
        (["--unit", "demonstration"], "demonstrations of a --task"),
        (["--label", "best"], "none of the labels good, [b]bad"),
        (["--dtype", "float12"], "auto, float32, bfloat16, float16, mixed"),
        (["--device", "tpu"], "auto, cpu, cuda or mps"),
        (["--device", "cuda:99"], "'cuda:99' is not there"),
    ):
        refused = CliRunner().invoke(app, [*missing, *more])
        assert isinstance(refused.exception, ExplicateError)
        assert named in str(refused.exception)


TURNED = "\u202e"
HOSTILE = f"{TURNED}</span><script>alert(1)</script>\x1b"


def attributed(units: list[str], values: list[float], *, errors: list[float] | None = None, text: str | None = None) -> Attributed:
    """What a method found, and of every two units the product of their values."""
    pairs = [Interaction(units=(a, b), value=values[a] * values[b]) for a in range(len(units)) for b in range(a + 1, len(units))]
    return Attributed(
        model={"provider": "local", "model": "m"},
        prompt="abc",
        seed=0,
        text=" ".join(units) if text is None else text,
        units=units,
        label="good",
        belief="logprobs",
        value="log-odds",
        probabilities={"bad": 0.25, "good": 0.75},
        label_mass=0.03,
        other_orders=[Listed(labels=["good", "bad"], label="good", probabilities={"good": 0.5625, "bad": 0.4375})],
        order_decides=False,
        notes=[],
        operator="delete",
        methods={"shapley": AttributedBy(values=values, errors=errors, sets=9)},
        interactions=sorted(pairs, key=lambda pair: -abs(pair.value)),
        sets_asked=1234,
        texts_evaluated=1000,
        prompt_tokens=77,
    )


def test_the_page_has_the_text_the_bars_and_the_pairs(arguments: list[str], workplace: Path) -> None:
    shown = call(arguments, "--method", "occlusion,lime", "--interactions", "--out", "page.html").stdout
    assert shown.splitlines()[-1] == "Report: page.html"
    page = Path("page.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=", page)
    for expected in (
        "<h3>occlusion, ",
        "<h3>lime, ",
        "The choice",
        "Not shown by this.",
        "label mass",
        "[red]food␛[2J",
        "What two units do only together",
    ):
        assert expected in page
    assert "\x1b" not in page
    # Standard errors stand only where texts were sampled.
    occlusion, lime = page.split("<h3>occlusion")[1].split("<h3>lime")
    assert "±" not in occlusion
    assert "±" in lime.split("How this was measured")[0]
    told = json.loads(call(arguments, "--method", "occlusion", "--json", "--out", "page.html").stdout)
    assert told["report"] == "page.html"
    assert told["units"]
    assert "only together" not in Path("page.html").read_text(encoding="utf-8")


def test_words_are_shaded_where_they_stand_in_the_text() -> None:
    found = attributed(["Cold", "cold", "lovely"], [-0.5, 0.0, 1.0], errors=[0.1, 0.0, 0.2], text="Cold , cold\nand lovely!")
    page = render(found)
    reading = page.split('<p dir="auto">')[1].split("</p>")[0]
    assert re.sub(r"<[^>]*>", "", reading) == "Cold , cold\nand lovely!"
    assert re.findall(r'--f:(\S+);--g:(\S+)" title="([^"]*)">(\w+)<', reading) == [
        ("0.00", "0.50", "-0.500 ± 0.100", "Cold"),
        ("1.00", "0.00", "+1.000 ± 0.200", "lovely"),
    ]
    assert "it was about to write something else" in page
    assert "1,000 different texts evaluated for 1,234 asked" in page
    # The likeliest label first, the one that is attributed in bold.
    assert page.index("<b>good</b>") < page.index(">bad<")
    # The bar of a unit reaches from 0 to its value, its error one to either side: the axis is from -1 to 1.5.
    bars = re.findall(r'class="bar" style="left:([\d.]+)%;width:([\d.]+)%', page.split("Units by method")[1])
    low, zero, width = -1.0, 40.0, 2.5
    assert [float(left) for left, _ in bars] == pytest.approx([100 * (-0.5 - low) / width, zero, zero])
    assert [float(size) for _, size in bars] == pytest.approx([20, 0, 40])
    errors = re.findall(r'class="error" style="left:([\d.]+)%;width:([\d.]+)%', page)
    assert [float(part) for error in errors for part in error] == pytest.approx([16, 8, 72, 16])


def test_units_that_are_not_of_the_text_stand_on_lines_of_their_own() -> None:
    page = render(attributed(["Warm bread. (good)", "Stale bread. (bad)"], [1.0, -1.0], text="Fresh bread."))
    reading = page.split('<p dir="auto">')[1].split("</p>")[0]
    assert re.sub(r"<[^>]*>", "", reading) == "Warm bread. (good)\nStale bread. (bad)"


def test_what_a_text_says_adds_no_tag_and_turns_no_line() -> None:
    values = [1.0, -0.5, 0.25]
    hostile, plain = (render(attributed(["a", unit, "b"], values)) for unit in (HOSTILE, "c"))
    assert not {TURNED, "\x1b"} & set(hostile)
    assert re.findall(r"<[a-z]+", hostile) == re.findall(r"<[a-z]+", plain)
    assert "⟨U+202E⟩&lt;/span&gt;" in hostile


def test_of_many_units_the_largest_are_drawn_and_the_page_says_so() -> None:
    units = [f"word{number}" for number in range(60)]
    page = render(attributed(units, [(-1) ** number * (number + 1) / 60 for number in range(60)]))
    assert f"The {BARS} largest of 60 units" in page
    drawn = page.split("Units by method")[1].split("only together")[0]
    assert re.findall(r'class="name" title="(word\d+)"', drawn) == units[-BARS:]
    assert page.count("<path ") == ARCS
    nothing = render(attributed(["a", "b"], [0.0, 0.0]))
    assert re.findall(r"[\d.]*\b(?:nan|inf)\b", nothing.partition("</style>")[2]) == []


@pytest.mark.parametrize(
    ("path", "said"), [("page", "ends with .html, .json"), (".html", "ends with"), ("nowhere/page.html", "there is no folder")]
)
def test_a_page_that_cannot_be_is_told_before_a_model_is_loaded(arguments: list[str], path: str, said: str) -> None:
    refused = CliRunner().invoke(app, ["attribute", "no-such-model", *arguments[2:], "--out", path])
    assert isinstance(refused.exception, ExplicateError)
    assert said in str(refused.exception)


# A continuation in place of labels.


@pytest.fixture
def continued(tiny_checkpoint: Callable[[str], Path], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    text = "the [red]river\x1b[2J was :cold:"
    return ["attribute", str(tiny_checkpoint("llama")), text, "--unit", "spaced", "--budget", "20", "--dtype", "float32"]


TARGETED = ["--target", " and", "--method", "occlusion,shapley,gradient-x-input,attention"]


def test_a_continuation_has_a_table_of_every_unit_and_method(continued: list[str]) -> None:
    shown = call(continued, *TARGETED, "--compare").stdout
    for expected in (
        "' and'",
        "occlusion",
        "shapley",
        "gradient-x-",
        "attention",
        "[red]river",
        ":cold:",
        "deletion",
        "random",
        "later-first",
        "rarer-first",
        "best",
    ):
        assert expected in shown
    told = " ".join(shown.split())
    assert "different prompts read, units taken away by operator delete" in told
    assert "Rank agreement with occlusion and shapley; deletion" in told
    assert "the model would write" in told
    assert "One prompt says little" in told
    # Four words have fewer sets than the budget.
    assert "shapley is exact, over all sets of the units." in told
    assert "±" not in told
    assert "…" not in shown
    assert "Values without a sign (attention) are held against the sizes of those of occlusion and shapley" in told
    assert "\x1b[2J" not in shown
    alone = call(continued, "--target", " and", "--method", "gradient-norm", "--chat").stdout
    assert "Rank agreement" not in alone
    assert "later-first" not in alone
    # Those of the chat template.
    assert re.search(r"Tokens in no unit .* left out: \d+\.", " ".join(alone.split()))


def test_only_values_with_a_sign_are_printed_with_one(continued: list[str]) -> None:
    """By column: sizes have none, and what may be against the continuation has."""
    signs = {"occlusion": True, "attention-x-gradient": True, "gradient-norm": False, "value-norm": False, "attention": False}
    for method, signed in signs.items():
        shown = call(continued, "--target", " and", "--method", method, "-o", "page.html").stdout
        rows = [line for line in shown.splitlines() if line.strip().startswith(":cold:")]
        assert [bool(re.match(r"\s*:cold:\s+[+-]\d", row)) for row in rows] == [signed], method
        assert [bool(re.match(r"\s*:cold:\s+\d", row)) for row in rows] == [not signed], method
        titles = re.findall(r'--g:\S+" title="([^"]*)"', Path("page.html").read_text(encoding="utf-8"))
        assert titles
        assert all((title[0] in "+-") == signed for title in titles), method


def test_number_formats_are_those_that_can_be_loaded() -> None:
    from analyzers import loading
    from explicate.commands.attribute import DTYPES, MIXED

    assert ("auto", *loading.DTYPES) == DTYPES
    assert MIXED == loading.MIXED


def test_a_target_that_the_model_would_hardly_write_is_told(continued: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for bound, expected in ((1.0, True), (0.0, False)):
        monkeypatch.setattr("evals.continuation.UNLIKELY", bound or 1e-300)
        shown = call(continued, "--target", " and", "--method", "occlusion", "-o", "page.html").stdout
        assert ("would hardly write this target" in " ".join(shown.split())) == expected
        assert ("would hardly write this target" in Path("page.html").read_text(encoding="utf-8")) == expected


def test_integrated_gradients_that_did_not_converge_are_told(continued: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = "analyzers.saliency.integrated_gradients"
    asked = [*continued, "--target", " and", "--method", "occlusion,integrated-gradients", "--chat"]
    told = " ".join(call(asked).stdout.split())
    assert "its values miss" not in told
    for name, value in {"LEAST": 1, "MOST": 1, "WRONG": 1e9}.items():
        monkeypatch.setattr(f"{place}.{name}", value)
    told = " ".join(call(asked).stdout.split())
    assert re.search(r"integrated-gradients: its values miss .* \(baseline \S+, gap \S+, relative gap \S+, steps 1\b", told)
    monkeypatch.setattr(f"{place}.WRONG", 0.0)
    told = " ".join(call(asked).stdout.split())
    assert "integrated-gradients: integrated gradients did not converge" in told
    assert "Rank agreement" not in told


def test_a_continuation_as_one_object_that_is_documented(continued: list[str]) -> None:
    told = json.loads(call(continued, *TARGETED, "--compare", "--json", "--out", "page.html").stdout)
    assert told.pop("report") == "page.html"
    found = Continuation.model_validate(told)
    assert set(found.methods) == {"occlusion", "shapley", "gradient-x-input", "attention"}
    for name, by in found.methods.items():
        assert isinstance(by, ContinuationBy)
        assert len(by.values) == len(found.units) == 4
        assert len(by.deletion or ()) == len(by.insertion or ()) == 5
        assert set(by.agreement) == {"occlusion", "shapley"} - {name}
    assert found.units[1] == "[red]river\x1b[2J"
    line = documented()
    fields = (
        *Continuation.model_fields,
        *Instead.model_fields,
        *ContinuationBy.model_fields,
        *Curves.model_fields,
        *Comparison.model_fields,
        *Compared.model_fields,
        *Control.model_fields,
        *ControlBy.model_fields,
    )
    assert set(found.controls) == {"later-first", "earlier-first", "longer-first", "rarer-first"}
    assert found.controls["longer-first"].values == [len(unit) for unit in found.units]
    assert [key for key in fields if f"`{key}`" not in line] == []
    assert re.findall(r"(src|href)=", Path("page.html").read_text(encoding="utf-8")) == []
    assert Continuation.model_validate(json.loads(call(continued, "--target", " and", "--json").stdout)).methods.keys() == {
        "occlusion",
        "shapley",
    }


def documented() -> str:
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    return next(line for line in text.splitlines() if line.startswith("| `explicate attribute` |"))


def test_methods_are_compared_over_many_prompts(continued: list[str]) -> None:
    prompts = ["the river rises in the hills", "three years by boat", "a bridge of stone"]
    Path("mine.jsonl").write_text("\n".join(json.dumps({"prompt": each, "target": " and"}) for each in prompts), encoding="utf-8")
    asked = [*continued[:2], "--prompts", "mine.jsonl", "--method", "occlusion,gradient-x-input", "--dtype", "float32"]
    shown = " ".join(call(asked).stdout.split())
    for expected in (
        "3 prompts of mine.jsonl",
        "agrees with",
        "q: of deletion",
        "later-first",
        "Less that of the best control",
        "Controls read no model: later-first (the last unit first), earlier-first",
        "gradient-x-",
        "95% intervals",
        "Few prompts (3)",
        "Too few prompts to tell which method to trust.",
        "What counts: deletion, insertion, and agreement",
    ):
        assert expected in shown
    assert "to be trusted" not in shown
    found = Comparison.model_validate(json.loads(call(asked, "--json").stdout))
    assert [each.text for each in found.prompts] == prompts
    assert {name: each.n for name, each in found.comparison.items()} == {"occlusion": 3, "gradient-x-input": 3}
    shown = call(asked, "--out", "many.html").stdout
    assert shown.splitlines()[-1] == "Report: many.html"
    page = Path("many.html").read_text(encoding="utf-8")
    assert "Agreement with occlusion" in page
    assert all(each in page for each in ("rises", "three", "stone"))
    assert page.count('<td><span class="dim">too few</span></td>') == 2
    call(asked, "-o", "many.json")
    assert Comparison.model_validate_json(Path("many.json").read_text(encoding="utf-8")) == found


def test_what_does_not_go_with_a_continuation_is_told_before_a_model_is_loaded(continued: list[str]) -> None:
    missing, text = ["attribute", "no-such-model"], continued[2]
    for more, named in (
        ([text, "--target", " x", "--labels", "a,b"], "--labels is for asking a model to choose among labels"),
        ([text, "--target", " x", "--max-usd", "0"], "--max-usd is for asking"),
        ([text, "--target", " x", "--interactions"], "--interactions is for asking"),
        ([text, "--target", " x", "--method", "saliency"], "gradient-x-input"),
        ([text, "--target", " x", "--operator", "swap"], "delete, mask"),
        ([text, "--target", " x", "--method", "attention", "--compare"], "name one of them in --method"),
        ([text, "--target", " x", "--out", "nowhere/page.html"], "there is no folder"),
        ([text, "--prompts", "facts"], "exclude each other"),
        (["--prompts", "facts", "--target", " x"], "exclude each other"),
        (["--prompts", "nowhere.jsonl"], "no such file"),
        (["--prompts", "nowhere.jsonl", "--method", "saliency"], "no such file"),
        ([text, "--target", " x", "--dtype", "mixed"], "auto, float32, bfloat16, float16"),
        (["--prompts", "facts", "--device", "tpu"], "auto, cpu, cuda or mps"),
        ([text, "--target", " x", "--device", "cuda:99"], "'cuda:99' is not there"),
        (["--target", " x"], "give the text, too"),
        ([text, "--compare"], "give --target or --prompts"),
        ([text, "--chat", "--labels", "a,b"], "give --target or --prompts"),
        ([text, "--labels", "a,b", "--method", "gradient-norm"], "kernel-shap, lime"),
        ([text, "--labels", "a,b", "--unit", "token"], "sentence, spaced, span, word"),
        (["--labels", "a,b"], "give the text whose words"),
    ):
        refused = CliRunner().invoke(app, [*missing, *more])
        assert isinstance(refused.exception, ExplicateError), more
        assert named in str(refused.exception)
    remote = CliRunner().invoke(app, ["attribute", "openai:gpt-5-mini", text, "--target", " x"])
    assert "over a network" in str(remote.exception)
