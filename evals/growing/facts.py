"""Cloze facts: whether the first token of what completes a prompt is the likeliest one, as in LAMA (arXiv 1909.01066)."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.corpus import json_objects
from analyzers.errors import CorpusError, Failed, SubjectError
from analyzers.progress import Report
from analyzers.whole_text import whole_text
from evals.growing.config import ITEMS, GrowConfig
from evals.growing.tally import Floats, Tallies, Tally
from evals.source_files import files_of

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

SAMPLE = Path(__file__).parents[1] / "probes" / "samples" / "facts.jsonl"
LEAST = 20
"""Facts of a relation that has a curve of its own."""
UNITS = ("facts", "facts")
BLIND = "the commonest target of the relation"
_FORM = '{"prompt": "The capital of France is", "target": "Paris", "relation": "capital"}'
_RELATION = '{"name": "capital", "prompt_templates": ["The capital of {} is"], "samples": [{"subject": "France", "object": "Paris"}]}'


@dataclass(frozen=True)
class Fact:
    """What stands before, and what is to follow."""

    prompt: str
    target: str
    relation: str


@dataclass(frozen=True, eq=False)
class Facts:
    """See above. P@1 over the whole vocabulary, of the target's first token alone."""

    facts: tuple[Fact, ...]
    files: tuple[Path, ...]
    there: int
    """Facts that these were drawn from."""
    given_away: int
    """Facts left out since the first word of their target stands in the prompt."""
    name: str = "facts"
    needs_decoder: bool = True

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the figures."""
        told = json.dumps([[fact.prompt, fact.target, fact.relation] for fact in self.facts])
        return {"facts": hashlib.sha256(told.encode()).hexdigest(), "least": LEAST}

    @property
    def items(self) -> dict[str, int]:
        """How many by what was done with them."""
        return {"facts": len(self.facts), "not_drawn": self.there - len(self.facts), "given_away": self.given_away}

    @property
    def notes(self) -> list[str]:
        """How it was measured."""
        return [
            "facts: the first token of the target must be the likeliest of all; read against always saying the commonest first token of "
            "the relation; facts whose prompt has the first word of their target are left out"
        ]

    def measure(self, model: "TextModel", report: Report) -> Tallies | Failed:
        """`facts`, `facts/logprob`, and of each relation with enough of them, where there are several, `facts/<relation>`."""
        from analyzers.growing.token_scores import fits, score_tokens

        asked: dict[int, tuple[int, ...]] = {}
        for number, fact in enumerate(self.facts):
            try:
                first = model.continuation(fact.prompt, f" {fact.target}")[0]
            except SubjectError:  # the tokenizer has no tokens for it alone, or it is too long
                continue
            ids = (*model.begun(fact.prompt).ids, first)
            if fits(model, ids):
                asked[number] = ids
        if not asked:
            return Failed("probe", f"no fact can be put to {model.name}: the tokenizer joins prompts and targets, or they are too long")
        scores = score_tokens(model, list(asked.values()), what="ask for facts", report=report)
        right, told, there = (np.zeros(len(self.facts)) for _ in range(3))
        for number, score in zip(asked, scores, strict=True):
            right[number], told[number], there[number] = score.right[-1], score.logprobs[-1], 1
        targets = {number: ids[-1] for number, ids in asked.items()}
        blind = self._blind(targets)
        found = {
            self.name: Tally(right, there, *UNITS, chance=float(blind.sum() / there.sum()), against=BLIND),
            f"{self.name}/logprob": Tally(told, there, *UNITS),
        }
        sizes = Counter(self.facts[number].relation for number in asked)
        for relation, count in sizes.items():
            if len(sizes) > 1 and count >= LEAST:
                own = np.array([fact.relation == relation for fact in self.facts], np.float64)
                chance = float((blind * own).sum() / count)
                found[f"{self.name}/{relation}"] = Tally(right * own, there * own, *UNITS, chance=chance, against=BLIND)
        return found

    def _blind(self, targets: Mapping[int, int]) -> Floats:
        """[fact] 1 where the first token is the commonest of its relation's."""
        by_relation: dict[str, Counter[int]] = {}
        for number, token in targets.items():
            by_relation.setdefault(self.facts[number].relation, Counter())[token] += 1
        commonest = {relation: counts.most_common(1)[0][0] for relation, counts in by_relation.items()}
        found = np.zeros(len(self.facts))
        for number, token in targets.items():
            found[number] = token == commonest[self.facts[number].relation]
        return found


def load_facts(config: GrowConfig) -> Facts:
    """Read and draw. Raises CorpusError for files that are not in the form, with the line, and where no fact is left."""
    files = files_of(config.facts or SAMPLE, "--facts", (".jsonl", ".json"), _FORM)
    read = list(dict.fromkeys(fact for path in files for fact in (_relation(path) if path.suffix == ".json" else _lines(path))))
    facts = [fact for fact in read if not _is_given_away(fact)]
    if not facts:
        raise CorpusError(f"--facts {str(config.facts)!r}: every prompt already has the first word of its target; give others")
    most = config.most(ITEMS)
    order = np.random.default_rng([config.seed, 7]).permutation(len(facts))[: most or len(facts)]
    drawn = tuple(facts[at] for at in np.sort(order).tolist())
    return Facts(drawn, tuple(files), len(facts), len(read) - len(facts))


def _is_given_away(fact: Fact) -> bool:
    words = re.findall(r"\w+", fact.target.casefold())
    return bool(words) and words[0] in re.findall(r"\w+", fact.prompt.casefold())


def _lines(path: Path) -> Iterator[Fact]:
    some = False
    for _, (where, record) in json_objects(path, f"give one object a line, such as {_FORM}"):
        yield _fact(record.get("prompt"), record.get("target"), record.get("relation", path.stem), where)
        some = True
    if not some:
        raise CorpusError(f"{str(path)!r} holds no facts; give lines such as {_FORM}")


def _relation(path: Path) -> Iterator[Fact]:
    """One relation as in github.com/evandez/relations: with the first of its templates."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{str(path)!r} is not JSON ({error}); give a relation such as {_RELATION}") from None
    templates, samples = (record.get(key) if isinstance(record, dict) else None for key in ("prompt_templates", "samples"))
    if not isinstance(templates, list) or not templates or not isinstance(templates[0], str) or "{}" not in templates[0]:
        raise CorpusError(f"{str(path)!r} has no template with {{}} for the subject; give a relation such as {_RELATION}")
    if not isinstance(samples, list) or not samples:
        raise CorpusError(f"{str(path)!r} has no samples; give a relation such as {_RELATION}")
    for number, sample in enumerate(samples, 1):
        where = f"{str(path)!r} sample {number}"
        subject, target = (sample.get(key) if isinstance(sample, dict) else None for key in ("subject", "object"))
        if not isinstance(subject, str):
            raise CorpusError(f"{where} has no subject; give a relation such as {_RELATION}")
        yield _fact(templates[0].replace("{}", subject), target, str(record.get("name", path.stem)), where)


def _fact(prompt: Any, target: Any, relation: Any, where: str) -> Fact:
    for key, text in (("prompt", prompt), ("target", target), ("relation", relation)):
        if not isinstance(text, str) or not text.strip():
            raise CorpusError(f"{where} has no text for the {key}; give lines such as {_FORM}")
    return Fact(whole_text(prompt.rstrip()), whole_text(target.strip()), relation)
