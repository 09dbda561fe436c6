"""What tokens cost: a dated table, or what the user says."""

import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from analyzers.errors import ExplicateError

_TABLE = Path(__file__).with_name("prices.toml")
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


def undated(model: str) -> str:
    """The family of a dated model: `gpt-5-mini` for `gpt-5-mini-2025-08-07`."""
    return _DATED.sub("", model)


@dataclass(frozen=True)
class Price:
    """USD per million tokens."""

    prompt: float
    completion: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `IN,OUT`, USD per million prompt and completion tokens; raises ExplicateError for anything else."""
        try:
            prompt, completion = (float(part) for part in text.split(","))
        except ValueError:
            prompt = completion = math.nan
        if not (math.isfinite(prompt) and math.isfinite(completion) and min(prompt, completion) >= 0):
            raise ExplicateError(
                f"{text!r} is not a price; write IN,OUT in USD per million prompt and completion tokens: 0.25,2 "
                "(0,0 for a model of your own)"
            )
        return cls(prompt, completion)

    def usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        """USD for so many tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


FREE = Price(0.0, 0.0)


def listed_price(provider: str, model: str) -> Price | None:
    """The price in prices.toml; None where the model is not listed, whose cost is then unknown rather than nothing."""
    models = tomllib.loads(_TABLE.read_text("utf-8")).get(provider, {})
    pair = models.get(model) or models.get(undated(model))
    return None if pair is None else Price(*pair)
