"""Control labels belong to word types and have the distribution of the task's."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from analyzers.probes.control import by_type, control_labels


def test_a_type_keeps_its_label_and_labels_are_as_common_as_the_task_s() -> None:
    """Words as frequent as in Zipf's law, so that independent draws would give one label to many rows by chance."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 3001)
    types = [f"w{number}" for number in rng.choice(3000, size=20_000, p=share / share.sum())]
    labels = rng.choice(5, size=20_000, p=[0.5, 0.28, 0.2, 0.02, 0.0])
    training = np.arange(10_000)
    drawn = control_labels(types, labels, training, classes=5, seed=1)
    of = dict(zip(types, drawn.tolist(), strict=True))
    assert [of[each] for each in types] == drawn.tolist()
    true, given = (np.bincount(each[training], minlength=5) for each in (labels, drawn))
    assert np.abs(true - given).max() <= 1
    assert not (control_labels(types, labels, training, classes=5, seed=2) == drawn).all()
    new = Counter(of[each] for each in set(types[10_000:]) - set(types[:10_000]))
    assert sum(new.values()) > 300
    expected = true[:4] / true.sum() * sum(new.values())
    assert chisquare([new[label] for label in range(4)], expected).pvalue > 0.001


def test_the_label_of_a_type_is_drawn_from_what_is_common() -> None:
    """Over seeds the only rare type has each label as often as the others leave it."""
    types, labels = ["a"] * 6 + ["b"] * 3 + ["c"], np.array([0] * 6 + [1] * 4)
    found = [control_labels(types, labels, np.arange(10), classes=2, seed=seed) for seed in range(50)]
    assert all(drawn[0] == 0 and drawn[6] == 1 and drawn[9] == 1 for drawn in found)
    even = np.array([0, 1] * 5)
    first = [int(control_labels([str(row) for row in range(10)], even, np.arange(10), classes=2, seed=seed)[0]) for seed in range(200)]
    assert 60 < sum(first) < 140


@given(st.data())
def test_any_types_and_labels_will_do(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 40))
    types = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=rows, max_size=rows))
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)))
    training = np.arange(data.draw(st.integers(1, rows)))
    drawn = control_labels(types, labels, training, classes=4, seed=0)
    assert len(set(zip(types, drawn.tolist(), strict=True))) == len(set(types))
    assert set(drawn.tolist()) <= set(labels[training].tolist())


def test_labels_of_test_rows_do_not_shape_the_distribution() -> None:
    labels = np.array([0] * 50 + [-1] * 50)
    drawn = control_labels([str(number) for number in range(100)], labels, np.arange(50), classes=2, seed=0)
    assert (drawn == 0).all()


@given(rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), min_size=2, max_size=30), data=st.data())
def test_a_look_up_gives_the_commonest_label_of_the_word(rows: list[tuple[str, int]], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(rows) - 1))
    types, labels = [kind for kind, _ in rows], np.array([label for _, label in rows])
    found = by_type(types, labels, np.arange(count))
    for kind, label in zip(types, found.tolist(), strict=True):
        same = [own for other, own in rows[:count] if other == kind] or [own for _, own in rows[:count]]
        assert Counter(same)[label] == max(Counter(same).values())
        assert label == min(own for own in same if Counter(same)[own] == Counter(same)[label])
