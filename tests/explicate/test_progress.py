"""Plain lines of progress for logs: few, whole, and true."""

import re

import pytest

from explicate.progress import EVERY, Lines, bars


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_ten_seconds_and_one_at_the_end_of_each_kind_of_work() -> None:
    told: list[tuple[float, str]] = []
    clock = Clock()
    lines = Lines(lambda line: told.append((clock.now - 100, line)), clock)
    lines.report("loading a model", 0, 0)
    lines.report("loading a model", 0, 0)
    for second in range(251):
        clock.now = 100.0 + second / 10
        lines.report("sample", 1000 + 40 * second, 11_000)
    lines.report("sample", 11_000, 11_000)
    clock.now += 3
    lines.report("explain", 1, 8)
    clock.now += 4
    lines.report("explain", 5, 8)
    lines.end()
    lines.end()
    assert told == [
        (0.0, "loading a model"),
        (10.0, "sample: 5,000/11,000, 400/s, 0:15 left"),
        (20.0, "sample: 9,000/11,000, 400/s, 0:05 left"),
        (25.0, "sample: 11,000/11,000, 400/s, took 0:25"),
        (32.0, "explain: 5/8, 1.0/s, took 0:04"),
    ]


def test_work_that_stops_short_of_its_total_is_told_before_the_next_begins() -> None:
    told: list[str] = []
    clock = Clock()
    lines = Lines(told.append, clock)
    lines.report("reading the corpus", 10, 100)
    clock.now += 4000
    lines.report("reading the corpus", 30, 100)
    clock.now += EVERY / 2
    lines.report("reading the corpus", 50, 100)
    lines.report("sample", 50, 50)
    assert [line.partition(",")[0] for line in told] == ["reading the corpus: 30/100", "reading the corpus: 50/100", "sample: 50/50"]
    assert told[0].endswith("200 s each, 3:53:20 left")
    assert told[1].endswith("took 1:06:45")


def test_the_same_kind_of_work_begun_again_has_a_clock_of_its_own() -> None:
    told: list[str] = []
    clock = Clock()
    lines = Lines(told.append, clock)
    for done in (0, 40, 80):
        lines.report("learn", done, 80)
        clock.now += EVERY
    clock.now += 1000
    for done in (0, 20):
        lines.report("learn", done, 80)
        clock.now += EVERY
    assert told == ["learn: 40/80, 4.0/s, 0:10 left", "learn: 80/80, 4.0/s, took 0:20", "learn: 20/80, 2.0/s, 0:30 left"]


def test_where_stderr_is_no_terminal_there_are_lines_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    with bars() as report:
        report("sample", 1, 2)
        report("sample", 2, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"sample: 2/2, .*/s, took 0:00\n", err)


def test_an_error_is_not_preceded_by_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), bars() as report:  # noqa: PT012
        report("sample", 1, 2)
        raise ValueError("broken")
    assert capsys.readouterr().err == ""


def test_in_a_terminal_there_are_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bars() as report:
        report("sample", 2, 2)
    assert "\x1b[" in capsys.readouterr().err
