"""When a schedule is due: five cron fields on the clock of a time zone.

Fields, names and days as in crontab(5): Sunday is 0 or 7, and where both the day of the month and the day of the week are given, either
will do. When the clock is put forward or back, as in Debian's cron(8): a time that the clock skips is due at once, one that it repeats is
due the first time only; with a `*` in the minute or the hour, whatever the clock shows counts, so that hourly stays hourly.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from apscheduler.triggers.cron import CronTrigger

from analyzers.errors import ExplicateError

_MINUTE = timedelta(minutes=1)
_DAYS_IN = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTHS = MappingProxyType(
    {name: n for n, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)},
)
_WEEKDAYS = MappingProxyType({name: n for n, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])})
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)


@dataclass(frozen=True)
class _Field:
    """One of the five."""

    name: str
    low: int
    high: int
    names: Mapping[str, int]

    def values(self, text: str) -> frozenset[int]:
        """All values that the field's text names; raises ExplicateError that quotes the part that is wrong."""
        return frozenset(value for part in text.split(",") for value in self._part(part, text))

    def _part(self, part: str, text: str) -> range:
        found = _PART.fullmatch(part)
        if found is None:
            raise self._wrong(text, f"{part!r} is not understood")
        if found["step"] is not None and int(found["step"]) == 0:
            raise self._wrong(text, f"{part!r} takes steps of 0")
        step = int(found["step"] or 1)
        if found["first"] is None:
            return range(self.low, self.high + 1, step)
        first = self._value(found["first"], text)
        if found["last"] is not None:
            last = self._value(found["last"], text)
            last = 7 if self.names is _WEEKDAYS and last == 0 < first else last  # fri-sun
        else:
            last = first if found["step"] is None else self.high
        if last < first:
            raise self._wrong(text, f"{part!r} runs backwards")
        return range(first, last + 1, step)

    def _value(self, word: str, text: str) -> int:
        value = int(word) if word.isdigit() else self.names.get(word.lower())
        if value is None or not self.low <= value <= self.high:
            raise self._wrong(text, f"{word!r} is out of range")
        return value

    def _wrong(self, text: str, why: str) -> ExplicateError:
        named = f" or {', '.join(self.names)}" if self.names else ""
        return ExplicateError(
            f"cron: {self.name} {text!r}: {why}; it takes {self.low} to {self.high}{named}, lists 1,2, ranges 1-5, steps */2, and *"
        )


_NONE: Mapping[str, int] = MappingProxyType({})
_FIELDS = (
    _Field("minute", 0, 59, _NONE),
    _Field("hour", 0, 23, _NONE),
    _Field("day of the month", 1, 31, _NONE),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)


