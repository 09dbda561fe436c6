"""When a schedule is due, against every minute looked at one by one."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.errors import ExplicateError
from evals.schedule.cron import Cron

MINUTE = timedelta(minutes=1)
SPRING = datetime(2026, 3, 28, tzinfo=UTC)  # in Berlin 02:00 becomes 03:00 on the 29th
AUTUMN = datetime(2026, 10, 24, tzinfo=UTC)  # in Berlin 03:00 becomes 02:00 on the 25th
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def values(text: str, low: int, high: int) -> set[int]:
    """Of a field of numbers, lists, ranges, steps and *."""
    found: set[int] = set()
    for part in text.split(","):
        whole, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if whole == "*" else whole).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def shows(text: str, face: datetime) -> bool:
    """Whether a clock that shows this is what the cron asks for."""
    fields = text.split()
    minute, hour, day, month, week = (values(field, *limits) for field, limits in zip(fields, LIMITS, strict=True))
    of_month, of_week = face.day in day, face.isoweekday() % 7 in week
    either = fields[2][0] != "*" and fields[4][0] != "*"
    days = of_month or of_week if either else of_month and of_week
    return face.minute in minute and face.hour in hour and face.month in month and days


def looked_at_one_by_one(text: str, zone: str, start: datetime, days: float) -> list[datetime]:
    """All due moments after `start`, minute by minute, as Debian's cron(8) has it."""
    clock, due = ZoneInfo(zone), []
    starred = any(field.startswith("*") for field in text.split()[:2])
    before = start.astimezone(clock).replace(tzinfo=None, fold=0)
    # What a clock that is put back showed before the first minute looked at.
    seen = {(start - n * MINUTE).astimezone(clock).replace(tzinfo=None, fold=0) for n in range(200)}
    for number in range(1, int(days * 1440) + 1):
        moment = start + number * MINUTE
        face = moment.astimezone(clock).replace(tzinfo=None, fold=0)
        if starred:
            matches = shows(text, face)
        else:
            skipped = [before + n * MINUTE for n in range(1, int((face - before) / MINUTE))]
            matches = any(shows(text, one) for one in [*skipped, face] if one not in seen)
            seen |= {*skipped, face}
        if matches:
            due.append(moment)
        before = face
    return due


def counted(text: str, zone: str, start: datetime, days: float) -> list[datetime]:
    cron, due = Cron(text, zone), [start]
    while due[-1] <= start + timedelta(days=days):
        due.append(cron.after(due[-1]))
    return due[1:-1]


@pytest.mark.parametrize("start", [SPRING, AUTUMN])
@pytest.mark.parametrize(
    "text",
    [
        "30 2 * * *",
        "0 3 * * *",
        "0 * * * *",
        "*/15 2 * * *",
        "10,50 1-3 * * *",
        "30 */2 * * *",
        "0 2,3 * * 0",
        "5 2 25,29 * 1",
        "* * * * *",
    ],
)
def test_the_nights_of_the_change_are_as_cron_has_them(text: str, start: datetime) -> None:
    expected = looked_at_one_by_one(text, "Europe/Berlin", start, 3)
    assert expected
    assert counted(text, "Europe/Berlin", start, 3) == expected


def test_a_nightly_run_happens_once_in_every_night_of_the_year() -> None:
    due = counted("30 2 * * *", "Europe/Berlin", datetime(2025, 12, 31, 22, tzinfo=UTC), 365)
    assert len(due) == len({moment.astimezone(ZoneInfo("Europe/Berlin")).date() for moment in due}) == 365
    assert datetime(2026, 3, 29, 1, 0, tzinfo=UTC) in due  # 03:00, right after what is skipped
    assert datetime(2026, 10, 25, 0, 30, tzinfo=UTC) in due  # the first 02:30


def test_an_hourly_run_happens_every_hour_of_the_year() -> None:
    due = counted("0 * * * *", "Europe/Berlin", datetime(2025, 12, 31, 23, tzinfo=UTC), 365)
    assert len(due) == 365 * 24
    assert {later - sooner for sooner, later in pairwise(due)} == {timedelta(hours=1)}


