"""Who explains, simulates and scores in a labelling run."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from agents.experimenter import ExperimentLimits, experiment
from agents.explainers import EXPLAINERS, Explainer
from agents.explanation import Explanation
from agents.llm import LLM
from agents.simulators import SIMULATORS, Simulator
from analyzers.errors import Failed, ProviderError
from analyzers.laboratory import Laboratory
from analyzers.subject import Subject
from evals.calls import AGENT, Calls, doing
from evals.each import together
from evals.label_config import LabelConfig
from evals.scorers import SCORERS, Scorer
from evals.scoring.sequential import Sequential
from evals.site_scores import pearson_of
from evals.work import Work
from prompts import load

AUTO = "auto"
"""In place of names of scorers."""
DEFAULTS = Path(__file__).with_name("default_scorers.toml")


class Experimenter:
    """An explainer that experiments on the subject."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self.name = f"agent({llm.name})"
        self.prompt = load("experimenter" if "tools" in llm.capabilities else "experiment_plan").hash

    async def experiment(self, work: Work, simulator: Simulator, subject: Subject, config: LabelConfig) -> Explanation | Failed:
        """Let it find out what the site responds to; of the select split it learns nothing but scores.

        Raises LimitReached where a limit of the whole run left it without any hypothesis.
        """
        excerpts = work.evidence.splits["select"]
        has_prior = simulator.scale == "level"

        async def score(text: str) -> float | Failed:
            with doing("select", work.site):
                told, *null = await together(*(simulator.simulate(each, excerpts) for each in ([text, ""] if has_prior else [text])))
                return pearson_of(excerpts, told, null[0] if null else None)

        found = await experiment(
            self._llm,
            Laboratory(subject, work.site),
            [*work.evidence.splits["explain"], *work.pool],
            score_on_select=score,
            limits=ExperimentLimits(**config.experiment.model_dump()),
            seed=config.seed,
        )
        if isinstance(found, Failed):
            return found
        work.experimented = found
        return found.explanation


@dataclass(frozen=True)
class Models:
    """Who does what, each with its language model where it has one."""

    explainer: Explainer | Experimenter
    simulator: Simulator
    scorers: dict[str, Scorer]
    explains: LLM | None
    simulates: LLM | None


def default_scorers(simulator: str) -> tuple[str, ...]:
    """The scorers that won on planted neurons with this model as judge; none for a model of which that is not known."""
    known = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))
    return tuple(known.get(simulator, {}).get("scorers", ()))


def sequential(scorers: dict[str, Scorer], enough: float | None) -> dict[str, Scorer]:
    """The scorers, those that ask about one item after the other stopping at an interval of that width."""
    if enough is None:
        return scorers
    return {name: Sequential(scorer, width=enough) if scorer.role == "items" else scorer for name, scorer in scorers.items()}


async def connect_models(config: LabelConfig, calls: Calls) -> Models:
    """Reach both language models, and find out whether they can do what is asked of them."""
    experiments = config.explainer.startswith(AGENT)
    explains = await calls.connect(config.explainer.removeprefix(AGENT), "explainer", tools=experiments)
    explainer: Explainer | Experimenter
    if experiments:
        if explains is None:
            raise ProviderError(f"--explainer {config.explainer!r}: only a language model can experiment; write {AGENT}openai:MODEL")
        explainer = Experimenter(explains)
    else:
        explainer = EXPLAINERS.create("template" if explains is None else config.style, explains)
    simulates = await calls.connect(config.simulator, "simulator")
    simulator = SIMULATORS.create("lexical") if simulates is None else SIMULATORS.pick(simulates)
    names = default_scorers(config.simulator) if config.scorers == (AUTO,) else config.scorers
    scorers = {name: SCORERS.create(name, simulates) for name in names}
    return Models(explainer, simulator, scorers, explains, simulates)
