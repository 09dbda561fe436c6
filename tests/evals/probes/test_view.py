"""Views of hidden states: planted groups are seen, noise is not, and what is shown had no part in choosing how."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from analyzers.errors import ExplicateError, SubjectError
from evals.probes.view_config import MOST, ViewConfig
from evals.probes.view_measures import Told, chance_of, viewed_layer
from evals.probes.view_points import AROUND, MOST_NUMBERS_AS_LABELS, PER_SENTENCE, Spot, Spots, load_spots
from evals.probes.view_results import Plane, Viewed, ViewedLayer
from evals.results import Failure, Value

Floats = npt.NDArray[np.float64]


def noise(rows: int, width: int, seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((rows, width))


def planted(rows: int, seed: int, *, size: float = 2) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Three labels, each with a mean in a direction of its own."""
    labels = np.random.default_rng(seed).integers(0, 3, rows)
    return noise(rows, 40, seed + 1) + size * noise(3, 40, 99)[labels], labels


def known(value: Value | Failure | None) -> Value:
    assert isinstance(value, Value), value
    return value


def layer_of(size: float) -> tuple[ViewedLayer, npt.NDArray[np.int64]]:
    (shown, labels), (fitted, others) = planted(120, 0, size=size), planted(120, 50, size=size)
    return viewed_layer(3, shown, fitted, Told(range(120), labels=labels, fitted_labels=others), seed=0), labels


def test_planted_labels_are_seen_in_every_view_beside_controls_that_do_not_see_them() -> None:
    found, labels = layer_of(2)
    assert found.layer == 3
    assert list(found.planes) == ["pca", "probe", "neighbours"]
    same = {name: known(plane.figures["same_label"]) for name, plane in found.planes.items()}
    assert all(value.low > 0.9 for value in same.values())
    assert known(found.controls["random_plane"]["same_label"]).high < 0.9
    assert known(found.same_label).low > 0.95
    for plane in found.planes.values():
        assert len(plane.x) == len(plane.y) == 120
        assert known(plane.figures["neighbours_kept"]).n == 120
        assert set(plane.figures) == {"trustworthiness", "neighbours_kept", "neighbours_kept_over_random", "same_label"}
        difference = known(plane.figures["neighbours_kept"]).value - known(found.controls["random_plane"]["neighbours_kept"]).value
        assert known(plane.figures["neighbours_kept_over_random"]).value == pytest.approx(difference)
    # Groups lie apart on the x or the y of the components.
    points = np.array([found.planes["pca"].x, found.planes["pca"].y]).T
    centres = np.array([points[labels == label].mean(axis=0) for label in range(3)])
    inside = max(float(points[labels == label].std()) for label in range(3))
    assert min(float(np.linalg.norm(centres[one] - centres[other])) for one, other in ((0, 1), (0, 2), (1, 2))) > inside
    assert len(found.explained) == 2
    assert 0.1 < sum(found.explained) < 1


def test_in_noise_no_view_sees_labels() -> None:
    shown, fitted = noise(150, 200, 0), noise(150, 200, 1)
    labels, others = (np.random.default_rng(seed).integers(0, 3, 150) for seed in (2, 3))
    found = viewed_layer(0, shown, fitted, Told(range(150), labels=labels, fitted_labels=others), seed=0)
    chance = chance_of(labels)
    for figures in (*(plane.figures for plane in found.planes.values()), *found.controls.values()):
        value = known(figures["same_label"])
        assert value.low - 0.02 < chance < value.high + 0.02


def test_the_probe_is_fitted_to_others_and_none_of_those_shown_moves_it() -> None:
    (shown, labels), (fitted, others) = planted(60, 0), planted(60, 50)
    whole = viewed_layer(0, shown, fitted, Told(range(60), labels=labels, fitted_labels=others), seed=0)
    part = viewed_layer(0, shown[:30], fitted, Told(range(30), labels=labels[:30], fitted_labels=others), seed=0)
    assert part.planes["probe"].x == whole.planes["probe"].x[:30]
    assert part.planes["pca"].x != whole.planes["pca"].x[:30]


