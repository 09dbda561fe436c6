"""Leave-one-word-out of a review behind an instruction: the tree of all texts against one forward pass a text, and against captum.

All ways read the same labels off the same texts, alternated in one process. Texts are built without agents, so that only their evaluation
is compared. Shapley values, LIME and KernelSHAP are measured on the same review, the naive loop on some of their texts.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from captum.attr import FeatureAblation, LLMAttribution, TextTemplateInput

from analyzers.answers import Answers
from analyzers.attributions import METHODS, Floats, Plan
from analyzers.branches import shared
from analyzers.engine import KEPT_TOKENS, Engine
from analyzers.errors import Failed
from analyzers.prefixes import Prefixes
from analyzers.units import Kept, spaced
from prompts import load

MODEL = "smollm2-135m"
INSTRUCTION = (
    "You are given a short review that a guest of a restaurant wrote after a visit. Decide whether the guest is content with "
    "the food, the service and price, and answer with one word. Write positive where the guest would come back, and write negative "
    "where not; a review of two minds gets the label that fits its larger part."
)
"""60 words."""
REVIEW = "The soup was cold and we waited an hour for it, but the staff were lovely and the little cake at the end was superb."
"""25 words."""
LABELS = (" positive", " negative")
ROUNDS = 3
SAMPLED = ("shapley", "lime", "kernel-shap")
MOST = 200
"""Sets that a sampling method may ask for."""
SAMPLED_ROUNDS = 2
EVERY = 16
"""The naive loop computes one in so many of the texts of a sampling method, and its time is multiplied by it."""

Way = Callable[[], Floats]
"""Gives log-probabilities [text, label], or what is attributed to the words of the review [word]."""


def main() -> dict[str, Any]:
    """Seconds and their ratios, tokens computed, and differences from the naive loop; in bfloat16 the differences alone."""
    bench = _Bench("float32")
    figures: dict[str, Any] = {"model": MODEL, "words": [len(INSTRUCTION.split()), len(REVIEW.split())]}
    figures |= {"occlusion": bench.occlusion(), "occlusion_plain_prompt": _Bench("float32", chat=False).occlusion()}
    figures |= {method: bench.sampled(method) for method in SAMPLED}
    texts = bench.texts(_plan("occlusion").sets)
    return figures | {"occlusion_bfloat16": _Bench("bfloat16").differences(texts, bench.naive(texts, LABELS))}


def _plan(method: str) -> Plan:
    return METHODS.get(method)(len(spaced(REVIEW)), MOST, np.random.default_rng(0))


class _Bench:
    """The model in one number format, and the review, in the turns of a chat or as a plain prompt."""

    def __init__(self, dtype: str, *, chat: bool = True) -> None:
        self._chat = chat
        self._engine = Engine.load(MODEL, dtype=dtype)
        self._units = spaced(REVIEW)
        self._answers = Answers(self._engine)
        self._prompt = load("ask")

    def occlusion(self) -> dict[str, Any]:
        plan = _plan("occlusion")
        texts = self.texts(plan.sets)
        tokens = {"tree_first_call": self._tree(texts, LABELS, kept=False)[1]}
        one = LABELS[:1]
        ways: dict[str, Way] = {
            "tree": lambda: self._tree(texts, one, kept=False)[0],
            "tree_prefix_kept": lambda: self._tree(texts, one, kept=True)[0],
            "tree_two_labels": lambda: self._tree(texts, LABELS, kept=False)[0],
            "naive": lambda: self.naive(texts, one),
            "captum": lambda: self._captum(LABELS[0]),
            "captum_other_label": lambda: self._captum(LABELS[1]),
        }
        self.naive(texts[:2], one)  # what is done only once in a process
        seconds, found = _alternated(ways, ROUNDS)
        # captum attributes one label a run.
        seconds["captum_two_labels"] = [
            (wall + other_wall, cpu + other_cpu)
            for (wall, cpu), (other_wall, other_cpu) in zip(seconds["captum"], seconds["captum_other_label"], strict=True)
        ]
        both = found["tree_two_labels"]
        values = {name: _values(plan, both[:, at]) for at, name in enumerate(("captum", "captum_other_label"))}
        tokens |= {name: self._tree(texts, one, kept=kept)[1] for name, kept in (("tree", False), ("tree_prefix_kept", True))}
        tokens |= {"packing": self._packing(texts), "naive": self._tokens(texts)}
        return {
            "texts": len(texts),
            "seconds": _medians(seconds),
            "ratios": {
                f"{slow}_over_{fast}": _ratio(seconds[slow], seconds[fast])
                for slow, fast in (
                    ("captum", "tree"),
                    ("captum", "tree_prefix_kept"),
                    ("captum_two_labels", "tree_two_labels"),
                    ("naive", "tree"),
                    ("naive", "tree_prefix_kept"),
                )
            },
            "tokens": tokens,
            "tokens_over_packing": {name: round(count / tokens["packing"], 3) for name, count in tokens.items()},
            "largest_difference": {
                "of_a_logprob_from_naive": _largest(both, self.naive(texts, LABELS)),
                "of_a_value_from_captum": max(_largest(value, found[name]) for name, value in values.items()),
            },
        }

    def differences(self, texts: Sequence[str], right: Floats) -> dict[str, float]:
        """Largest differences of a log-probability between ways in this number format, and of these from what is right."""
        tree, naive, wide = self._tree(texts, LABELS, kept=False)[0], self.naive(texts, LABELS), self.naive(texts, LABELS, wide=True)
        return {
            "tree_from_naive_with_float32_head": _largest(tree, wide),
            "tree_from_naive": _largest(tree, naive),
            "tree_from_float32": _largest(tree, right),
            "naive_with_float32_head_from_float32": _largest(wide, right),
            "naive_from_float32": _largest(naive, right),
        }

    def sampled(self, method: str) -> dict[str, Any]:
        texts = self.texts(_plan(method).sets)
        some = texts[::EVERY]
        ways: dict[str, Way] = {
            "tree": lambda: self._tree(texts, LABELS[:1], kept=False)[0],
            "naive_of_some": lambda: self.naive(some, LABELS[:1]),
        }
        seconds, found = _alternated(ways, SAMPLED_ROUNDS)
        share = len(some) / len(texts)
        seconds["naive_estimated"] = [(wall / share, cpu / share) for wall, cpu in seconds["naive_of_some"]]
        computed, naive = self._tree(texts, LABELS[:1], kept=False)[1], self._tokens(texts)
        return {
            "texts": len(texts),
            "seconds": _medians(seconds),
            "ratio_naive_estimated_over_tree": _ratio(seconds["naive_estimated"], seconds["tree"]),
            "tokens": {"tree": computed, "naive": naive, "tree_over_naive": round(computed / naive, 3)},
            "largest_difference_of_a_logprob_from_naive": _largest(found["tree"][::EVERY], found["naive_of_some"]),
        }

    def texts(self, sets: Sequence[Kept]) -> list[str]:
        """The different prompts of these sets, in order."""
        every = range(len(self._units))
        return list(dict.fromkeys(self._asked(self._units.written({unit: None for unit in every if unit not in kept})) for kept in sets))

    def _asked(self, review: str) -> str:
        # The instruction and the review alone: what a task adds to them would only make the beginning longer that the tree computes once.
        if not self._chat:
            return f"{INSTRUCTION}\n\nText: {review}\nAnswer:"
        shown, lead, _ = self._prompt.render("demonstration", text=review, answer="").partition("Answer:")
        turns = [{"role": "user", "content": f"{INSTRUCTION}\n\n{shown.strip()}"}, {"role": "assistant", "content": lead}]
        return self._engine.written(turns)

    def _tree(self, texts: Sequence[str], labels: Sequence[str], *, kept: bool) -> tuple[Floats, int]:
        """Log-probabilities [text, label] and tokens computed, with what the texts begin with kept from the call before or not."""
        if not kept:
            self._engine.prefixes = Prefixes(KEPT_TOKENS)
        found = self._answers.after(texts, labels)
        if isinstance(found, Failed):
            raise RuntimeError(f"the benchmark's own text failed: {found.reason}")
        return found.logprobs, found.prompt_tokens

    def naive(self, texts: Sequence[str], labels: Sequence[str], *, wide: bool = False) -> Floats:
        """[text, label] one forward pass a text with all its logits, or, where wide, with the head on the last hidden state in float32."""
        engine, rows = self._engine, []
        said = [self._engine.piece(label) for label in labels]
        if any(len(ids) != 1 for ids in said):
            raise RuntimeError("the benchmark's labels must be single tokens")
        head = engine.model.get_output_embeddings().weight
        for text in texts:
            ids = engine.tensor([[*engine.tokens.start, *engine.tokens.encode(text)]])
            if wide:
                logits = head.float() @ engine.model.base_model(input_ids=ids).last_hidden_state[0, -1].float()
            else:
                logits = engine.model(input_ids=ids).logits[0, -1].float()
            rows.append(logits.log_softmax(-1)[[token for (token,) in said]].tolist())
        return np.array(rows, np.float64)

    def _captum(self, label: str) -> Floats:
        """[word] what captum attributes to the words of the review, on the same texts."""

        def written(*words: str) -> str:
            return self._asked(self._units.written({unit: None for unit, word in enumerate(words) if not word}))

        method: Any = LLMAttribution(FeatureAblation(self._engine.model), self._engine.tokenizer)
        found = method.attribute(TextTemplateInput(template=written, values=list(self._units.texts)), target=label)
        return np.array(found.seq_attr.tolist())

    def _packing(self, texts: Sequence[str]) -> int:
        """Tokens of one row with the whole text, and of every other only what comes from its first changed token on."""
        whole, *others = [self._engine.tokens.encode(text) for text in texts]
        return len(whole) + sum(len(other) - shared(whole, other) for other in others)

    def _tokens(self, texts: Sequence[str]) -> int:
        return sum(len(self._engine.tokens.start) + len(self._engine.tokens.encode(text)) for text in texts)


Seconds = list[tuple[float, float]]
"""[round] of wall and of processor, over all its cores."""


def _alternated(ways: Mapping[str, Way], rounds: int) -> tuple[dict[str, Seconds], dict[str, Floats]]:
    """Seconds of every way, and what it found in the last round."""
    seconds: dict[str, Seconds] = {name: [] for name in ways}
    found: dict[str, Floats] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            found[name] = way()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return seconds, found


def _medians(seconds: Mapping[str, Seconds]) -> dict[str, dict[str, float]]:
    return {
        name: {clock: round(statistics.median(each[at] for each in rounds), 2) for at, clock in enumerate(("wall", "cpu"))}
        for name, rounds in seconds.items()
    }


def _ratio(slow: Seconds, fast: Seconds) -> dict[str, Any]:
    """Of medians, and of wall seconds by round."""
    medians = _medians({"slow": slow, "fast": fast})
    ratios: dict[str, Any] = {clock: round(medians["slow"][clock] / medians["fast"][clock], 2) for clock in ("wall", "cpu")}
    return ratios | {"wall_by_round": [round(a[0] / b[0], 2) for a, b in zip(slow, fast, strict=True)]}


def _values(plan: Plan, of_texts: Floats) -> Floats:
    """[word] the method's values, where every set has a text of its own."""
    return plan.values(dict(zip(plan.sets, of_texts.tolist(), strict=True)))


def _largest(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).max())
