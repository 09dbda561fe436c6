"""Drawings of attention: what stands in the SVG is read back and held against the numbers."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analyzers.attention import Role
from evals.attention import CAUTION, Attention, Flow, HeadRoles, HeadStatistics, RoleScore
from explicate.attention_drawing import BAR, COLOURS, LISTED, ROWS, SHARES, SIDE, draw_overview, pooled, runs

SVG = "{http://www.w3.org/2000/svg}"


def attention_of(weights: np.ndarray, *, tokens: list[str] | None = None, roles: dict[tuple[int, int], Role] | None = None) -> Attention:
    """What was found where only the weights [layer, head, query, key] and roles are of interest."""
    layers, heads, n, _ = weights.shape
    given_roles = roles or {}
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    score = RoleScore(value=0.9, low=0.8, high=0.95, n=16, chance=0.05)
    return Attention(
        model_path="folder/model",
        model={"name": "model"},
        text="text",
        causal=bool(np.all(np.triu(weights, 1) == 0)),
        token_ids=list(range(n)),
        tokens=tokens or [f" t{at}" for at in range(n)],
        spans=[None] * n,
        attention=weights.tolist(),
        statistics=[HeadStatistics(layer=at, head=head, entropy=1, distance=2, first=0.1, self=0.2, previous=0.3) for at, head in places],
        head_roles=[
            HeadRoles(layer=at, head=head, role=role, scores={} if role is None else {role: score})
            for at, head in places
            for role in [given_roles.get((at, head))]
        ],
        seed=0,
    )


def causal_weights(shape: tuple[int, int, int], concentration: float, seed: int = 0) -> np.ndarray:
    """Random shares [layer, head, query, key], each row over what it sees."""
    layers, heads, n = shape
    drawn = np.tril(np.random.default_rng(seed).gamma(concentration, size=(layers, heads, n, n)) + 1e-12)
    weights: np.ndarray = drawn / drawn.sum(axis=-1, keepdims=True)
    return weights


def read_back(group: ET.Element, n: int) -> np.ndarray:
    """[query, key] level of every cell that a head's paths cover; no cell may be covered twice."""
    levels = np.zeros((n, n), dtype=int)
    for path in group.iter(f"{SVG}path"):
        if not path.get("class"):
            continue
        strokes = re.findall(r"M(\d+) (\d+)h(\d+)", path.attrib["d"])
        assert "".join(f"M{x} {y}h{length}" for x, y, length in strokes) == path.attrib["d"]
        for x, y, length in ((int(each) for each in stroke) for stroke in strokes):
            assert not levels[y, x : x + length].any()
            levels[y, x : x + length] = int(path.attrib["class"][1:])
    return levels


@given(arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_runs_cover_every_cell_once_and_are_as_long_as_they_can_be(levels: np.ndarray) -> None:
    painted = np.zeros_like(levels)
    for level, row, column, length in runs(levels):
        assert length > 0
        assert not painted[row, column : column + length].any()
        painted[row, column : column + length] = level
        for beside in (column - 1, column + length):
            assert not 0 <= beside < levels.shape[1] or levels[row, beside] != level
    assert (painted == levels).all()


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 1000))
def test_fields_hold_the_largest_of_their_cells(n: int, fields: int, seed: int) -> None:
    weights = np.random.default_rng(seed).random((2, n, n))
    found = pooled(weights, fields)
    assert found.shape[1] <= fields
    several = -(-n // fields)
    for plane in range(2):
        for row in range(found.shape[1]):
            for column in range(found.shape[2]):
                block = [weights[plane, i, j] for i in range(n) for j in range(n) if i // several == row and j // several == column]
                assert found[plane, row, column] == max(block)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(0, 1000), st.booleans())
def test_the_overview_shows_every_head_as_it_is(n: int, seed: int, causal: bool) -> None:
    weights = causal_weights((2, 3, n), 0.3, seed)
    if not causal:
        weights = weights[..., ::-1, ::-1]
    root = ET.fromstring(draw_overview(attention_of(weights)))
    groups = {group.get("id"): group for group in root.iter(f"{SVG}g") if group.get("id")}
    assert sorted(map(str, groups)) == sorted(f"L{layer}.{head}" for layer in range(2) for head in range(3))
    for layer in range(2):
        for head in range(3):
            shown = read_back(groups[f"L{layer}.{head}"], n)
            for query in range(n):
                for key in range(n):
                    assert shown[query, key] == sum(np.float32(weights[layer, head, query, key]) >= share for share in SHARES)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(0, 3), st.integers(0, 1000), st.booleans(), st.booleans())
