"""The page of `explicate probe tree`: arcs join the right words, what is wrong is marked, and no text can break it."""

import re
from xml.etree import ElementTree

import pytest

from evals.probes.results import Baseline, Layer, Lift
from evals.probes.tree_results import AtRank, DrawnTree, TreeProbed
from evals.results import Failure, Value
from explicate.tree_arcs import LONGEST, draw_tree
from explicate.tree_page import FORMS, render, show_tree

HOSTILE = '</svg><script>alert("x")</script>'
SVG = "{http://www.w3.org/2000/svg}"


def tree(**changes: object) -> DrawnTree:
    fields: dict[str, object] = {
        "id": "s1",
        "why": "best",
        "words": ["The", "keys", "to", "it", "lie", "here", "."],
        "punctuation": [False] * 6 + [True],
        "gold": [(0, 1), (1, 4), (1, 3), (2, 3), (4, 5)],
        "predicted": [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)],
        "root": 4,
        "predicted_root": 1,
    }
    return DrawnTree.model_validate(fields | changes)


def drawn(of: DrawnTree) -> ElementTree.Element:
    return ElementTree.fromstring(draw_tree(of))


def arcs(svg: ElementTree.Element) -> dict[str, list[str]]:
    """Titles by class, in order."""
    found: dict[str, list[str]] = {}
    for path in svg.iter("path"):
        found.setdefault(path.attrib["class"], []).append(path.findtext("title") or "")
    return found


def test_true_and_wrong_edges_are_marked() -> None:
    assert arcs(drawn(tree())) == {
        "found": ["The – keys: found", "to – it: found", "lie – here: found"],
        "missed": ["keys – it: missed", "keys – lie: missed"],
        "right": ["The – keys: right", "to – it: right", "lie – here: right"],
        "wrong": ["keys – to: wrong", "it – lie: wrong"],
        "root": ["root of the tree", "predicted root, wrong"],
    }
    assert arcs(drawn(tree(predicted_root=4)))["root"] == ["root of the tree", "predicted root"]


def test_arcs_join_their_words_on_their_side() -> None:
    svg = drawn(tree())
    x = {element.text: float(element.attrib["x"]) for element in svg.iter("text")}
    assert list(x) == tree().words
    assert sorted(x.values()) == list(x.values())
    y = {float(element.attrib["y"]) for element in svg.iter("text")}
    assert len(y) == 1
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    for path in svg.iter("path"):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.attrib["d"])]
        if path.attrib["class"] == "root":
            continue
        one, other = (path.findtext("title") or "").partition(":")[0].split(" – ")
        assert numbers[0] == pytest.approx(x[one], abs=3.1)
        assert numbers[-2] == pytest.approx(x[other], abs=3.1)
        above = path.attrib["class"] in ("found", "missed")
        assert (numbers[1] < min(y)) is above
        assert (numbers[3] < numbers[1]) is above
        # Three quarters of the way to its control points is as far as a curve gets.
        assert 0 <= numbers[1] + 0.75 * (numbers[3] - numbers[1]) <= height
    assert all(0 < place < width for place in x.values())


def test_text_cannot_break_it_and_long_words_are_cut() -> None:
    words = [HOSTILE, "keys", "\x1b[2J\u202e", "it", "lie", "w" * 99, "."]
    svg = drawn(tree(words=words))
    assert svg.tag == "svg"
    assert len(list(svg.iter("script"))) == 0
    shown = [element.text or "" for element in svg.iter("text")]
    assert len(shown) == 7
    assert max(map(len, shown)) == LONGEST
    assert not {"\x1b", "\u202e"} & set("".join(svg.itertext()))


def results(**changes: object) -> TreeProbed:
    def at(value: float) -> dict[str, Value | Failure]:
        whole = Value(value=value, low=value - 0.1, high=value + 0.1, n=50)
        return {"uuas": whole, "dspr": whole, "root": Failure(stage="score", reason=f"none {HOSTILE}")}

    fields: dict[str, object] = {
        "model": {"name": f"m{HOSTILE}"},
        "task": "syntax trees",
        "source": {HOSTILE: "ab"},
        "seed": 0,
        "items": {"train": 9, "test": 5},
        "unit": "sentences",
        "pool": "mean",
        "main": "uuas",
        "best": 1,
        "layers": [Layer.of(layer, at(0.2 + 0.1 * layer)) for layer in (0, 1)],
        "baselines": {"chance": Baseline.of(at(0.15)), "linear_chain": Baseline.of(at(0.25))},
        "lifts": {"chance": Lift(value=0.1, low=0.05, high=0.15, n=50, p=0.001), "linear_chain": Failure(stage="score", reason="none")},
        "rank": 8,
        "ranks": [AtRank(rank=rank, metrics=at(0.1 * place + 0.1)) for place, rank in enumerate((1, 3, 8))],
        "trees": [tree(), tree(why="drawn", id="s2", words=[HOSTILE, *tree().words[1:]])],
        "notes": [HOSTILE],
    }
    return TreeProbed.model_validate(fields | changes)


def test_the_page_shows_trees_and_ranks_and_is_safe() -> None:
    page = render(results())
    assert "<script" not in page
    assert page.count('<svg class="tree"') == 2
    assert "The sentence with the largest share of its edges found: 3 of 5 edges, not its root" in page
    assert "A sentence drawn by seed" in page
    for rank in (1, 3, 8):
        assert f"<title>UUAS, rank {rank}: " in page
        assert re.search(rf'<text x="[\d.]+" y="[\d.]+" text-anchor="middle">{rank}</text>', page)


def test_a_page_without_ranks_and_trees() -> None:
    page = render(results(ranks=[], trees=[]))
    assert 'class="tree"' not in page
    assert "ranks at layer" not in page


def test_a_rank_without_a_figure_is_left_out_of_its_line() -> None:
    found = results()
    found.ranks[1].metrics["uuas"] = Failure(stage="score", reason="gone")
    page = render(found)
    assert "UUAS, rank 3" not in page
    assert "UUAS, rank 8" in page
    assert "gone" in page


def test_json_is_all_of_it() -> None:
    found = results()
    assert TreeProbed.model_validate_json(FORMS[".json"](found)) == found


def test_the_table_tells_ranks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    show_tree(results(), None)
    shown = capsys.readouterr().out
    assert "Ranks at layer 1" in shown
    assert "0.300 [0.200, 0.400]" in shown
    assert re.search(r"\b3 +│? *0\.200", shown)
    show_tree(results(ranks=[]), None)
    assert "Ranks" not in capsys.readouterr().out
