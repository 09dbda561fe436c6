"""Causal tracing over the facts that a model knows, each traced once and kept, so that a killed run goes on."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.errors import CorpusError, ExplicateError, Failed, SubjectError
from analyzers.facts import Fact, read_facts
from analyzers.progress import Report, quiet
from analyzers.tracing.kinds import KINDS, Kind
from evals.number_of import number_of
from evals.tracing.config import TraceConfig
from evals.tracing.results import LeftOut, NotKnown, Traced
from evals.tracing.summarised import summarised

if TYPE_CHECKING:
    from analyzers.text_model import TextModel
    from analyzers.tracing.located import Located
    from analyzers.tracing.plan import Tracing
    from analyzers.tracing.stack import Stack
    from analyzers.tracing.trace import Trace

LOCATING, ASKING, TRACING, SUMMARISING = "find subjects", "ask for facts", "trace facts", "summarise effects"
ASKED_TOGETHER = 64
KEPT_FORMAT = 1
"""Of what is kept of a fact; another one is measured anew."""


@dataclass(frozen=True)
class _Asked:
    """A fact in the model's tokens, and another fact's target: the control of the lens."""

    fact: Fact
    located: "Located"
    other: int | None


@dataclass(frozen=True)
class _Kept:
    trace: "Trace"
    seconds: float


def run_trace(config: TraceConfig, *, report: Report = quiet) -> Traced:
    """Find the facts that the model knows, trace them, summarise. Raises ExplicateError for what the user can mend."""
    # What is misspelt or missing here is told before a model is fetched and loaded.
    config.check()
    facts = list({(fact.prompt, fact.subject, fact.target): fact for fact in reversed(read_facts(config.facts))}.values())[::-1]
    if len(facts) < config.least:
        raise CorpusError(
            f"{str(config.facts)!r} holds {number_of('fact', len(facts))}, and --least asks for {config.least}; "
            "give more facts, or a smaller --least"
        )
    from analyzers.text_model import TextModel
    from analyzers.tracing.plan import Tracing, spread, window_of
    from analyzers.tracing.stack import Stack

    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    kinds: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind in config.kinds)
    stack = Stack(model, kinds)
    asked, left_out = _located(model, facts, config.seed, report)
    known, not_known = _known(model, asked, config, report)
    tracing = Tracing(
        sigma=spread(stack, [each.located for each in asked]),
        window=min(config.window or window_of(model.layers), model.layers),
        factor=config.noise,
        samples=config.samples,
        kinds=kinds,
        seed=config.seed,
    )
    kept = _traces(stack, known, tracing, report)
    report(SUMMARISING, 0, 1)
    found = summarised(
        config,
        [each.trace for each in kept],
        tracing,
        layers=model.layers,
        model=model.identity,
        facts=[each.fact for each in known],
        not_known=not_known,
        left_out=left_out,
        there=len(facts),
        seconds=sum(each.seconds for each in kept),
    )
    report(SUMMARISING, 1, 1)
    return found


def _located(model: "TextModel", facts: Sequence[Fact], seed: int, report: Report) -> tuple[list[_Asked], list[LeftOut]]:
    """All that can be, in an order drawn by seed; SubjectError where none can."""
    from analyzers.tracing.located import locate

    found, left_out = [], []
    order = np.random.default_rng(seed).permutation(len(facts)).tolist()
    for done, number in enumerate(order):
        report(LOCATING, done, len(facts))
        where = locate(model, facts[number])
        if isinstance(where, Failed):
            left_out.append(LeftOut(id=facts[number].id, reason=where.reason))
        else:
            found.append((facts[number], where))
    report(LOCATING, len(facts), len(facts))
    if not found:
        raise SubjectError(f"{model.name!r}: no fact can be traced, the first since {left_out[0].reason}")
    targets = [where.target[0] for _, where in found]
    asked = []
    for number, (fact, where) in enumerate(found):
        behind = (*targets[number + 1 :], *targets[:number])
        asked.append(_Asked(fact, where, next((token for token in behind if token != targets[number]), None)))
    return asked, left_out


def _known(model: "TextModel", asked: Sequence[_Asked], config: TraceConfig, report: Report) -> tuple[list[_Asked], list[NotKnown]]:
    """The first ones that the model knows, as many as are to be traced, and the others up to there.

    Raises ExplicateError where it knows too few.
    """
    from analyzers.tracing.known import said

    most = config.limit or len(asked)
    known: list[_Asked] = []
    not_known: list[NotKnown] = []
    for start in range(0, len(asked), ASKED_TOGETHER):
        report(ASKING, start, len(asked))
        batch = asked[start : start + ASKED_TOGETHER]
        for each, answer in zip(batch, said(model, [each.located for each in batch]), strict=True):
            if len(known) == most:
                break
            if answer.known:
                known.append(each)
            else:
                fact = each.fact
                not_known.append(
                    NotKnown(id=fact.id, prompt=fact.prompt, target=fact.target, says=answer.token, probability=answer.of_target)
                )
        if len(known) == most:
            break
    report(ASKING, len(asked), len(asked))
    if len(known) < config.least:
        tried = len(known) + len(not_known)
        some = f"only {len(known)}" if known else "none"
        example = f" (not {not_known[0].prompt!r}: there it says {not_known[0].says!r})" if not_known else ""
        raise ExplicateError(
            f"{model.name} knows {some} of the {number_of('fact', tried)} that can be traced{example}, and --least asks for "
            f"{config.least}; give more facts, a larger model, or a smaller --least"
        )
    return known, not_known


def _traces(stack: "Stack", known: Sequence[_Asked], tracing: "Tracing", report: Report) -> list[_Kept]:
    """[fact]; only those are run that are not kept from before."""
    from analyzers.pass_folder import FORMAT, alone, content_key, read_json, write_json
    from analyzers.settings import settings
    from analyzers.tracing.trace import texts_of, trace

    told = {"format": KEPT_FORMAT, "model": dict(stack.model.identity), "tracing": asdict(tracing)}
    folder = settings().passes / "traces" / content_key(told)
    found = []
    with alone(folder, report):
        paths = [folder / f"{content_key([asdict(each.fact), list(each.located.ids), each.other])}.json" for each in known]
        # Kept ones are no part of the work, so that rate and time left are those of what runs.
        texts = [
            0 if path.exists() else texts_of(each.located, tracing, stack.model.layers) for each, path in zip(known, paths, strict=True)
        ]
        done, total = 0, sum(texts)

        def ran(many: int) -> None:
            nonlocal done
            done += many
            report(TRACING, done, total)

        for number, (each, path) in enumerate(zip(known, paths, strict=True)):
            if path.exists():
                content = read_json(path)
                found.append(_Kept(_trace_of(content["trace"]), float(content["seconds"])))
                continue
            began = time.monotonic()
            made = trace(stack, each.located, tracing, each.other, ran=ran)
            found.append(_Kept(made, time.monotonic() - began))
            write_json(path, {"format": FORMAT, "trace": asdict(made), "seconds": found[-1].seconds})
            done = sum(texts[: number + 1])
        if total:
            report(TRACING, total, total)
    return found


def _trace_of(content: dict[str, Any]) -> "Trace":
    from analyzers.tracing.trace import Elsewhere, Trace

    elsewhere = content["elsewhere"]
    return Trace(**{**content, "elsewhere": None if elsewhere is None else Elsewhere(**elsewhere)})
