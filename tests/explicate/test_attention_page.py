"""The page of attention: what is packed into it is what was found, no text can break it, and a real browser shows it."""

import base64
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.attention import Role
from analyzers.errors import ExplicateError
from evals.attention import Attention, Flow, HeadRoles, HeadStatistics, RoleScore
from explicate.attention_page import EDGES, FORMS, LONG, STEPS, packed, render
from explicate.written_file import write_file

HOSTILE = "</script><img src=x onerror=alert(1)><!--\u202e\x1b"


def random_weights(shape: tuple[int, int, int], *, causal: bool, seed: int = 0) -> np.ndarray:
    """Random shares [layer, head, query, key], each row over what it sees."""
    layers, heads, n = shape
    drawn = np.random.default_rng(seed).gamma(0.3, size=(layers, heads, n, n)) + 1e-9
    seen = np.tril(drawn) if causal else drawn
    weights: np.ndarray = seen / seen.sum(axis=-1, keepdims=True)
    return weights


def attention_of(
    shape: tuple[int, int, int],
    *,
    causal: bool = True,
    tokens: list[str] | None = None,
    roles: dict[tuple[int, int], Role] | None = None,
    more: bool = True,
    target_tokens: int = 1,
) -> Attention:
    """Random attention; with `more` also norms, rollout, the flow of two queries, and a gradient for a target of so many tokens."""
    layers, heads, n = shape
    weights = random_weights(shape, causal=causal)
    drawn = np.random.default_rng(1)
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    scores: dict[Role, RoleScore] = {
        "previous": RoleScore(value=0.91, low=0.9, high=0.92, n=16, chance=0.05),
        "induction": RoleScore(value=0.81234567, low=0.7, high=0.9, n=16, chance=0.02),
    }
    longer = random_weights((layers, 1, n + target_tokens - 1), causal=causal, seed=2)[:, 0]
    return Attention(
        model_path="folder/tiny model",
        model={"name": "tiny", "dtype": "float32"},
        text="a text",
        causal=causal,
        token_ids=list(range(n)),
        tokens=tokens or [f" t{at}" for at in range(n)],
        spans=[None] * n,
        attention=weights.tolist(),
        norms=(weights * drawn.gamma(2, 3, size=(layers, heads, 1, n))).tolist() if more else None,
        rollout=weights.mean(axis=(0, 1)).tolist() if more else None,
        flow=Flow(queries=[0, n - 1], values=weights[0, 0, [0, n - 1]].tolist()) if more else None,
        gradient=(0.001 * longer).tolist() if more else None,
        target=" answer" if more else None,
        statistics=[
            HeadStatistics(layer=layer, head=head, entropy=layer + head / 10, distance=heads - head, first=0.1, self=0.2, previous=0.3)
            for layer, head in places
        ],
        head_roles=[HeadRoles(layer=layer, head=head, role=(roles or {}).get((layer, head)), scores=scores) for layer, head in places],
        seed=3,
    )