def test_places_are_drawn_with_the_longitude_to_the_right() -> None:
    states = noise(260, 20, 0)
    places = states[:, :2] * np.array([20, 60])  # latitude, longitude
    found = viewed_layer(0, states[130:], states[:130], Told(range(130), numbers=places[:130]), seed=0)
    plane = found.planes["probe"]
    assert np.corrcoef(plane.x, places[130:, 1])[0, 1] > 0.95
    assert np.corrcoef(plane.y, places[130:, 0])[0, 1] > 0.95
    assert "same_label" not in plane.figures
    assert found.same_label is None
    assert list(found.controls) == ["random_plane"]


def test_what_has_no_label_has_no_plane_of_a_probe() -> None:
    found = viewed_layer(0, noise(30, 8, 0), np.empty((0, 8)), Told(range(30)), seed=0)
    assert list(found.planes) == ["pca", "neighbours"]


def test_a_view_that_cannot_be_made_says_why_and_the_others_stand() -> None:
    shown, fitted = noise(9, 5, 0), noise(9, 5, 1)
    told = Told(range(9), labels=np.arange(9) % 2, fitted_labels=np.array([0] * 7 + [1] * 2))
    found = viewed_layer(0, shown, fitted, told, seed=0)
    reasons = {name: plane.failure.reason for name, plane in found.planes.items() if plane.failure is not None}
    assert set(reasons) == {"probe", "neighbours"}
    assert "it needs two" in reasons["probe"]
    assert found.planes["probe"] == Plane(failure=Failure(stage="view", reason=reasons["probe"]))
    assert len(found.planes["pca"].x) == 9
    same = viewed_layer(0, np.ones((9, 5)), np.ones((9, 5)), Told(range(9)), seed=0)
    assert all(plane.failure is not None for plane in same.planes.values())


def test_intervals_are_wider_where_points_hang_together() -> None:
    shown = np.repeat(noise(12, 30, 0), 10, axis=0) + 0.3 * noise(120, 30, 1)
    labels = np.random.default_rng(0).integers(0, 3, 120)
    alone, together = (
        viewed_layer(0, shown, shown, Told(units, labels=labels, fitted_labels=labels), seed=0)
        for units in (range(120), np.repeat(range(12), 10).tolist())
    )
    widths = [known(found.planes["pca"].figures["neighbours_kept"]) for found in (alone, together)]
    assert widths[0].value == pytest.approx(widths[1].value)
    assert widths[1].high - widths[1].low > 1.3 * (widths[0].high - widths[0].low)


def test_chance_is_the_share_of_pairs() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    pairs = [labels[one] == labels[other] for one in range(6) for other in range(6) if one != other]
    assert chance_of(labels) == pytest.approx(np.mean(pairs))


# ---- points


def config(**more: object) -> ViewConfig:
    return ViewConfig(**{"model": "m", **more})  # type: ignore[arg-type]


def treebank(folder: Path, sentences: int = 40) -> Path:
    """Sentences of seven words whose forms say which sentence they are of."""
    tags = ["DET", "NOUN", "VERB", "DET", "ADJ", "NOUN", "PUNCT"]
    blocks = []
    for number in range(sentences):
        rows = [
            f"{place}\tw{number}x{place}\t_\t{tag}\t_\t{'Number=Sing' if tag == 'NOUN' else '_'}\t{3 if place != 3 else 0}\tdep\t_\t_"
            for place, tag in enumerate(tags, 1)
        ]
        blocks.append("\n".join(rows))
    path = folder / "bank.conllu"
    path.write_text("\n\n".join(blocks) + "\n\n", encoding="utf-8")
    return path


