"""How likely given answers are after many texts that differ little, as perturbations of one prompt do.

All texts are computed as one tree of tokens (analyzers.branches), and the LM head only where an answer is read, in float32. A model
that attends in another way (windows shorter than a row, positions that come from the mask) is found out by computing one text both ways,
and gets its texts one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from analyzers.branches import Branches, Ids, branches, rows, shared
from analyzers.engine import Engine
from analyzers.errors import Failed
from analyzers.mixed import wide_product
from analyzers.prefixes import CHUNK, EMPTY, Prefix
from analyzers.progress import Report, quiet

EVALUATING = "evaluate texts"
ROW_TOKENS = 768
"""Tokens in one tree; attention costs its square."""
LONGEST_TREE = 4096
"""Tokens of a text, from which on texts are computed one by one."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.1}
"""Largest difference of a log-probability between the two ways, by the number format of the model."""


@dataclass(frozen=True, eq=False)
class Continuations:
    """How likely answers are after texts."""

    logprobs: npt.NDArray[np.float64]
    """[text, answer] natural logarithms of probabilities over the whole vocabulary."""
    prompt_tokens: int
    """Tokens computed for all of them."""


class _NoTreesError(Exception):
    """The model does not compute a tree of texts as it computes the texts."""


class Answers:
    """Reads answers off a model; what its texts begin with is kept by the engine from call to call."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._trees = True
        self._checked: set[tuple[int, int]] = set()
        """Lengths of a text and of a row, in bits, at which a text came out of a tree as it does alone."""

    @torch.inference_mode()
    def after(self, texts: Sequence[str], answers: Sequence[str], *, report: Report = quiet) -> Continuations | Failed:
        """The log-probability of every answer after every text, tokenised apart; of an answer of several tokens the sum of theirs.

        Failed where a text is longer than the model takes, or a text or an answer is empty.
        """
        engine = self._engine
        prompts = [self._begun(engine.tokens.encode(text)) for text in texts]
        said = [list(engine.piece(answer)) for answer in answers]
        if not prompts or not all(prompts) or not said or not all(said):
            return Failed("readout", "a text or an answer has no tokens")
        longest = max(map(len, prompts)) + max(map(len, said))
        if engine.limit is not None and longest > engine.limit:
            return Failed("readout", f"{longest} tokens are more than the {engine.limit} that {engine.name} takes")
        found = self._found(prompts, said, longest, report)
        return found if np.isfinite(found.logprobs).all() else Failed("readout", f"{engine.name} gave no finite probabilities")

    def planned(self, calls: Sequence[Sequence[str]], answers: Sequence[str]) -> int:
        """Tokens that `after` will compute for some texts a call, with nothing kept from before; the texts computed alone, to check the
        trees, are left out."""
        said = [list(self._engine.piece(answer)) for answer in answers]
        computed, known = 0, list[list[int]]()
        for texts in calls:
            prompts = [self._begun(self._engine.tokens.encode(text)) for text in texts]
            start = prompts[0][: _common(prompts) // CHUNK * CHUNK]
            computed += len(start) - max((shared(start, ids) // CHUNK * CHUNK for ids in known), default=0)
            known.append(start)
            tails = [[*prompt[len(start) :], *answer[:-1]] for prompt in prompts for answer in said]
            computed += sum(len(branches([tails[number] for number in row]).ids) for row in rows(tails, ROW_TOKENS))
        return computed

    def _found(self, prompts: Sequence[list[int]], said: Sequence[list[int]], longest: int, report: Report) -> Continuations:
        # The mask of a tree takes the square of its tokens; a text alone needs none.
        if self._trees and longest <= LONGEST_TREE:
            try:
                return self._by_tree(prompts, said, report)
            except _NoTreesError:
                self._trees = False
        alone = np.empty((len(prompts), len(said)))
        for number, prompt in enumerate(prompts):
            alone[number] = [self._alone(prompt, answer) for answer in said]
            report(EVALUATING, number + 1, len(prompts))
        return Continuations(alone, sum(len(prompt) + len(answer) - 1 for prompt in prompts for answer in said))

    def _begun(self, ids: list[int]) -> list[int]:
        """With what the tokenizer puts before a text, where a chat template has not put it there already."""
        start = list(self._engine.tokens.start)
        return ids if ids[: len(start)] == start else [*start, *ids]

    def _by_tree(self, prompts: Sequence[Sequence[int]], said: Sequence[Sequence[int]], report: Report) -> Continuations:
        """All texts as trees; raises _NoTreesError for a model that does not compute them as it computes texts."""
        start, computed = self._start(prompts)
        # The last token of an answer is read, not computed.
        tails = [[*prompt[len(start.ids) :], *answer[:-1]] for prompt in prompts for answer in said]
        logprobs = np.zeros((len(prompts), len(said)))
        done = 0
        for row in rows(tails, ROW_TOKENS):
            tree = branches([tails[number] for number in row])
            computed += len(tree.ids)
            # An answer is read at the end of its path: after the prompt, and after each of its tokens but the last.
            read = [
                (number, place, token)
                for path, number in zip(tree.paths, row, strict=True)
                for place, token in zip(path[-len(said[number % len(said)]) :].tolist(), said[number % len(said)], strict=True)
            ]
            places, index = np.unique([place for _, place, _ in read], return_inverse=True)
            found = self._tree_logprobs(start, tree, places)[index, [token for _, _, token in read]].tolist()
            for (number, _, _), logprob in zip(read, found, strict=True):
                logprobs[divmod(number, len(said))] += logprob
            # The last text of a row is furthest from the tokens that it shares.
            prompt, answer = divmod(row[-1], len(said))
            computed += self._check(start, prompts[prompt], said[answer], len(tree.ids), logprobs[prompt, answer])
            done += len(row)
            report(EVALUATING, done // len(said), len(prompts))
        return Continuations(logprobs, computed)

    def _start(self, prompts: Sequence[Sequence[int]]) -> tuple[Prefix, int]:
        """Keys and values of what all prompts begin with, in whole chunks and without any prompt's last token, and the tokens computed."""
        ids = prompts[0][: _common(prompts) // CHUNK * CHUNK]
        found = self._engine.prefixes.longest(ids)
        start = self._engine.extend(found, ids[len(found.ids) :])
        self._engine.prefixes.keep(start)
        return start, len(ids) - len(found.ids)

    def _tree_logprobs(self, start: Prefix, tree: Branches, places: Ids) -> Tensor:
        """[place, vocabulary] float32 log-probabilities of the next token at these places of a tree of texts behind a prefix."""
        engine = self._engine
        seen = np.concatenate([np.ones((len(tree.ids), len(start.ids)), np.bool_), tree.visible], axis=1)
        dtype = engine.computes_in
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(torch.from_numpy(~seen), torch.finfo(dtype).min)
        try:
            return self._read(
                places,
                input_ids=engine.tensor([tree.ids.tolist()]),
                position_ids=engine.tensor([(tree.depth + len(start.ids)).tolist()]),
                attention_mask=mask[None, None].to(engine.model.device),
                past_key_values=start.reading(1),
                use_cache=True,
            )
        except (TypeError, ValueError) as error:
            # A model that takes no positions, or only masks of texts.
            raise _NoTreesError from error

    def _alone(self, prompt: Sequence[int], answer: Sequence[int], start: Prefix = EMPTY) -> float:
        """One answer after one text, computed by themselves behind what is kept of the prompt's start."""
        ids = [*prompt[len(start.ids) :], *answer[:-1]]
        places = np.arange(len(ids) - len(answer), len(ids))
        kept = {"past_key_values": start.reading(1)} if start.ids else {}
        found = self._read(places, input_ids=self._engine.tensor([ids]), use_cache=bool(kept), **kept)
        return float(found[range(len(answer)), list(answer)].sum())

    def _read(self, places: Ids, **inputs: Any) -> Tensor:
        head = self._engine.model.get_output_embeddings()
        with self._engine.head_as(lambda hidden: wide_product(hidden, head.weight, getattr(head, "bias", None))):
            output = self._engine.model(**inputs, logits_to_keep=self._engine.tensor(places.tolist()))
        return F.log_softmax(output.logits[0].float(), dim=-1)

    def _check(self, start: Prefix, prompt: Sequence[int], answer: Sequence[int], row: int, logprob: float) -> int:
        """Compare a log-probability with that of the text alone, once for texts and rows about as long; the tokens computed for it.

        The text is computed behind the prefix, which the model computed with positions and masks of its own.
        """
        sizes = (len(prompt).bit_length(), row.bit_length())
        if sizes in self._checked:
            return 0
        close = abs(self._alone(prompt, answer, start) - logprob) <= len(answer) * TOLERANCE[self._engine.computes_in]
        if not close:  # also where one of them is no number
            raise _NoTreesError
        self._checked.add(sizes)
        return len(prompt) - len(start.ids) + len(answer) - 1


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with, any prompt's last token left out."""
    first, *others = prompts
    return min([len(first) - 1, *(min(shared(first, other), len(other) - 1) for other in others)])