class Read(HTMLParser):
    """The elements of a page, and the data in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.scripts[0])
        return data


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 12), st.booleans(), st.sampled_from([None, 1.0]), st.integers(0, 1000))
def test_values_come_out_of_their_bytes_in_their_places(planes: int, n: int, causal: bool, scale: float | None, seed: int) -> None:
    values = random_weights((planes, 1, n), causal=causal, seed=seed)[:, 0] * (1.0 if scale else 7.0)
    found = packed(values, causal=causal, scales=scale)
    read = iter(base64.b64decode(found["shares"]))
    for plane in range(planes):
        assert found["scales"][plane] == (scale or pytest.approx(values[plane].max(), rel=1e-5))
        for query in range(n):
            for key in range(query + 1 if causal else n):
                assert (
                    abs(next(read) / STEPS * found["scales"][plane] - values[plane, query, key]) <= 0.5001 / STEPS * found["scales"][plane]
                )
    assert next(read, None) is None
    assert (found["size"], found["queries"], found["keys"], found["edges"]) == (n, None, None, 0)


def test_some_queries_only_are_packed_with_their_places() -> None:
    values = random_weights((1, 1, 6), causal=True)[0, 0, [1, 4]]
    found = packed(values[None], causal=True, queries=[1, 4], scales=1.0)
    assert found["queries"] == [1, 4]
    assert list(base64.b64decode(found["shares"])) == [*np.rint(255 * values[0, :2]), *np.rint(255 * values[1, :5])]


def test_nothing_at_all_is_packed_as_zeros() -> None:
    found = packed(np.zeros((1, 3, 3)), causal=False)
    assert base64.b64decode(found["shares"]) == bytes(9)
    assert found["scales"] == [1.0]


@settings(deadline=None, max_examples=10)
@given(st.integers(LONG + 1, LONG + 30), st.booleans(), st.integers(0, 1000))
def test_of_long_texts_the_largest_of_each_query_are_kept(n: int, causal: bool, seed: int) -> None:
    values = random_weights((2, 1, n), causal=causal, seed=seed)[:, 0]
    found = packed(values, causal=causal, scales=1.0)
    shares = np.frombuffer(base64.b64decode(found["shares"]), np.uint8).reshape(2, n, EDGES)
    keys = np.frombuffer(base64.b64decode(found["keys"]), "<u2").reshape(2, n, EDGES)
    assert found["edges"] == EDGES
    for plane in range(2):
        for query in range(n):
            largest = sorted(values[plane, query], reverse=True)[:EDGES]
            assert list(values[plane, query, keys[plane, query]]) == largest
            assert list(shares[plane, query]) == [round(255 * each) for each in largest]
            assert len(set(keys[plane, query])) == EDGES


def test_thirty_layers_of_nine_heads_on_64_tokens_stay_below_two_megabytes() -> None:
    page = render(attention_of((30, 9, 64), roles={(layer, head): "previous" for layer in range(30) for head in range(9)}))
    assert len(page.encode()) < 2_000_000
    assert set(Read(page).data["measures"]) == {"attention", "norms", "rollout", "flow", "gradient"}


def test_the_page_loads_nothing_and_says_what_its_numbers_are_not() -> None:
    page = render(attention_of((2, 2, 5), roles={(0, 1): "previous"}))
    for tag, attributes in Read(page).elements:
        assert tag not in {"link", "img", "iframe", "object"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert "<b>Attention is not an explanation:</b> it says where a head reads, not what that did to the answer (" in page
    assert "explicate attribute --compare" in page
    for said in ("Kobayashi et al. 2020", "Abnar &amp; Zuidema 2020", "Chefer et al. 2021"):
        assert said in page
    assert "Computed for 2 of the 5 queries" in page
    assert "1 of 4 heads have a role" in page
    assert "A long text" not in page


def test_the_page_has_no_folder_of_the_machine() -> None:
    found = attention_of((2, 2, 5))
    found.model_path = "/srv/somebody/models/tiny"
    assert "somebody" not in render(found)


def test_a_share_below_a_percent_is_told_as_such(opened: Callable[..., Any]) -> None:
    found = attention_of((1, 1, 5), more=False)
    found.attention[0][0][4] = [0.005, 0.001, 0.0, 0.01, 0.984]
    tab = opened(found, at="#L0.0")
    tab.focus("#map")
    for key, told in enumerate(["<1%", "<1%", "<1%", "1%", "98%"]):
        tab.keyboard.press("ArrowRight")
        assert tab.inner_text("#read") == f"t4 (4) → t{key} ({key}): {told}"
    titles = tab.evaluate("[...document.getElementById('strip').children].map((each) => each.title)")
    assert [title.rsplit(": ", 1)[1] for title in titles] == ["<1%", "<1%", "<1%", "1%", "98%"]
    tab.locator("#strip span").nth(1).hover()
    assert tab.locator("#strip span").nth(3).get_attribute("title").endswith(": not seen")


def test_what_was_not_asked_for_is_not_there() -> None:
    page = render(attention_of((1, 2, 4), more=False))
    assert set(Read(page).data["measures"]) == {"attention"}
    for absent in ("Kobayashi", "Abnar", "Chefer", 'value="rollout"'):
        assert absent not in page
    found = attention_of((1, 2, 4), more=False)
    found.head_roles = []
    assert "Roles were not measured." in render(found)
    found.roles_failed = "too few tokens <b>"
    assert "Roles were not measured: too few tokens &lt;b&gt;." in render(found)


def test_a_long_text_is_told_with_what_is_left_out() -> None:
    found = attention_of((1, 2, LONG + 2), more=False)
    weights = np.asarray(found.attention)
    kept = np.sort(weights, axis=-1)[..., -EDGES:].sum(axis=-1).mean()
    assert f"They hold {kept:.0%} of the attention on average" in " ".join(render(found).split())


class Strip(HTMLParser):
    """The text as the page shows it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.inside, self.text = False, ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = self.inside or ("id", "strip") in attrs

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "div"

    def handle_data(self, data: str) -> None:
        self.text += data if self.inside else ""