class Cron:
    """Five cron fields on the clock of a zone; raises ExplicateError that names the field, or the zone, that is wrong."""

    def __init__(self, cron: str, timezone: str) -> None:
        self.zone = zone_of(timezone)
        texts = cron.split()
        if len(texts) != len(_FIELDS):
            raise ExplicateError(
                f"cron {cron!r} has {len(texts)} fields; give five: {', '.join(field.name for field in _FIELDS)}, as in '0 3 * * *'"
            )
        minutes, hours, days, months, weekdays = (field.values(text) for field, text in zip(_FIELDS, texts, strict=True))
        if not any(day <= _DAYS_IN[month - 1] for day in days for month in months):
            raise ExplicateError(f"cron: day of the month {texts[2]!r} never comes in month {texts[3]!r}; give other days or months")
        self._on_the_clock = texts[0].startswith("*") or texts[1].startswith("*")
        # APScheduler counts days of the week from Monday.
        of_week = frozenset((day - 1) % 7 for day in weekdays)
        limits: list[dict[str, str]] = [{"day": _listed(days, 31), "day_of_week": _listed(of_week, 7)}]
        if not texts[2].startswith("*") and not texts[4].startswith("*"):
            limits = [{"day": _listed(days, 31)}, {"day_of_week": _listed(of_week, 7)}]
        shared = {"minute": _listed(minutes, 60), "hour": _listed(hours, 24), "month": _listed(months, 12), "second": "0"}
        # They see the clock's face only, as though it were UTC, which never is put forward or back.
        self._faces: list[Any] = [CronTrigger(**shared, **limit, timezone=UTC) for limit in limits]

    def after(self, moment: datetime) -> datetime:
        """The first time after a moment (with a zone) at which the schedule is due, in UTC."""
        moment = moment.astimezone(UTC)
        return self._after_on_the_clock(moment) if self._on_the_clock else self._after_once_each(moment)

    def latest(self, since: datetime, until: datetime) -> datetime | None:
        """The last time from `since` to `until`, both included, at which it is due; None where there is none."""
        found, due = None, self.after(since.astimezone(UTC) - timedelta(microseconds=1))
        while due <= until:
            found, due = due, self.after(due)
        return found

    def _after_on_the_clock(self, moment: datetime) -> datetime:
        start = moment.replace(second=0, microsecond=0) + _MINUTE
        while True:
            offset = self._offset(start)
            due = self._face(_face(start + offset)) - offset
            change = self._change(start, due)
            if change is None:
                return due
            start = change

    def _after_once_each(self, moment: datetime) -> datetime:
        face = _face(moment + self._offset(moment)).replace(second=0, microsecond=0)
        while True:
            face = self._face(face + _MINUTE)
            due = self._moment(face)
            # Otherwise the clock was put back, and shows what it showed before.
            if due > moment:
                return due

    def _moment(self, face: datetime) -> datetime:
        """When the clock shows this for the first time, or skips it."""
        local = face.replace(tzinfo=self.zone, fold=0)
        moment = local.astimezone(UTC)
        if _face(moment + self._offset(moment)) == face:
            return moment
        skipped = local.replace(fold=1).utcoffset(), local.utcoffset()
        assert skipped[0] is not None
        assert skipped[1] is not None
        change = self._change(moment - abs(skipped[0] - skipped[1]), moment)
        assert change is not None
        return change

    def _face(self, face: datetime) -> datetime:
        """What the clock shows when it next is due, from `face` on, both as though in UTC."""
        found: list[datetime | None] = [trigger.get_next_fire_time(None, face) for trigger in self._faces]
        return min(each for each in found if each is not None)

    def _offset(self, moment: datetime) -> timedelta:
        offset = moment.astimezone(self.zone).utcoffset()
        assert offset is not None
        return offset

    def _change(self, start: datetime, end: datetime) -> datetime | None:
        """The first moment after `start`, up to `end`, from which on the clock is another number of hours from UTC."""
        before = self._offset(start)
        while start < end:
            later = min(start + timedelta(days=1), end)
            if self._offset(later) != before:
                while later - start > timedelta(seconds=1):
                    middle = start + (later - start) // 2
                    start, later = (middle, later) if self._offset(middle) == before else (start, middle)
                return later.replace(microsecond=0)
            start = later
        return None


@cache  # to know all names takes a walk through the folders of the database, each time
def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name in the IANA database; raises ExplicateError with the nearest name."""
    known = available_timezones()
    if name in known:
        return ZoneInfo(name)
    if not known:
        raise ExplicateError(f"time zone {name!r} cannot be looked up: this system has no time zone database; install the package tzdata")
    by_lower = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known)} | {zone.lower(): zone for zone in sorted(known)}
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), by_lower, n=1)
    meant = f"; did you mean {by_lower[near[0]]!r}?" if near else ""
    raise ExplicateError(f"there is no time zone {name!r}{meant}; give a name of the IANA database, such as Europe/Berlin or UTC")


def _listed(values: frozenset[int], of: int) -> str:
    return "*" if len(values) == of else ",".join(map(str, sorted(values)))


def _face(local: datetime) -> datetime:
    """UTC plus an offset, read as though it were UTC."""
    return local.replace(tzinfo=UTC, fold=0)
