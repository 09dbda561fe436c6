"""Find out by experiment what a site responds to."""

import dataclasses
from collections.abc import Sequence

from agents.experimenter.bench import FIRES, Live, ScoreOnSelect
from agents.experimenter.ended import ended
from agents.experimenter.lab import Laboratory
from agents.experimenter.limits import ExperimentLimits, Spent, Tallied
from agents.experimenter.outcome import Experimented
from agents.experimenter.plan import run_plan
from agents.experimenter.rows import End, Shown, Start
from agents.experimenter.session import Session
from agents.llm import LLM
from analyzers.errors import Failed, LimitReached
from analyzers.evidence import Excerpt
from prompts import load


async def experiment(
    llm: LLM, lab: Laboratory, excerpts: Sequence[Excerpt], *, score_on_select: ScoreOnSelect, limits: ExperimentLimits, seed: int
) -> Experimented | Failed:
    """Explain a site by experiments: as an agent where the model calls tools, else on a fixed plan.

    excerpts: of the explain split, all that the model may see of the corpus. score_on_select: how well an explanation does on the
    select split, a number or why there is none. At a limit, of this site or of the whole run, it ends with the best hypothesis so far
    and says which limit; Failed where there is none yet (stage `budget` for a limit of the run), where the site fires on no excerpt,
    and where the model does not answer. Raises ProviderError where further calls are pointless.
    """
    peak = max((float(excerpt.activations.max(initial=0.0)) for excerpt in excerpts), default=0.0)
    if peak <= 0:
        return Failed("explain", "the site fires on none of the excerpts")
    acts = "tools" in llm.capabilities
    prompt = load("experimenter" if acts else "experiment_plan")
    start = Start(
        explainer=f"{'experimenter' if acts else 'experiment-plan'}({llm.name})",
        prompt=prompt.hash,
        seed=seed,
        limits=dataclasses.asdict(limits),
        peak=peak,
        excerpts=tuple(Shown(key=excerpt.key, text=excerpt.text) for excerpt in excerpts),
        loud=tuple(sorted(_loud(excerpts, FIRES / 10 * peak))),
    )
    session = Session(Live(lab, excerpts, peak, score_on_select=score_on_select, seed=seed), limits, start, load("experimenter"))
    tallied = Tallied(llm, limits)
    stopped, on_budget = "", False
    try:
        if acts:
            from agents.experimenter.agent import run_agent
            from agents.experimenter.model import Unanswered

            try:
                await run_agent(tallied, session, prompt, seed=seed)
            except Unanswered as unanswered:
                stopped = unanswered.failed.reason
        else:
            await run_plan(tallied, session, prompt, excerpts, seed=seed)
    except LimitReached as limit:
        stopped, on_budget = str(limit), not isinstance(limit, Spent)
    return ended(session, End(stopped=stopped, on_budget=on_budget, model_calls=tallied.steps, tokens=tallied.tokens))


def _loud(excerpts: Sequence[Excerpt], least: float) -> set[str]:
    return {token for e in excerpts for token, activation in zip(e.tokens, e.activations.tolist(), strict=True) if activation >= least}
