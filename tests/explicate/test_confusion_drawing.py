"""The drawing of confusions: counts in their cells, rare labels as one, nothing of a label's text as markup."""

import xml.etree.ElementTree as ET

import pytest

from explicate.confusion_drawing import MOST, OTHERS, draw_confusion

SPACE = "{http://www.w3.org/2000/svg}"


def titles(drawn: str) -> list[str]:
    root = ET.fromstring(drawn)
    return [each.text or "" for each in root.iter() if each.tag.removeprefix(SPACE) == "title"]


def test_cells_tell_their_counts() -> None:
    told = titles(draw_confusion(["N", "V"], [[3, 1], [0, 2]]))
    assert told == ["N: 3 of 4 right", "N taken for V: 1 of 4", "V: 2 of 2 right"]


def test_the_rarest_labels_are_drawn_as_one() -> None:
    count = MOST + 5
    names = [f"l{number}" for number in range(count)]
    table = [[int(row == column) + int(column == count - 1) for column in range(count)] for row in range(count)]
    drawn = draw_confusion(names, table)
    told = titles(drawn)
    assert drawn.count(f">{OTHERS}</text>") == 2
    assert f"{OTHERS}: 12 of 12 right" in told
    assert f"l0 taken for {OTHERS}: 1 of 2" in told
    assert f">l{MOST - 1}</text>" not in drawn


@pytest.mark.parametrize("name", ["<script>", '"&\x1b[2J', "\u202eback", "a" * 50])
def test_labels_are_text(name: str) -> None:
    drawn = draw_confusion([name, "b"], [[1, 1], [0, 0]])
    ET.fromstring(drawn)
    assert "<script" not in drawn
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn
    assert ">none</text>" in drawn