def test_words_shown_and_words_fitted_to_are_of_different_sentences(tmp_path: Path) -> None:
    found = load_spots(config(conllu=(treebank(tmp_path),), limit=30))
    shown, fitted = ({spot.unit for spot in part} for part in (found.shown, found.fitted))
    assert (len(found.shown), len(found.fitted)) == (30, 30)
    assert not shown & fitted
    assert max(sum(spot.unit == unit for spot in found.shown) for unit in shown) <= PER_SENTENCE
    assert found.labelled == "labels"
    for spot in found.shown:
        word = spot.text[slice(*spot.span)]
        place = int(word.rpartition("x")[2])
        assert spot.label == ["DET", "NOUN", "VERB", "DET", "ADJ", "NOUN", "PUNCT"][place - 1]
    assert load_spots(config(conllu=(tmp_path / "bank.conllu",), limit=30)).shown == found.shown
    assert load_spots(config(conllu=(tmp_path / "bank.conllu",), limit=30, seed=1)).shown != found.shown


def test_a_small_treebank_gives_all_its_words_and_features_are_tasks(tmp_path: Path) -> None:
    path = treebank(tmp_path, sentences=6)
    found = load_spots(config(conllu=(path,), limit=1000))
    assert (len(found.shown), len(found.fitted)) == (21, 21)
    with pytest.raises(ExplicateError, match="all points are labelled 'Sing'"):
        load_spots(config(conllu=(treebank(tmp_path),), task="Number"))


def test_words_that_share_their_characters_are_no_points(tmp_path: Path) -> None:
    """Of `don't` both words would be one state with two labels."""
    block = "1-2\tdon{0}t\t_\t_\t_\t_\t_\t_\t_\t_\n1\tdo\t_\tAUX\t_\t_\t3\taux\t_\t_\n2\tnot\t_\tPART\t_\t_\t3\tadvmod\t_\t_\n"
    block += "3\tgo{0}\t_\tVERB\t_\t_\t0\troot\t_\t_\n4\there{0}\t_\tADV\t_\t_\t3\tadvmod\t_\t_\n"
    path = tmp_path / "bank.conllu"
    path.write_text("".join(block.format(number) + "\n" for number in range(20)), encoding="utf-8")
    found = load_spots(config(conllu=(path,)))
    assert {spot.label for spot in (*found.shown, *found.fitted)} == {"VERB", "ADV"}
    assert (len(found.shown), len(found.fitted), found.left_out) == (20, 20, 40)


def test_texts_are_read_once_with_all_their_spots(tmp_path: Path) -> None:
    found = load_spots(config(conllu=(treebank(tmp_path),), limit=30))
    pieces, numbers = found.pieces()
    every = (*found.shown, *found.fitted)
    assert len({piece.text for piece in pieces}) == len(pieces)
    assert sorted(numbers) == list(range(60))
    spans = [(piece.text, span) for piece in pieces for span in piece.spans]
    assert [(every[number].text, every[number].span) for number in numbers] == spans


def test_what_stands_around_a_word_is_told() -> None:
    text = "before " * 10 + "here" + " after" * 10
    spot = Spot(text, (70, 74), "u")
    assert spot.context == f"…{text[70 - AROUND : 70]}[here]{text[74 : 74 + AROUND]}…"
    assert Spot("here and there", (0, 4), "u").context == "[here] and there"
    assert Spot("here", (0, 4), "u").context == ""


def rows(folder: Path, header: str, lines: list[str]) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_the_rows_of_a_table_have_labels_numbers_or_places(tmp_path: Path) -> None:
    lines = [f"name {number},{'ab'[number % 2]},{number / 2},{number % 90},{-number}" for number in range(40)]
    path = rows(tmp_path, "name,kind,year,lat,lon", lines)
    labels, numbers, places = (
        load_spots(config(csv=path, name="name", label=label, limit=12)) for label in (("kind",), ("year",), ("lat", "lon"))
    )
    assert [found.labelled for found in (labels, numbers, places)] == ["labels", "numbers", "numbers"]
    for found in (labels, numbers, places):
        assert (len(found.shown), len(found.fitted)) == (12, 12)
        assert not {spot.text for spot in found.shown} & {spot.text for spot in found.fitted}
    for spot in labels.shown:
        assert spot.label == "ab"[int(spot.text.split()[1]) % 2]
    for spot in numbers.shown:
        assert spot.numbers == (int(spot.text.split()[1]) / 2,)
    for spot in places.shown:
        assert spot.numbers == (int(spot.text.split()[1]) % 90, -int(spot.text.split()[1]))
    assert (numbers.columns, places.columns) == (("year",), ("lat", "lon"))
    few = rows(tmp_path, "name,year", [f"n{number},{number % MOST_NUMBERS_AS_LABELS}" for number in range(60)])
    assert load_spots(config(csv=few, name="name", label=("year",))).labelled == "labels"