def test_norms_and_gradients_are_drawn_relative_to_their_largest(n: int, behind: int, seed: int, causal: bool, norms: bool) -> None:
    drawn = np.random.default_rng(seed)
    found = attention_of(causal_weights((9, 3, n), 0.3, seed) if causal else causal_weights((9, 3, n), 0.3, seed)[..., ::-1, ::-1])
    lengths, slopes = drawn.gamma(0.3, size=(9, 3, n, n)) * 50, drawn.gamma(0.3, size=(9, n + behind, n + behind)) / 1000
    lengths[0, 1] = slopes[2] = 0
    if causal:
        lengths, slopes = np.tril(lengths), np.tril(slopes)
    changes = {"gradient": slopes.tolist(), "target": " <hi>", **({"norms": lengths.tolist()} if norms else {})}
    root = ET.fromstring(draw_overview(found.model_copy(update=changes)))
    groups = {group.get("id"): group for group in root.iter(f"{SVG}g") if group.get("id")}
    planes = {f"gradient.L{layer}": slopes[layer] for layer in range(9)}
    if norms:
        planes |= {f"norms.L{layer}.{head}": lengths[layer, head] for layer in range(9) for head in range(3)}
    attention = {f"L{layer}.{head}" for layer in range(9) for head in range(3)}
    assert set(groups) == {*planes, *attention}
    for name, plane in planes.items():
        expected = sum((plane / plane.max() >= share).astype(int) for share in SHARES) if plane.any() else np.zeros_like(plane)
        shown = read_back(groups[name], len(plane))
        # Numbers are drawn in single precision: at the edge of a shade either is right.
        near = np.min([np.abs(plane - plane.max() * share) for share in SHARES], axis=0) <= 1e-6 * plane.max()
        assert (shown == expected)[~near].all()
    titles = [text.text for text in root.iter(f"{SVG}text") if text.get("font-size") == "16"]
    assert titles == [
        "Attention of each head",
        *(["Value norms: what each head writes"] if norms else []),
        "Attention × gradient of the log-probability of “ <hi>”",
    ]


def test_panels_stand_one_below_the_other_within_the_drawing() -> None:
    weights = causal_weights((9, 3, 5), 1)
    found = attention_of(weights).model_copy(update={"norms": weights.tolist(), "gradient": weights[:, 0].tolist(), "target": "x"})
    root = ET.fromstring(draw_overview(found))
    panels = [each for each in root if each.tag == f"{SVG}g" and each.get("transform")]
    tops = [float(re.findall(r"translate\(0 (\d+)\)", panel.get("transform", ""))[0]) for panel in panels]
    ends = []
    for top, panel in zip(tops, panels, strict=True):
        squares = [group.get("transform", "") for group in panel.iter(f"{SVG}g") if "scale" in group.get("transform", "")]
        corners = [tuple(map(float, re.findall(r"translate\(([\d.]+) ([\d.]+)\)", square)[0])) for square in squares]
        assert len(set(corners)) == len(corners)
        assert max(left for left, _ in corners) + SIDE <= float(root.attrib["width"])
        ends.append(top + max(down for _, down in corners) + SIDE)
    assert len(tops) == 3
    assert all(end < top for end, top in zip(ends, [*tops[1:], float(root.attrib["height"])], strict=True))


def test_roles_are_written_above_their_heads_and_no_others() -> None:
    root = ET.fromstring(draw_overview(attention_of(causal_weights((2, 2, 4), 1), roles={(0, 1): "previous", (1, 0): "induction"})))
    said = {
        str(group.get("id")): [(text.text, text.get("fill")) for text in group.iter(f"{SVG}text") if text.get("class") == "role"]
        for group in root.iter(f"{SVG}g")
        if group.get("id")
    }
    expected = {"L0.0": [], "L0.1": [("previous", COLOURS["previous"])], "L1.0": [("induction", COLOURS["induction"])], "L1.1": []}
    assert said == expected


def texts(element: ET.Element) -> list[str]:
    return [str(text.text) for text in element.iter(f"{SVG}text")]


