"""Where in a TOML file something stands, for messages about what is wrong with it."""

import tomllib
from collections.abc import Sequence
from typing import Any


def dotted(place: Sequence[str | int]) -> str:
    """The keys and numbers that lead to a value, in one word."""
    return ".".join(map(str, place))


def at_line(lines: Sequence[str], place: Sequence[str | int]) -> str:
    """The line on which the value begins that the place leads to, or the last thing on the way to it that is there."""
    begins, number = 0, None
    # What is read so far is TOML at every end of a statement: the value that has come with the last one began after the one before.
    deepest = 0
    for end in range(1, len(lines) + 1):
        try:
            found = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        depth = _depth(found, place)
        if depth > deepest:
            deepest, number = depth, begins + 1
        begins = end
    return "" if number is None else f" line {number}"


def _depth(found: Any, place: Sequence[str | int]) -> int:
    """How many steps of the place lead to something."""
    for step, key in enumerate(place):
        there = key in found if isinstance(found, dict) else isinstance(found, list) and isinstance(key, int) and key < len(found)
        if not there:
            return step
        found = found[key]
    return len(place)
