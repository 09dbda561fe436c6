"""The published pipeline against the one in use: do their scores tell right from wrong explanations, and for how many prompt tokens?

The same neurons, held-out excerpts and language models for both. Published (Bills et al. 2023): the token-activation explainer, the
simulator of evals.bench.published, the score as simulated. In use: the marked-text explainer, the all-at-once simulator, the score with
null contrast. One explanation a neuron; a mismatched one is that of the next neuron with another one, of the same pipeline.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer

from agents.budget import Budget
from agents.connect import connect
from agents.explainers.few_shot import FewShot
from agents.explainers.marked_text import MarkedText
from agents.explainers.reply import read_explanation
from agents.explainers.token_activation import TokenActivation
from agents.explanation import Explanation, Simulation
from agents.llm import LLM, ChatReply, Request
from agents.simulators.all_at_once import AllAtOnce
from analyzers.assets import model_source
from analyzers.errors import Failed
from analyzers.evidence import Evidence, Excerpt
from evals.bench.neurons import bench_pass, concentrated_evidence
from evals.bench.published import Published, failed
from evals.scores import score
from evals.site_scores import pairs_of
from evals.statistics import auroc
from prompts import load

NEURONS = 24
EXPLAINER = "local:qwen2.5-coder-1.5b"
SIMULATOR = "local:qwen2.5-coder-0.5b"
DRAWS = 2000
SEED = 0


Said = Sequence[str | Failed]
"""[neuron] explanations."""


class _Simulates(Protocol):
    def request(self, explanation: str, excerpt: Excerpt) -> Request: ...

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]: ...


@dataclass
class _Tokens:
    """Prompt tokens a neuron, [neuron] each: of its explanation, or of what its score is computed from; nothing of the mismatched side."""

    computed: list[int] = field(default_factory=list)
    """What a local model computed: a shared beginning once."""
    sent: list[int] = field(default_factory=list)
    """What an endpoint would be sent: every prompt in full."""

    def mean(self) -> dict[str, float]:
        """Over the neurons that got so far."""
        return {"computed": float(np.mean(self.computed)), "sent": float(np.mean(self.sent)), "neurons": len(self.sent)}


def main() -> dict[str, Any]:
    """AUROC of matched against mismatched explanations of both pipelines, their difference, and the prompt tokens of both."""
    return asyncio.run(_main())


async def _main() -> dict[str, Any]:
    subject, store = bench_pass()
    neurons = concentrated_evidence(subject, store, NEURONS)
    del subject, store
    asked, simulated = ({name: _Tokens() for name in ("published", "in_use")} for _ in range(2))
    budget = Budget()
    # No cache: the tokens are to be computed, and counted.
    async with await connect(EXPLAINER, budget=budget, cache=None) as llm:
        said = {
            "published": await _explain(llm, TokenActivation(llm), neurons, budget, asked["published"], guarded=False),
            "in_use": await _explain(llm, MarkedText(llm), neurons, budget, asked["in_use"], guarded=True),
        }
    async with await connect(SIMULATOR, budget=budget, cache=None) as llm:
        simulators: dict[str, tuple[_Simulates, bool]] = {"published": (Published(llm), False), "in_use": (AllAtOnce(llm), True)}
        scored = {
            name: await _score(simulator, neurons, said[name], budget, simulated[name], contrast=contrast)
            for name, (simulator, contrast) in simulators.items()
        }
    both = [place for place in range(len(neurons)) if all(place in pairs for pairs in scored.values())]
    return {
        "explainer": EXPLAINER,
        "simulator": SIMULATOR,
        "neurons": len(neurons),
        "scored_by_both": len(both),
        "auroc": {name: _auroc([pairs[place] for place in both]) for name, pairs in scored.items()},
        "auroc_in_use_minus_published": _difference(scored["in_use"], scored["published"], both),
        "explanations": {
            name: [{"failed": text.reason} if isinstance(text, Failed) else text for text in texts] for name, texts in said.items()
        },
        "prompt_tokens_per_neuron": {
            name: {"explanation": asked[name].mean(), "matched_and_null_simulation": simulated[name].mean()} for name in asked
        },
    }


async def _explain(llm: LLM, explainer: FewShot, neurons: Sequence[Evidence], budget: Budget, tokens: _Tokens, *, guarded: bool) -> Said:
    """The greedy explanation of each neuron; guarded: a copied one is refused, as in the pipeline in use and not in the published one."""
    texts: list[str | Failed] = []
    count = _counter(EXPLAINER)
    for evidence in neurons:
        excerpts = evidence.splits["explain"]
        requests = explainer.requests(excerpts, candidates=1, seed=SEED)
        before = budget.spent.prompt_tokens
        if guarded:
            (said,) = await explainer.explain(excerpts, candidates=1, seed=SEED)
            texts.append(said.text if isinstance(said, Explanation) else said)
        else:
            (reply,) = await llm.answer(requests)
            texts.append(
                read_explanation(reply, lead=load("token_activation").render("lead")) if isinstance(reply, ChatReply) else failed(reply)
            )
        tokens.computed.append(budget.spent.prompt_tokens - before)
        tokens.sent.append(sum(map(count, requests)))
    return texts


async def _score(
    simulator: _Simulates, neurons: Sequence[Evidence], said: Said, budget: Budget, tokens: _Tokens, *, contrast: bool
) -> dict[int, tuple[float, float]]:
    """{neuron's place: (score of its own explanation, score of another's)}, of the neurons that have both."""
    scored: dict[int, tuple[float, float]] = {}
    count = _counter(SIMULATOR)
    for place, (evidence, own) in enumerate(zip(neurons, said, strict=True)):
        others = [text for text in [*said[place + 1 :], *said[:place]] if isinstance(text, str) and text != own]
        if isinstance(own, Failed) or not others:
            continue
        test = [excerpt for excerpt in evidence.splits["test"] if excerpt.stratum in ("top", "random")]
        before = budget.spent.prompt_tokens
        null = await simulator.simulate("", test) if contrast else None
        matched = await simulator.simulate(own, test)
        tokens.computed.append(budget.spent.prompt_tokens - before)
        tokens.sent.append(sum(count(simulator.request(text, excerpt)) for text in ([own, ""] if contrast else [own]) for excerpt in test))
        mismatched = await simulator.simulate(others[0], test)
        right, wrong = (_pearson(test, outcomes, null) for outcomes in (matched, mismatched))
        if right is not None and wrong is not None:
            scored[place] = (right, wrong)
    return scored


def _pearson(test: Sequence[Excerpt], outcomes: Sequence[Simulation | Failed], null: Sequence[Simulation | Failed] | None) -> float | None:
    pairs = pairs_of(test, outcomes, null)
    value = pairs if isinstance(pairs, Failed) else score("pearson", pairs)
    return None if isinstance(value, Failed) else value


def _auroc(pairs: Sequence[tuple[float, float]]) -> Any:
    units = list(range(len(pairs))) * 2
    value = auroc([right for right, _ in pairs] + [wrong for _, wrong in pairs], [True] * len(pairs) + [False] * len(pairs), units)
    return value.reason if isinstance(value, Failed) else value.model_dump()


def _difference(one: Mapping[int, tuple[float, float]], other: Mapping[int, tuple[float, float]], both: Sequence[int]) -> dict[str, float]:
    """Difference of the AUROCs over the same neurons, with its interval over neurons drawn together for both."""
    sides = [np.array([pairs[place] for place in both]) for pairs in (one, other)]

    def of(drawn: Any) -> float:
        truth = [1] * len(drawn) + [0] * len(drawn)
        first, second = (float(roc_auc_score(truth, np.concatenate([side[drawn, 0], side[drawn, 1]]))) for side in sides)
        return first - second

    rng = np.random.default_rng(SEED)
    draws = [of(rng.integers(len(both), size=len(both))) for _ in range(DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": of(np.arange(len(both))), "low": float(low), "high": float(high)}


def _counter(spec: str) -> Callable[[Request], int]:
    """How many tokens the prompt of a request has in full, what a chat template adds left out."""
    tokenizer = Tokenizer.from_file(str(model_source(spec.removeprefix("local:")).path / "tokenizer.json"))

    def count(request: Request) -> int:
        if request.kind == "readout":
            return sum(len(tokenizer.encode(text)) for text in (request.prefix, request.head, *request.pieces))
        return sum(len(tokenizer.encode(message.content)) for message in request.messages)

    return count