def test_a_drawing_says_what_attention_is_not_and_has_the_text() -> None:
    root = ET.fromstring(draw_overview(attention_of(causal_weights((1, 1, 4), 1), tokens=["The", " river", " ", "\n"])))
    assert CAUTION in " ".join(texts(root))
    (text,) = (group for group in root.iter(f"{SVG}g") if group.get("class") == "text")
    assert texts(text) == ["0", "The", "1", "river", "2", "␣", "3", "↵"]
    n = LISTED + 3
    long = ET.fromstring(draw_overview(attention_of(causal_weights((1, 1, n), 1))))
    (text,) = (group for group in long.iter(f"{SVG}g") if group.get("class") == "text")
    assert texts(text) == [each for at in range(LISTED) for each in (str(at), f"t{at}")]
    assert "and 3 more tokens" in texts(long)
    assert max(float(each.attrib["x"]) for each in text) < float(long.attrib["width"])


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(0, 1000), st.booleans())
def test_rollout_is_drawn_as_it_is_with_its_tokens(n: int, seed: int, causal: bool) -> None:
    weights = causal_weights((2, 2, n), 0.3, seed) if causal else causal_weights((2, 2, n), 0.3, seed)[..., ::-1, ::-1]
    rollout = weights[0, 0]
    root = ET.fromstring(draw_overview(attention_of(weights).model_copy(update={"rollout": rollout.tolist()})))
    (group,) = (group for group in root.iter(f"{SVG}g") if group.get("id") == "rollout")
    expected = sum((rollout.astype(np.float32) >= share).astype(int) for share in SHARES)
    assert (read_back(group, n) == expected).all()
    assert texts(group) == [f"t{at} {at}" for at in range(n) for _ in range(2)]
    assert ("ends on the first token" in " ".join(texts(root))) == (causal and n > 1 and rollout[-1, 0] > 0.9)


def test_rollout_of_a_long_text_is_drawn_in_fields_with_the_number_of_their_first_token() -> None:
    weights = causal_weights((1, 1, 130), 0.1)
    root = ET.fromstring(draw_overview(attention_of(weights).model_copy(update={"rollout": weights[0, 0].tolist()})))
    (group,) = (group for group in root.iter(f"{SVG}g") if group.get("id") == "rollout")
    assert texts(group)[::2] == [str(3 * at) for at in range(44)]


@given(st.integers(1, ROWS + 9), st.integers(1, 3), st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_flow_has_a_bar_for_every_token_and_query(n: int, queries: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((queries, n))
    flow = Flow(queries=list(range(min(queries, n))), values=values[: min(queries, n)].tolist())
    root = ET.fromstring(draw_overview(attention_of(causal_weights((1, 1, n), 1)).model_copy(update={"flow": flow})))
    most = np.max(flow.values, axis=0)
    kept = sorted(np.argsort(-most, kind="stable")[:ROWS])
    columns = {str(group.get("id")): group for group in root.iter(f"{SVG}g") if str(group.get("id")).startswith("flow.")}
    assert list(columns) == [f"flow.{query}" for query in flow.queries]
    for query, group in zip(flow.queries, columns.values(), strict=True):
        own = np.asarray(flow.values)[query, kept]
        assert texts(group) == [f"from {query} t{query}", *(f"{value:.2f}" for value in own)]
        assert [float(bar.attrib["width"]) for bar in group.iter(f"{SVG}rect")] == pytest.approx(list(BAR * own), rel=1e-3, abs=1e-9)
    assert ("left out" in " ".join(texts(root))) == (n > ROWS)
    assert all(float(bar.attrib["x"]) + BAR < float(root.attrib["width"]) for group in columns.values() for bar in group.iter(f"{SVG}rect"))


@pytest.mark.parametrize("concentration", [0.05, 0.3, 1.0, 10.0])
def test_thirty_layers_of_nine_heads_on_64_tokens_stay_small(concentration: float) -> None:
    drawn = draw_overview(attention_of(causal_weights((30, 9, 64), concentration)))
    assert len(drawn.encode()) < 2_000_000
    assert drawn.count('class="s') > 270


def test_with_all_panels_a_drawing_stays_one_that_can_be_opened() -> None:
    norms, weights = np.tril(np.random.default_rng(0).random((30, 9, 64, 64))), causal_weights((30, 9, 64), 1.0)
    found = attention_of(weights).model_copy(update={"norms": norms.tolist(), "gradient": norms[:, 0].tolist(), "target": "x"})
    assert len(draw_overview(found).encode()) < 8_000_000


def test_long_texts_are_drawn_in_fields_and_the_drawing_says_so() -> None:
    drawn = draw_overview(attention_of(causal_weights((1, 1, 130), 0.1)))
    assert "130 tokens" in drawn
    assert "3 × 3 tokens" in drawn
    assert "× 1 tokens" not in draw_overview(attention_of(causal_weights((1, 1, 64), 0.1)))


def test_any_text_is_drawn_as_text() -> None:
    hostile = [
        "</text><script>alert(1)</script>",
        'a"&<b',
        "\x00\x1b\u202e",
        "\ufffe\ud800",
        "a text of many more characters than there is room",
    ]
    found = attention_of(causal_weights((1, 1, 5), 1), tokens=hostile)
    found.model["name"] = "<b>&\x07"
    drawn = draw_overview(found)
    root = ET.fromstring(drawn.encode())
    assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {"svg", "g", "path", "rect", "text", "title"}
    assert "\u202e" not in drawn
    assert "Where <b>&␇ attends" in [text.text for text in root.iter(f"{SVG}text")]
