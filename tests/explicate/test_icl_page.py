"""The page of `explicate icl`: what is drawn is what was found, no text can break it, and a real browser shows it."""

import json
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.icl.analyses import ANALYSES
from evals.icl.results import Analysis, Curve, IclResults, TaskTold
from evals.results import Failure, Value
from explicate.cli import app
from explicate.icl_page import FORMS, HEIGHT, WIDTH, render
from explicate.icl_sections import SECTIONS
from explicate.icl_table import FEW
from explicate.written_file import write_file

TURNED = "\u202e"
HOSTILE = f"{TURNED}</span><script>alert(1)</script>{{{{ 7 * 7 }}}}\x1b"
GONE = Failure(stage="flow", reason="a layer without saliency")
LABELS = ["world", "sports", "science"]


def value(of: float, spread: float = 0.125) -> Value:
    return Value(value=of, low=of - spread, high=of + spread, n=150)


def found(
    analyses: dict[str, Analysis], *, text: str = "Article: {text}\nAnswer: {label}\n", label: str = "world", items: int = 50
) -> IclResults:
    labels = [label, *LABELS[1:]]
    return IclResults(
        model={"name": "m", "dtype": "float32"},
        task=TaskTold(name="topic", template=text, labels=labels, source="mine.jsonl", digest="ab12"),
        shots=1,
        seeds=3,
        seed=7,
        items=items,
        accuracy=value(0.75),
        largest_class=0.5,
        label_mass=value(0.625),
        chosen=dict(zip(labels, (0.5, 0.25, 0.25), strict=True)),
        analyses=analyses,
    )


def curve(*values: Value | Failure, over: str = "layer", at: list[float] | None = None) -> Curve:
    return Curve(over=over, at=at or [float(place) for place in range(len(values))], values=list(values))


def everything() -> dict[str, Analysis]:
    """Every analysis that there is, with the names of figures that its claims need, and curves, a pair and a failure."""
    analyses = {}
    for name in ANALYSES.all():
        figures: dict[str, Value | Failure] = {claim.figure: value(0.5) for claim in SECTIONS[name].claims}
        analyses[name] = Analysis(
            figures=figures | {f"accuracy/only_of_{name}": GONE},
            curves={"wp": curve(*[value(0.5)] * 30), "accuracy/heads/random": curve(value(0.5), GONE, over="share kept", at=[0.9, 0.5])},
            notes=[f"a note on {name}"],
        )
    pairs = ("world/sports", "world/science", "sports/science")
    measured = {f"{kind}/{pair}": value(at) for kind in ("measured", "predicted") for at, pair in zip((0.5, 0.75, 1.0), pairs, strict=True)}
    analyses["diagnose"].figures |= measured
    return analyses


