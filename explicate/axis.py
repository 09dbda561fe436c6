"""An axis that fits its values, with round numbers on it, for the templates: numbers turned into percentages, no markup."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

TICKS = 5
"""Steps between round numbers, about, at most."""


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, 0 among them, in steps of `step`."""

    low: float
    high: float
    step: float

    @classmethod
    def of(cls, values: Iterable[float], ticks: int = TICKS) -> "Axis":
        """The shortest that holds 0 and all values and ends on round numbers; ticks: steps between them, about, at most."""
        known = [0.0, *values]
        least, most = min(known), max(known)
        span = most - least or 1.0
        size = 10.0 ** floor(log10(span / ticks))
        step = next(each * size for each in (1, 2, 2.5, 5, 10) if span <= ticks * each * size * (1 + 1e-9))
        low, high = floor(least / step + 1e-9), ceil(most / step - 1e-9)
        return cls(low * step, max(high, low + 1) * step, step)

    def place(self, value: float) -> float:
        """Percentage of the axis; what lies beyond it, at its end."""
        return round(100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> list[dict[str, object]]:
        """Where numbers stand, and which."""
        count = round((self.high - self.low) / self.step)
        numbers = [round(self.low + self.step * place, 10) + 0.0 for place in range(count + 1)]
        return [{"at": self.place(number), "text": f"{number:g}"} for number in numbers]