def test_a_table_without_labels_is_shown_without_them(tmp_path: Path) -> None:
    path = rows(tmp_path, "text", [f"a text {number}" for number in range(20)])
    found = load_spots(config(csv=path))
    assert (found.labelled, len(found.shown), found.fitted) == ("nothing", 20, ())


def test_texts_of_ones_own_are_their_words() -> None:
    found = load_spots(config(text=("The river's bank, here.", "A bank lends.")))
    assert sorted(spot.text[slice(*spot.span)] for spot in found.shown) == sorted(
        ["The", "river's", "bank", ",", "here", ".", "A", "bank", "lends", "."]
    )
    assert {spot.label for spot in found.shown} == {"text 1", "text 2"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"conllu": (Path("a"),), "text": ("b",)}, "--conllu and --text"),
        ({"name": "a"}, "give its file by --csv"),
        ({"csv": Path("a"), "label": ("a", "b", "c")}, "LATITUDE,LONGITUDE"),
        ({"csv": Path("a"), "label": ("a", "a")}, "LATITUDE,LONGITUDE"),
        ({"pool": "middle"}, "choose mean, first, last, start"),
        ({"limit": MOST + 1}, "1 to 5,000"),
    ],
)
def test_what_cannot_be_together_is_told(more: dict[str, object], said: str) -> None:
    with pytest.raises(ExplicateError, match=said):
        config(**more).check()


def test_layers_are_those_of_the_model() -> None:
    assert config().layers_of(30) == [15]
    assert config().layers_of(3) == [2]
    assert config(layers="0,2-3").layers_of(3) == [0, 2, 3]
    with pytest.raises(SubjectError, match="0-3"):
        config(layers="4").layers_of(3)
    with pytest.raises(ExplicateError, match="a page holds 12"):
        config(layers="0-12").layers_of(30)


def test_bad_sources_are_told(tmp_path: Path) -> None:
    path = treebank(tmp_path, sentences=6)
    for more, said in (
        ({"text": ("two words",)}, "there are 2 points"),
        ({"conllu": (path,), "task": "Gender"}, "no task is called 'Gender'; choose pos, xpos, deprel.*Number"),
        ({"conllu": (tmp_path / "none.conllu",)}, "there is no file"),
        ({"csv": tmp_path / "none.csv"}, "there is no file"),
        ({"csv": rows(tmp_path, "text,kind", ["a,x"] * 20), "label": ("kinds",)}, "has no field 'kinds'"),
        ({"csv": rows(tmp_path, "text,kind", [f"a{n},x" for n in range(20)]), "label": ("kind",)}, "labelled 'x' by kind"),
    ):
        with pytest.raises(ExplicateError, match=said):
            load_spots(config(**more))


def test_the_sample_that_is_built_in_has_points_enough() -> None:
    found = load_spots(config())
    assert isinstance(found, Spots)
    assert len(found.shown) > 100
    assert len({spot.label for spot in found.shown}) > 8
    assert found.notes


def test_results_can_be_read_again() -> None:
    layer, labels = layer_of(2)
    found = Viewed(
        model={"name": "m"},
        task="pos",
        labelled="labels",
        source={},
        seed=0,
        items={"shown": 120},
        unit="sentences",
        pool="mean",
        neighbours=10,
        chance=chance_of(labels),
        points=[],
        layers=[layer],
    )
    assert Viewed.model_validate_json(found.model_dump_json()) == found