class Read(HTMLParser):
    """The elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def sections(page: str) -> list[str]:
    return [part.partition("</section>")[0] for part in page.split("<section>")[1:]]


def points(drawn: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in drawn.split())]


def test_every_analysis_has_its_section_with_what_it_does_not_show() -> None:
    page = render(found(everything()))
    parts = sections(page)
    assert list(SECTIONS.keys() ^ set(ANALYSES.all())) == []
    assert len(parts) == len(SECTIONS)
    for name, part in zip(ANALYSES.all(), parts, strict=True):
        for said in (SECTIONS[name].title, SECTIONS[name].silent, f"a note on {name}", *(claim.says for claim in SECTIONS[name].claims)):
            assert said in unescape(part)
        assert SECTIONS[name].claims
        assert SECTIONS[name].silent
    for said in ("How m answers topic", "50 items, each behind 3 draws of 1 demonstration a label", "0.75 [0.62, 0.88]", "Seed 7", "ab12"):
        assert said in page


def test_what_the_sections_speak_of_is_what_the_analyses_find(
    tiny_checkpoint: Callable[[str], Path], workplace: Path, tmp_path: Path
) -> None:
    colours = ("red", "blue", "green")
    items = [json.dumps({"text": f"{colour} thing {number}", "gold": colour}) for number in range(6) for colour in colours]
    (tmp_path / "items.jsonl").write_text("\n".join(items), encoding="utf-8")
    task, out = tmp_path / "colours.toml", tmp_path / "icl.html"
    task.write_text(f'template = "T: {{text}}\\nA: {{label}}\\n"\nlabels = {list(colours)}\nitems = "items.jsonl"\n', encoding="utf-8")
    model = str(tiny_checkpoint("gpt2"))
    more = f"--task {task} --n 6 --seeds 1 --dtype float32 --json --analyses {','.join(SECTIONS)} -o {out}"
    result = CliRunner().invoke(app, ["icl", model, *more.split()], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["analyses"]
    for name, section in SECTIONS.items():
        assert [claim.figure for claim in section.claims if claim.figure not in told[name]["figures"]] == []
        assert [curve for curve in section.charts if curve not in told[name]["curves"]] == []
    page = unescape(out.read_text("utf-8"))
    assert [each for each in told.values() for figure in each["figures"] if f'dir="auto">{figure}</td>' not in page] == []
    assert len(sections(page)) == len(SECTIONS)


@pytest.mark.parametrize(
    ("late", "word"),
    [
        (value(0.75), "Seen"),
        (value(0.625), "Not seen"),  # touches chance
        (value(0.5), "Not seen"),
        (value(0.25), "The opposite is seen"),
        (GONE, "Not measured"),
    ],
)
def test_a_claim_is_seen_where_its_interval_lies_above_its_level(late: Value | Failure, word: str) -> None:
    (part,) = sections(render(found({"flow": Analysis(figures={"auroc_late": late})})))
    (said,) = re.findall(r"<li[^>]*>(.*?)</li>", part)
    assert f">{word}</b>" in said
    assert ("none: a layer without saliency" in said) == isinstance(late, Failure)


@pytest.mark.parametrize(
    ("bias", "random", "word"),
    [
        (value(0.5), value(0.5), "Seen"),
        (value(0.125), value(0.5), "Not seen"),  # the interval touches 0
        (value(0.5), value(-0.5), "Not seen"),
        (GONE, value(0.5), "Not seen"),
        (None, value(0.5), "Not seen"),
    ],
)
def test_a_gain_is_seen_only_above_its_controls(bias: Value | Failure | None, random: Value, word: str) -> None:
    figures: dict[str, Value | Failure] = {f"accuracy/reweighted_minus_{name}": value(0.5) for name in ("vanilla", "more_shots")}
    figures["accuracy/reweighted_minus_random_positions"] = random
    if bias is not None:
        figures["accuracy/reweighted_minus_bias_only"] = bias
    (part,) = sections(render(found({"reweight": Analysis(figures=figures)})))
    said = re.findall(r"<li[^>]*>(.*?)</li>", part)
    gains = [each for each in said if "than leaving them" in each or "than showing the examples" in each]
    assert len(gains) == 2
    assert all(f">{word}</b>" in each for each in gains)


def test_notes_on_what_is_shown_are_told() -> None:
    told = found(everything())
    assert "nearly the same" not in render(told)
    assert "nearly the same as another text: 4" in render(
        told.model_copy(update={"notes": ["left out, nearly the same as another text: 4"]})
    )


@pytest.mark.parametrize(
    ("p", "of", "word"),
    [
        ({"rank_correlation": 0.04}, 0.5, "Seen"),
        ({"rank_correlation": 0.05}, 0.5, "Not seen"),
        ({"rank_correlation": 1 / 6}, 0.5, "Not seen"),
        ({}, 0.5, "Not seen"),
        ({"rank_correlation": 0.04}, 0.0, "Not seen"),
    ],
)
def test_a_correlation_over_few_labels_is_seen_where_chance_would_not_give_it(p: dict[str, float], of: float, word: str) -> None:
    (part,) = sections(render(found({"diagnose": Analysis(figures={"rank_correlation": value(of)}, p_values=p)})))
    (said,) = re.findall(r"<li[^>]*>(.*?)</li>", part)
    assert f">{word}</b>" in said
    assert [f"p = {each:.3g}" in said.partition("<small>")[2] for each in p.values()] == [True] * len(p)


def test_what_every_model_does_is_not_claimed() -> None:
    claimed = {claim.figure for section in SECTIONS.values() for claim in section.claims}
    assert not claimed & {"wp_early_minus_late", "pq_minus_ww_late", "label_loyalty/labels/last_minus_first"}
    assert claimed >= {"wp_early_minus_random", "pq_late_minus_random", "label_loyalty/last_minus_first/labels_minus_random"}


def test_an_analysis_that_could_not_be_made_says_why() -> None:
    gone = Failure(stage="compress", reason="<i>a recurrent state")
    (part,) = sections(render(found({"compress": Analysis(failure=gone)})))
    assert part.count("&lt;i&gt;a recurrent state") == 1 + len(SECTIONS["compress"].claims)
    assert part.count(">Not measured</b>") == len(SECTIONS["compress"].claims)
    assert "Not measured.</b>" in part


def test_lines_and_bands_are_what_was_found_and_break_where_it_failed() -> None:
    # With an axis from 0 to 1: two values, a failure, and one value alone.
    drawn = curve(value(0.125), value(0.375), GONE, value(0.875), over="layer", at=[0, 1, 2, 4])
    (part,) = sections(render(found({"flow": Analysis(curves={"auroc": drawn, "wp": curve(GONE, GONE)})})))
    auroc, wp = (each.split("</figure>")[0] for each in part.split("<figure")[1:])
    lines = [points(each) for each in re.findall(r'<polyline points="([^"]*)"', auroc)]
    expected = [[(0, 0.125), (WIDTH / 4, 0.375)], [(WIDTH, 0.875)]]
    assert lines == [[(x, pytest.approx(HEIGHT * (1 - y), abs=0.06)) for x, y in line] for line in expected]
    bands = [points(each) for each in re.findall(r'<polygon points="([^"]*)"', auroc)]
    expected = [[(0, 0), (WIDTH / 4, 0.25), (WIDTH / 4, 0.5), (0, 0.25)], [(WIDTH, 0.75), (WIDTH, 1)]]
    assert bands == [[(x, pytest.approx(HEIGHT * (1 - y), abs=0.06)) for x, y in band] for band in expected]
    assert re.findall(r'class="level" x1="0" x2="300.0" y1="([\d.]+)"', auroc) == [str(HEIGHT / 2)]
    assert "AUROC: none at 1 of 4: a layer without saliency" in auroc
    assert "<svg" not in wp
    assert "into labels (S_wp): none at 2 of 2: a layer without saliency" in wp


def test_curves_that_belong_together_share_a_drawing_and_what_is_whole_is_a_line() -> None:
    at = [0.9, 0.1]
    names = [f"accuracy/{what}/{which}" for what in ("heads", "tokens") for which in ("important", "random")]
    curves = {name: curve(value(0.75), value(0.25), over="share kept", at=at) for name in names}
    (part,) = sections(render(found({"prune": Analysis(figures={"accuracy/full": value(0.875)}, curves=curves)})))
    figures = part.split("<figure")[1:]
    assert [re.findall("<figcaption>(.*?)<", each) for each in figures] == [["Accuracy, heads"], ["Accuracy, tokens"]]
    for each in figures:
        assert len(re.findall("<polyline", each)) == 2
        assert len(re.findall('<g class="random">', each)) == 1
        # Shares rise to the right, whatever the order that they are given in.
        assert [x for x, _ in points(re.findall(r'<polyline points="([^"]*)"', each)[0])] == [0, WIDTH]
        assert re.findall(r'<line class="level"[^>]* y1="([\d.]+)"', each) == [f"{round(HEIGHT / 8, 1)}"]


def test_figures_of_a_measure_are_bars_on_one_axis_and_differences_by_themselves() -> None:
    figures = {"accuracy/vanilla": value(0.5), "accuracy/more_shots": GONE, "accuracy/reweighted_minus_vanilla": value(-0.25)}
    sized = {"bytes/full": Value(value=2430720, low=2430720, high=2430720, n=8)}
    (part,) = sections(render(found({"reweight": Analysis(figures=figures | sized)})))
    groups = part.split('<div class="card bars wide">')[1:]
    assert [re.findall("<h3>(.*?)<", each) for each in groups] == [["Accuracy"], ["Accuracy, differences"], ["Bytes"]]
    # From 0 to .8 in steps of .2; from -.4 to 0.
    assert 'class="bar" style="left:0.0%;width:62.5%"' in groups[0]
    assert "none: a layer without saliency" in groups[0]
    (left, width, low, error) = map(
        float, re.findall(r'class="bar" style="left:([\d.]+)%;width:([\d.]+)%.*?left:([\d.]+)%;width:([\d.]+)', groups[1])[0]
    )
    assert (left, width, low, error) == pytest.approx((37.5, 62.5, 6.25, 62.5), abs=0.01)
    assert "row against" in groups[1]
    assert "2.431M" in groups[2]


def test_pairs_of_labels_are_points_and_rows() -> None:
    analyses = {"diagnose": everything()["diagnose"]}
    analyses["diagnose"].figures["measured/world/science"] = GONE
    (part,) = sections(render(found(analyses)))
    scatter = part.split("</figure>")[0]
    circles = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', scatter)]
    # Both axes from 0 to 1.5 in steps of .5, for the intervals end at 1.125.
    assert circles == [pytest.approx((WIDTH * at / 1.5, HEIGHT * (1 - at / 1.5)), abs=0.06) for at in (0.5, 1.0)]
    rows = [re.findall("<td[^>]*>(.*?)</td>", row) for row in part.split("Labels told apart")[1].split("</table>")[0].split("<tr>")[2:]]
    assert rows[1] == ["2", "world/science", "none: a layer without saliency", "0.75 [0.62, 0.88]"]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert re.findall(r'<text class="number"[^>]*>(\d)<', scatter) == ["1", "3"]
    only = Analysis(figures={"measured/world/sports": value(0.5), "rank_correlation": GONE})
    (part,) = sections(render(found({"diagnose": only})))
    assert "<svg" not in part
    assert "world/sports" in part


def test_an_analysis_without_words_of_its_own_is_drawn_all_the_same() -> None:
    (part,) = sections(render(found({"my_own": Analysis(figures={"a_thing": value(0.5)}, curves={"a/line": curve(value(0.5))})})))
    for said in ("my own", "a thing", "<polyline", "a_thing"):
        assert said in part


def test_warnings_stand_where_they_are_due() -> None:
    fine = found({})
    few = found({}, items=FEW - 1)
    blind = fine.model_copy(update={"accuracy": value(0.5), "label_mass": value(0.01)})
    failed = fine.model_copy(update={"accuracy": GONE, "label_mass": GONE})
    narrow = fine.model_copy(update={"seeds": 2})
    warnings = ("Few items.", "Not known to answer better", "Hardly answers.", "Few draws of demonstrations.")
    assert [[said in render(each) for said in warnings] for each in (fine, few, blind, failed, narrow)] == [
        [False, False, False, False],
        [True, False, False, False],
        [False, True, True, False],
        [False, False, False, False],
        [False, False, False, True],
    ]
    asked = fine.model_copy(update={"asked": {"world": 30, "sports": 20}, "task": fine.task.model_copy(update={"left_out": 4})})
    text = re.sub("<[^>]*>", "", render(asked))
    assert "Asked about, by true label: world 30, sports 20. Left out, without one true label: 4 texts." in text
    assert "none: a layer without saliency" in render(failed)


def test_the_form_of_a_demonstration_is_shaded_by_what_it_is() -> None:
    for text, expected in (
        ("Q: {text}\nA: {label}\n", [("format", "Q: "), ("text", "{text}"), ("format", "\nA: "), ("label", "{label}"), ("format", "\n")]),
        ("nothing", [("format", "nothing")]),
    ):
        form = render(found({}, text=text)).split('<p class="form')[1].split("</p>")[0]
        assert re.findall(r'<span class="(\w+)">([^<]*)</span>', form) == expected


def test_what_a_text_says_adds_no_tag_and_turns_no_line() -> None:
    def page(text: str) -> str:
        gone = Failure(stage="s", reason=text)
        figures = {f"accuracy/{text}": value(0.5), f"measured/{text}/sports": value(0.5), "auroc_late": gone}
        analysis = Analysis(figures=figures, curves={f"a/{text}": curve(value(0.5), gone, over=text)}, notes=[text])
        made = found({"flow": analysis, text: analysis}, text=text, label=text)
        told = made.task.model_copy(update={"name": text, "source": text})
        return render(made.model_copy(update={"task": told, "model": {"name": text, text: text}, "accuracy": gone}))

    hostile, plain = page(HOSTILE), page("c")
    assert not {TURNED, "\x1b"} & set(hostile)
    assert [tag for tag, _ in Read(hostile).elements] == [tag for tag, _ in Read(plain).elements]
    assert "⟨U+202E⟩&lt;/span&gt;" in hostile
    assert "{{ 7 * 7 }}" in hostile


def test_the_page_loads_nothing() -> None:
    page = render(found(everything()))
    assert page.startswith("<!doctype html>")
    assert "default-src 'none'" in page
    assert not [attributes for _, attributes in Read(page).elements if {"src", "href"} & set(attributes)]
    assert re.findall(r"[\d.]*\b(?:nan|inf)\b", page.partition("</style>")[2]) == []


def test_a_file_that_ends_with_html_is_the_page(tmp_path: Path) -> None:
    write_file(found(everything()), tmp_path / "icl.HTML", FORMS)
    assert (tmp_path / "icl.HTML").read_text("utf-8") == render(found(everything()))


@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it_on_screens_of_any_width(show: Callable[..., Any], tmp_path: Path, width: int) -> None:
    page = tmp_path / "icl.html"
    page.write_text(render(found(everything(), label="a label that is longer than others " + "x" * 60)), encoding="utf-8")
    tab = show(page, viewport={"width": width, "height": 900})
    for details in tab.query_selector_all("details"):
        details.query_selector("summary").click()
    assert tab.overflow() <= 0
    boxes = [each.bounding_box() for each in tab.locator("svg").all()]
    assert len(boxes) >= 2 * len(SECTIONS)
    assert all(box["height"] > 60 for box in boxes)
