"""What an audit is about to ask: explanations and perturbed texts, each text once however many methods want it; all at most."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from agents.llm import Request
from agents.self_explanations import ELICITATIONS, elicit
from evals.audit.faithfulness import removed
from evals.audit.perturbing import along
from evals.audit.rows import random_orders
from evals.audit.truth import Perturbed, Truth
from evals.audit.work import Audited, Work
from evals.calls import Calls


def forecast(audited: Audited, works: Sequence[Work], calls: Calls) -> str:
    """One line for the user before anything is asked: the orders of explanations that are not known yet are taken to be any orders."""
    open_ = [work for work in works if work.failed is None]
    requests: dict[str, Request] = {}
    asked = 0
    for work in open_:
        for group in audited.groups:
            request = elicit(audited.llm, audited.asking(group.persona), work.units, ELICITATIONS.get(group.elicitation), group.order)
            requests[request.model_dump_json()] = request
        for operator in audited.config.operators:
            truths: dict[tuple[str, str], Truth] = {}
            for group in audited.groups:
                key = (group.persona, group.form(same_prompt=audited.config.same_prompt))
                perturbed = Perturbed.by(operator, work.units, audited.others, [audited.config.seed, work.item.number])
                answer = "" if audited.task.labels else "answer"
                question = partial(audited.question, group, work.units, answer=answer)
                truth = truths.setdefault(key, Truth(audited.llm, audited.reader, perturbed, question))
                truth.plan(along(np.random.default_rng([work.item.number, len(truths)]).permutation(len(work.units)).tolist()))
            for truth in truths.values():
                plans = audited.plans(work)
                orders = random_orders(len(work.units), audited.rng(work), audited.config.random)
                stand_ins = random_orders(len(work.units), np.random.default_rng(work.item.number), len(plans))
                truth.plan(*(plan.sets for plan in plans.values()), *map(removed, orders), *map(along, stand_ins))
                asked += truth.asked
                for text in truth.unknown:
                    requests |= {each.model_dump_json(): each for each in audited.reader.requests(truth.question(text))}
    total = calls.budget.forecast(audited.llm.name, requests.values())
    perturbed_ = len(requests) - len(open_) * len(audited.groups)
    saved = "" if not asked else f" ({max(0.0, 1 - perturbed_ / asked):.0%} fewer than one for each method and step)"
    money = "a price that is not known" if total.usd is None else f"{total.usd:.2f} USD"
    more = f"; not counted: the checks {', '.join(audited.config.checks)}" if audited.config.checks else ""
    return (
        f"{len(open_)} items, {len(open_) * len(audited.groups)} explanations to ask for and about {perturbed_:,} perturbed texts{saved}: "
        f"at most {total.calls:,} calls, {total.prompt_tokens:,} prompt and {total.completion_tokens:,} completion tokens, {money}, less "
        f"what is in the cache{more}"
    )
