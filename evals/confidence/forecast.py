"""What a measurement is about to ask, at most."""

from collections.abc import Sequence
from dataclasses import replace

from agents.budget import Forecast
from agents.confidences import PROMPTINGS
from agents.llm import Request
from agents.samplings import SAMPLINGS
from analyzers.errors import Failed
from evals.calls import Calls
from evals.confidence.work import Measured, Work


def forecast(measured: Measured, works: Sequence[Work], calls: Calls) -> tuple[str, Forecast]:
    """One line for the user before anything is asked, and what it says; questions that are not paraphrased yet are as long as the question
    itself."""
    config = measured.config
    requests: dict[str, Request] = {}

    def add(*more: Request) -> None:
        requests.update({each.model_dump_json(): each for each in more})

    for name in config.sampling:
        add(*SAMPLINGS.get(name).preparation(measured.llm, measured.asking, config.samples, config.seed))
    plain = measured.asking
    stand_ins = {
        name: [
            replace(plain, instruction=f"{plain.instruction} {number}") if name == "paraphrase" and number else plain
            for number in range(measured.replies(name))
        ]
        for name in config.sampling
    }
    for work in works:
        asked = measured.asked(work, stand_ins)
        for prompting, sampling in config.ways:
            wanted = asked[sampling]
            if not isinstance(wanted, Failed):
                add(*PROMPTINGS.get(prompting).requests(measured.llm, wanted))
    stating = len(requests)
    if config.deletion:
        for work in works:
            add(*measured.deleting.forecast(measured.units(work), work.item.number))
    total = calls.budget.forecast(measured.llm.name, requests.values())
    money = "a price that is not known" if total.usd is None else f"{total.usd:.2f} USD"
    deleting = f" and {len(requests) - stating:,} about texts without some of their words" if config.deletion else ""
    line = (
        f"{len(works)} items, {stating:,} questions for answers and confidences{deleting}: at most {total.calls:,} calls, "
        f"{total.prompt_tokens:,} prompt and {total.completion_tokens:,} completion tokens, {money}, less what is in the cache"
    )
    return line, total