fields = [
    st.one_of(
        st.just("*"),
        st.integers(2, 9).map(lambda step: f"*/{step}"),
        st.lists(st.integers(low, high), min_size=1, max_size=3).map(lambda found: ",".join(map(str, found))),
        st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda ends: f"{min(ends)}-{max(ends)}"),
    )
    for low, high in LIMITS
]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(fields[0], fields[1], fields[2], st.sampled_from(["*", "3,10"]), fields[4]).map(" ".join),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "America/St_Johns", "Asia/Kolkata"]),
    st.sampled_from(
        [SPRING, AUTUMN, datetime(2026, 10, 3, tzinfo=UTC), datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)]
    ),
    st.integers(0, 1440),
)
def test_any_cron_in_any_zone_is_as_every_minute_looked_at(text: str, zone: str, start: datetime, minutes: int) -> None:
    start += minutes * MINUTE
    assert counted(text, zone, start, 1.5) == looked_at_one_by_one(text, zone, start, 1.5)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0 0 * * 7", "Sun"),
        ("0 0 * * 0", "Sun"),
        ("0 0 * * 1-3", "Mon Tue Wed"),
        ("0 0 * * FRI-sun", "Fri Sat Sun"),
        ("0 0 * * */3", "Sun Wed Sat"),
    ],
)
def test_days_of_the_week_are_those_of_crontab(text: str, days: str) -> None:
    due = counted(text, "UTC", datetime(2026, 5, 2, 1, tzinfo=UTC), 7)
    assert sorted(f"{moment:%a}" for moment in due) == sorted(days.split())


def test_months_have_names_and_a_leap_day_is_waited_for() -> None:
    assert Cron("0 3 29 feb *", "UTC").after(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, 3, tzinfo=UTC)


def test_the_latest_of_several_is_found() -> None:
    cron = Cron("*/10 * * * *", "UTC")
    start = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    assert cron.latest(start, start + 35 * MINUTE) == start + 30 * MINUTE
    assert cron.latest(start, start) == start
    assert cron.latest(start + MINUTE, start + 9 * MINUTE) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 3 * *", ["has 4 fields", "minute, hour, day of the month, month, day of the week"]),
        ("@daily", ["has 1 fields"]),
        ("60 3 * * *", ["minute '60'", "0 to 59"]),
        ("0 24 * * *", ["hour '24'", "0 to 23"]),
        ("0 3 0 * *", ["day of the month '0'", "1 to 31"]),
        ("0 3 * dez *", ["month 'dez'", "jan, feb"]),
        ("0 3 * * 8", ["day of the week '8'", "0 to 7"]),
        ("0 3 * * mon,", ["day of the week 'mon,'", "'' is not understood"]),
        ("*/0 3 * * *", ["minute '*/0'", "steps of 0"]),
        ("0 5-3 * * *", ["hour '5-3'", "runs backwards"]),
        ("-5 3 * * *", ["minute '-5'", "not understood"]),
        ("\u0663 3 * * *", ["minute", "not understood"]),
        ("0 3 30 2 *", ["day of the month '30' never comes in month '2'"]),
    ],
)
def test_a_wrong_cron_is_told_by_its_field(text: str, expected: list[str]) -> None:
    with pytest.raises(ExplicateError) as told:
        Cron(text, "UTC")
    assert [part for part in expected if part not in str(told.value)] == []


@pytest.mark.parametrize(
    ("zone", "meant"), [("Europe/Berln", "Europe/Berlin"), ("berlin", "Europe/Berlin"), ("New York", "America/New_York"), ("utc", "UTC")]
)
def test_an_unknown_zone_is_told_with_the_nearest(zone: str, meant: str) -> None:
    with pytest.raises(ExplicateError, match=f"no time zone {zone!r}; did you mean {meant!r}"):
        Cron("0 3 * * *", zone)


@pytest.mark.parametrize("zone", ["../etc/passwd", "", "/etc/localtime", "qqqqqq"])
def test_a_zone_is_never_looked_for_in_the_file_system(zone: str) -> None:
    with pytest.raises(ExplicateError, match="no time zone"):
        Cron("0 3 * * *", zone)
