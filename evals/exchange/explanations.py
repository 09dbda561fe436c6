"""Which of the texts that stand for explanations are explanations."""

import re
from collections.abc import Sequence

from analyzers.errors import Failed
from evals.exchange.record import Told

NO_EXPLANATION = "the data has no explanation of it"

UNPARSED = re.compile(r"could not be parsed|could not parse|^\W*(?:none|null|nan|n/?a|error|undefined)?\W*$", re.IGNORECASE)
"""What pipelines keep as an explanation where a reply could not be read: it is then scored like one."""
REFUSAL = re.compile(
    r"^[\s*_#>]*(?:i['’]?m (?:sorry|unable)|i (?:cannot|can['’]?t|am unable|apologi[sz]e)|sorry\W+(?:but|i|unable)\b|as an ai\b)",
    re.IGNORECASE,
)
"""How a model refuses; a quotation mark before it makes it a phrase that a site fires on."""


def is_explanation(told: Told) -> bool:
    """Whether it says anything of the site: no failure to parse that was kept as an explanation, and no refusal."""
    return not UNPARSED.search(told.text) and not REFUSAL.search(told.text)


def missing(told: Sequence[Told]) -> Failed | None:
    """Why a site has no explanation; None where it has one."""
    if candidates(told):
        return None
    return Failed("explain", f"what the data has for an explanation is none: {told[0].text[:80]!r}" if told else NO_EXPLANATION)


def candidates(told: Sequence[Told]) -> list[Told]:
    """Those that are explanations, each text once."""
    found: dict[str, Told] = {}
    for one in told:
        if is_explanation(one):
            found.setdefault(one.text, one)
    return list(found.values())