def test_between_the_words_of_an_encoder_stands_what_the_text_has_there() -> None:
    found = attention_of((1, 1, 7), causal=False, more=False, tokens=["[CLS]", "The", "un", "believable", "[MASK]", ".", "[SEP]"])
    found.text, found.spans = "The  unbelievable\n[MASK].", [None, (0, 3), (5, 7), (7, 17), (18, 24), (24, 25), None]
    assert Strip(render(found)).text == "[CLS] The  unbelievable↵[MASK]. [SEP]"
    # Of a decoder every space is in a token.
    found = attention_of((1, 1, 3), more=False, tokens=["<s>", "The", " river"])
    found.text, found.spans = "The river", [None, (0, 3), (3, 9)]
    assert Strip(render(found)).text == "<s>The river"


def test_no_text_can_become_markup() -> None:
    found = attention_of((1, 1, 3), tokens=["a", HOSTILE, "{{ 7 * 7 }}"])
    found.text = found.model_path = found.model["name"] = found.target = HOSTILE
    page = render(found)
    read = Read(page)
    assert not [tag for tag, _ in read.elements if tag == "img"]
    assert len(read.scripts) == 2
    assert read.data["tokens"] == ["a", HOSTILE, "{{ 7 * 7 }}"]
    assert read.data["shown"][1] == "</script><img src=x onerror=alert(1)><!--⟨U+202E⟩␛"
    assert "\u202e" not in page


def test_a_page_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(ExplicateError, match="cannot be written"):
        write_file(attention_of((1, 1, 2)), tmp_path / "missing" / "page.html", FORMS)
    write_file(attention_of((1, 1, 2)), tmp_path / "page.html", FORMS)
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


# In a real browser.


@pytest.fixture
def opened(show: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """opened(found, **context): its page in Chromium, which may ask nobody and say nothing; skipped where there is none."""

    def opened_page(found: Attention, **context: Any) -> Any:
        write_file(found, tmp_path / "page.html", FORMS)
        return show(tmp_path / "page.html", **context)

    return opened_page


def _wait(tab: Any, condition: str) -> None:
    """Until it holds. Not by the driver's own function: the page's policy forbids to make one of a text."""
    for _ in range(500):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(20)
    pytest.fail(f"never came true: {condition}")


def _percent(share: float) -> str:
    """A share as the page, which knows it in 255 steps, writes it."""
    byte = round(255 * share)
    return f"{int(byte / 2.55 + 0.5)}%" if byte > 1 else "<1%"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 1300), ("light", 390)])
