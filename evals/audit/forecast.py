"""What an audit is about to ask: explanations and perturbed texts, each text once however many methods want it; all at most.

The orders of explanations that are not known yet are taken to be any orders. Of a model of this machine the tokens are counted as they
will be computed, on some items where there are many; of any other they are the upper estimates that limits are held against.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from agents.budget import Forecast
from agents.connect import LOCAL_BATCH
from agents.llm import Choice, Request
from agents.metered import Metered
from agents.providers.local import LocalLLM
from agents.self_explanations import ELICITATIONS, elicit
from analyzers.progress import Report
from evals.audit.faithfulness import removed
from evals.audit.perturbing import along, no_ops
from evals.audit.rows import random_orders
from evals.audit.truth import Perturbed, Truth
from evals.audit.work import Audited, Work
from evals.calls import Calls

COUNTED = 10
"""Items whose tokens are counted, spread evenly."""


async def forecast(audited: Audited, works: Sequence[Work], calls: Calls, report: Report) -> tuple[str, Forecast]:
    """One line for the user before anything is asked, and what it says."""
    open_ = [work for work in works if work.failed is None]
    explanations = [request for work in open_ for request in _explanations(audited, work)]
    perturbed: dict[str, Request] = {}
    texts: list[list[list[Request]]] = []
    asked = 0
    for done, work in enumerate(open_):
        texts.append([])
        for truth in _truths(audited, work):
            asked += truth.asked
            wanted = [request for text in truth.unknown for request in audited.reader.requests(truth.question(text))]
            new = {request.model_dump_json(): request for request in wanted}
            texts[-1].append([request for key, request in new.items() if key not in perturbed])
            perturbed |= new
        report("forecast", done + 1, len(open_))
    total = calls.budget.forecast(audited.llm.name, [*explanations, *perturbed.values()])
    tokens = f"{total.prompt_tokens:,} prompt and "
    if isinstance(audited.llm, Metered) and isinstance(audited.llm.base, LocalLLM) and audited.reader.name == "logprobs":
        some = texts[:: max(1, len(texts) // COUNTED)]
        counted = await audited.llm.base.planned([list(call) for item in some for call in _calls(item)])
        said = "" if len(some) == len(texts) else "about "
        of_texts = round(counted * len(perturbed) / max(1, sum(len(call) for item in some for call in item)))
        tokens = (
            f"{said}{of_texts:,} tokens of perturbed texts to compute, {_prompts(audited, explanations, calls):,} of other prompts and "
        )
    saved = "" if not asked else f" ({max(0.0, 1 - len(perturbed) / asked):.0%} fewer than one for each method and step)"
    money = "a price that is not known" if total.usd is None else f"{total.usd:.2f} USD"
    more = f"; not counted: the checks {', '.join(audited.config.checks)}" if audited.config.checks else ""
    odd = f" ({len(works) - len(open_)} more have too few units to compare, or too many)" if len(open_) < len(works) else ""
    line = (
        f"{len(open_)} items{odd}, {len(explanations)} explanations to ask for and {len(perturbed):,} perturbed texts{saved}: "
        f"at most {total.calls:,} calls, {tokens}{total.completion_tokens:,} completion tokens, {money}, less what is in the cache{more}"
    )
    return line, total


def _explanations(audited: Audited, work: Work) -> list[Request]:
    return [
        elicit(audited.llm, audited.asking(group.persona), work.units, ELICITATIONS.get(group.elicitation), group.order)
        for group in audited.groups
    ]


def _truths(audited: Audited, work: Work) -> Iterator[Truth]:
    """What will be asked of one item, any orders standing in for those of explanations."""
    for operator in audited.config.operators:
        truths: dict[tuple[str, str], Truth] = {}
        perturbed = Perturbed.by(operator, work.units, audited.others, [audited.config.seed, work.item.number])
        for group in audited.groups:
            key = (group.persona, group.form(same_prompt=audited.config.same_prompt))
            question = partial(audited.question, group, work.units, answer="" if audited.task.labels else "answer")
            truth = truths.setdefault(key, Truth(audited.llm, audited.reader, perturbed, question))
            truth.plan(along(np.random.default_rng([work.item.number, len(truths)]).permutation(len(work.units)).tolist()))
        for truth in truths.values():
            plans = audited.plans(work)
            orders = random_orders(len(work.units), audited.rng(work), audited.config.random)
            stand_ins = random_orders(len(work.units), np.random.default_rng(work.item.number), len(plans))
            truth.plan(*(plan.sets for plan in plans.values()), *map(removed, orders), *map(along, stand_ins))
            if operator == audited.config.operators[0]:
                truth.texts += no_ops(work.units.text).values()
            yield truth


def _calls(item: Sequence[Sequence[Request]]) -> Iterator[list[Choice]]:
    """The requests of an item as they come together."""
    size = LOCAL_BATCH["choice"]
    for requests in item:
        choices = [request for request in requests if isinstance(request, Choice)]
        yield from (choices[at : at + size] for at in range(0, len(choices), size))


def _prompts(audited: Audited, explanations: Sequence[Request], calls: Calls) -> int:
    return calls.budget.forecast(audited.llm.name, explanations).prompt_tokens