def test_every_head_is_drawn_as_it_is(opened: Callable[..., Any], scheme: str, width: int) -> None:
    found = attention_of((3, 2, 7), roles={(1, 1): "induction", (0, 0): "previous"})
    tab = opened(found, color_scheme=scheme, viewport={"width": width, "height": 900})
    assert tab.overflow() <= 0
    _wait(tab, "[...document.querySelectorAll('#grid canvas')].every((each) => each.width === 7)")
    buttons = tab.locator("#grid button")
    assert buttons.count() == 6
    for head in range(6):
        shades = (
            buttons.nth(head)
            .locator("canvas")
            .evaluate("(each) => [...each.getContext('2d').getImageData(0, 0, 7, 7).data].filter((_, at) => at % 4 === 3)")
        )
        expected = 255 * np.sqrt(np.rint(255 * np.asarray(found.attention[head // 2][head % 2])) / 255)
        assert np.abs(np.reshape(shades, (7, 7)) - expected).max() <= 0.5
    # The induction head is what one wants to see first.
    assert tab.inner_text("#name").startswith("Layer 1, head 1")
    assert "0.81 [0.70, 0.90], chance 0.02" in tab.inner_text("#name")
    assert tab.locator("#grid button[aria-pressed=true]").get_attribute("aria-label") == "L1.1, induction"


@pytest.mark.parametrize("causal", [True, False])
def test_cells_are_read_by_keyboard_and_by_mouse(opened: Callable[..., Any], causal: bool) -> None:
    found = attention_of((2, 2, 6), causal=causal)
    tab = opened(found, at="#L1.0")
    assert tab.inner_text("#name").startswith("Layer 1, head 0")
    weights = np.asarray(found.attention)[1, 0]
    # The map is entered at the token that is shaded, which is the last one.
    tab.focus("#map")
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#read") == f"t5 (5) → t0 (0): {_percent(weights[5, 0])}"
    for _ in range(3):
        tab.keyboard.press("ArrowUp")
    for _ in range(2):
        tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#read") == f"t2 (2) → t2 (2): {_percent(weights[2, 2])}"
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#read").endswith(": not seen" if causal else f": {_percent(weights[2, 3])}")
    box = tab.locator("#map").bounding_box()
    side = box["width"]
    tab.locator("#map").hover(position={"x": side - 5, "y": side - 5})
    assert tab.inner_text("#read") == f"t5 (5) → t5 (5): {_percent(weights[5, 5])}"


def _shades(tab: Any) -> list[float]:
    return [
        float(each)
        for each in tab.evaluate("[...document.getElementById('strip').children].map((each) => each.style.getPropertyValue('--a'))")
    ]


def test_the_text_is_shaded_by_what_a_token_attends_to_and_by_what_attends_to_it(opened: Callable[..., Any]) -> None:
    found = attention_of((2, 2, 6))
    tab = opened(found, at="#L0.1")
    bytes_of = np.rint(255 * np.asarray(found.attention)[0, 1])
    assert _shades(tab) == pytest.approx(list(np.sqrt(bytes_of[5] / 255)), abs=0.001)
    tab.locator("#strip span").nth(3).hover()
    assert _shades(tab) == pytest.approx(list(np.sqrt(bytes_of[3] / 255)), abs=0.001)
    largest = int(np.argmax(bytes_of[3]))
    assert f"t3 (3) attends to t{largest} ({largest}) {_percent(bytes_of[3, largest] / 255)}" in tab.inner_text("#read")
    tab.check("input[name=way][value=to]")
    assert _shades(tab) == pytest.approx(list(np.sqrt(bytes_of[:, 3] / 255)), abs=0.001)
    tab.focus("#strip span.at")
    tab.keyboard.press("ArrowLeft")
    assert _shades(tab) == pytest.approx(list(np.sqrt(bytes_of[:, 2] / 255)), abs=0.001)
    tab.check("input[name=way][value=from]")
    tab.check("#sink")
    rest = bytes_of[2].copy()
    rest[0] = 0
    assert _shades(tab) == pytest.approx(list(np.sqrt(rest / bytes_of[:, 1:].max())), abs=0.001)


def test_heads_are_reached_by_arrows_and_found_by_role(opened: Callable[..., Any]) -> None:
    roles: dict[tuple[int, int], Role] = {(0, 1): "previous", (2, 2): "previous", (1, 0): "induction"}
    tab = opened(attention_of((3, 4, 5), roles=roles), at="#L0.0")
    tab.focus("#grid button[aria-pressed=true]")
    assert tab.locator("#grid button[tabindex='0']").count() == 1
    for key, name in (
        ("ArrowDown", "L1.0"),
        ("ArrowRight", "L1.1"),
        ("ArrowDown", "L2.1"),
        ("ArrowDown", "L2.1"),
        ("End", "L2.3"),
        ("Home", "L0.0"),
    ):
        tab.keyboard.press(key)
        assert tab.evaluate("document.activeElement.getAttribute('aria-label')").split(",")[0] == name
        assert tab.evaluate("location.hash") == "#" + name
    assert tab.locator("#roles button").all_inner_texts() == ["all 12", "previous 2", "induction 1"]
    tab.click("#roles [data-role=previous]")
    assert tab.locator("#grid .of span").all_inner_texts() == ["0.1", "2.2"]
    assert tab.inner_text("#name").startswith("Layer 0, head 1")
    tab.click("#roles [data-role='']")
    tab.select_option("#order", "entropy")
    assert tab.locator("#grid .of span").all_inner_texts() == [f"{layer}.{head}" for layer in (2, 1, 0) for head in (3, 2, 1, 0)]
    tab.click("td button[data-layer='1'][data-head='0']")
    assert tab.inner_text("#name").startswith("Layer 1, head 0")
    assert tab.locator("#grid .of span").first.inner_text() == "0.0"
    tab.locator(".grids rect[data-layer='2'][data-head='3']").first.click()
    assert tab.inner_text("#name").startswith("Layer 2, head 3")


def test_the_other_measures_are_drawn_relative_to_their_largest(opened: Callable[..., Any]) -> None:
    found = attention_of((2, 2, 5), target_tokens=3)
    assert found.norms is not None
    assert found.rollout is not None
    assert found.flow is not None
    assert found.gradient is not None
    tab = opened(found, at="#L1.1")
    for name, values in (
        ("norms", np.asarray(found.norms)[1, 1]),
        ("rollout", np.asarray(found.rollout)),
        ("flow", np.asarray(found.flow.values)[[0, 0, 0, 0, 1]] * [[1], [0], [0], [0], [1]]),
        ("gradient", np.asarray(found.gradient)[1]),
    ):
        tab.check(f"input[value={name}]")
        bytes_of = np.rint(255 * values / values.max())
        assert _shades(tab) == pytest.approx(list(np.sqrt(bytes_of[4, :5] / 255)), abs=0.001), name
        assert float(tab.inner_text("#most")) == pytest.approx(values.max(), rel=0.05), name
    # A target of three tokens has two queries more, which are no tokens of the text.
    tab.focus("#map")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown"):
        tab.keyboard.press(key)
    assert tab.inner_text("#read").startswith("(target 2) (6) → t0 (0): ")
    tab.check("input[value=flow]")
    tab.locator("#strip span").nth(2).hover()
    assert "not computed" in tab.inner_text("#read")


def test_what_belongs_to_no_head_stands_under_no_heads_name(opened: Callable[..., Any]) -> None:
    tab = opened(attention_of((2, 2, 5), roles={(1, 1): "previous"}), at="#L1.1")
    pressed = tab.locator("#grid button[aria-pressed=true]")
    for name, title, heads in (
        ("norms", "Layer 1, head 1", 1),
        ("rollout", "All layers and heads together", 0),
        ("flow", "All layers and heads together", 0),
        ("gradient", "Layer 1, all heads", 2),
    ):
        tab.check(f"input[value={name}]")
        told = tab.inner_text("#name")
        assert told.startswith(title) if heads == 1 else told == title, name
        assert ("entropy" in tab.inner_text("#said")) == (heads == 1), name
        assert pressed.count() == heads, name
        assert tab.get_attribute("#map", "aria-label").startswith(title), name
    # A head that is chosen is shown, and what is of its layer stays.
    tab.locator("#grid button").first.click()
    assert tab.inner_text("#name") == "Layer 0, all heads"
    tab.check("input[value=flow]")
    assert tab.inner_text("#read").startswith("t4 (4) most from t")
    tab.locator("#grid button").first.click()
    assert tab.inner_text("#name").startswith("Layer 0, head 0")
    assert tab.is_checked("input[value=attention]")


def test_flow_is_shown_of_a_token_that_it_was_computed_for(opened: Callable[..., Any]) -> None:
    tab = opened(attention_of((1, 1, 5)))
    tab.locator("#strip span").nth(2).hover()
    tab.check("input[value=flow]")
    assert tab.inner_text("#read").startswith("t4 (4) most from t")


def test_pictures_and_data_are_saved(opened: Callable[..., Any], tmp_path: Path) -> None:
    found = attention_of((2, 3, 6), roles={(0, 1): "previous"}, tokens=["<a>&", " b", "c", HOSTILE, "e", "f"])
    tab = opened(found, at="#L1.2")

    def saved(button: str) -> Path:
        with tab.expect_download() as download:
            tab.click(f"#{button}")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    image = saved("png")
    assert image.name == "tiny-L1.2-attention.png"
    assert image.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    root = ET.fromstring(saved("svg").read_text(encoding="utf-8"))
    assert [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")] == ["tiny L1.2-attention"]
    labels = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert labels[::2] == labels[1::2] == ["<a>&", "␣b", "c", "</script><img…", "e", "f"]
    assert not list(root.iter("{http://www.w3.org/2000/svg}img"))
    read = json.loads(saved("json").read_text(encoding="utf-8"))
    assert "steps of 1/255" in read["precision"]
    again = Attention.model_validate(read)
    assert again.model_path == "tiny"
    assert again.tokens == found.tokens
    assert again.flow is not None
    assert again.flow.queries == [0, 5]
    assert np.shape(again.flow.values) == (2, 6)
    for name in ("attention", "norms", "rollout", "gradient"):
        before = np.asarray(getattr(found, name))
        assert np.abs(np.asarray(getattr(again, name)) - before).max() <= 0.51 / 255 * max(
            1.0 if name == "attention" else 0.0, before.max()
        )
    assert [each.role for each in again.head_roles] == [each.role for each in found.head_roles]


def test_hostile_tokens_are_shown_as_text(opened: Callable[..., Any]) -> None:
    found = attention_of((1, 1, 3), tokens=["a", HOSTILE, "c"])
    found.model_path = found.model["name"] = HOSTILE
    tab = opened(found)
    shown = "</script><img src=x onerror=alert(1)><!--⟨U+202E⟩␛"
    assert tab.locator("#strip span").nth(1).text_content() == shown
    tab.locator("#strip span").nth(1).hover()
    assert tab.inner_text("#read").startswith(shown)
    assert tab.inner_text("h1") == f"Where {shown} attends"
    assert tab.locator("img").count() == 0


def test_many_heads_and_long_texts_are_drawn_as_one_comes_to_them(opened: Callable[..., Any]) -> None:
    found = attention_of((40, 2, LONG + 2), more=False)
    tab = opened(found)
    _wait(tab, "document.querySelector('#grid canvas').width === 44")  # three tokens a field
    assert tab.locator("#grid canvas").last.evaluate("(each) => each.width") != 44
    tab.locator("#grid canvas").last.scroll_into_view_if_needed()
    _wait(tab, "[...document.querySelectorAll('#grid canvas')].at(-1).width === 44")
    shades = tab.locator("#grid canvas").last.evaluate(
        "(each) => [...each.getContext('2d').getImageData(0, 0, 44, 44).data].filter((_, at) => at % 4 === 3)"
    )
    weights = np.asarray(found.attention)[-1, -1]
    kept = np.where(weights >= np.sort(weights, axis=1)[:, -EDGES, None], weights, 0)
    fields = np.zeros((132, 132))
    fields[:130, :130] = 255 * np.sqrt(np.rint(255 * kept) / 255)
    expected = fields.reshape(44, 3, 44, 3).max(axis=(1, 3))
    assert np.abs(np.reshape(shades, (44, 44)) - expected).max() <= 0.5
    tab.focus("#map")
    tab.keyboard.press("ArrowRight")
    least = int(np.argmin(weights[-1]))
    for _ in range(least):
        tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#read") == f"t129 (129) → t{least} ({least}): not kept"


def test_without_scripts_there_are_tokens_roles_and_statistics(opened: Callable[..., Any]) -> None:
    tab = opened(attention_of((2, 2, 4), roles={(1, 0): "induction"}), java_script_enabled=False)
    assert tab.locator("#strip span").all_text_contents() == [" t0", " t1", " t2", " t3"]
    assert "No scripts here" in tab.inner_text("body")
    assert tab.locator(".found tbody tr").count() == 1
    assert tab.locator(".grids rect").count() == 8
