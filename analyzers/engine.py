"""A language model in this process: log-probabilities of options along a given text, and generated text.

What prompts have in common is computed once (analyzers.prefixes), and no log-probability is computed that nobody reads.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import DynamicCache

from analyzers.errors import Failed, ProviderError
from analyzers.evidence import FloatArray
from analyzers.generating import Generated, Writer
from analyzers.last_logits import last_only
from analyzers.loading import DTYPES, MIXED, choose_device, dtype_name, engine_dtype, load_pretrained
from analyzers.mixed import widen
from analyzers.padding import BATCH_TOKENS, like_lengths
from analyzers.prefixes import CHUNK, Prefix, Prefixes
from analyzers.progress import Report, quiet
from analyzers.tokens import Tokens

KEPT_TOKENS = 4096
"""Tokens whose keys and values are kept between calls: 0.1 GB for a model of half a billion parameters."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Log-probabilities read along one text."""

    logprobs: FloatArray
    """[position, option] natural logarithms, normalised over the options."""
    prompt_tokens: int
    """Tokens computed for it. What several texts share counts for the first of them, and for none where it was kept from before."""


class Engine:
    """A causal language model held in memory, with the keys and values of what its prompts have in common."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, identity: Mapping[str, str]) -> None:
        """Take a loaded model; ProviderError for one whose state is more than keys and values, which cannot be shared."""
        if any(DynamicCache(config=model.config).is_linear):
            raise ProviderError(
                f"{name!r} keeps a recurrent state, which prompts cannot share; choose a model with attention in all layers"
            )
        self.name = name
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.tokens = Tokens(tokenizer)
        self.identity = {"name": name, "dtype": dtype_name(model.dtype), **identity}
        self.limit: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        """Tokens that a prompt and its answer may have together."""
        self.piece = lru_cache(maxsize=1 << 16)(lambda text: tuple(self.tokens.encode(text)))
        """Token ids of a short text."""
        self.prefixes = Prefixes(KEPT_TOKENS)
        ends = model.generation_config.eos_token_id
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}

    @classmethod
    def load(cls, name_or_path: str, *, dtype: str = "auto", device: str = "auto", report: Report = quiet) -> "Engine":
        """Load a causal language model by name or folder; device and errors as in Subject.load, dtype as in loading.engine_dtype."""
        from analyzers.assets import model_source

        place = choose_device(device)
        source = model_source(name_or_path, report=report)
        number = engine_dtype(dtype, place, source.path)
        report(f"loading {source.name}", 0, 0)
        stored = DTYPES["bfloat16" if number == MIXED else number]
        model, tokenizer = load_pretrained(str(source.path), name_or_path, stored, place, trust_remote_code=False)
        if number == MIXED:
            widen(model)
        return cls(model, tokenizer, name=source.name, identity={"source": source.source, "revision": source.revision, "dtype": number})

    @property
    def computes_in(self) -> torch.dtype:
        """Number format of its hidden states."""
        dtype: torch.dtype = torch.float32 if self.identity["dtype"] == MIXED else self.model.dtype
        return dtype

    @torch.inference_mode()
    def readouts(
        self, prefix: str, head: str, items: Sequence[tuple[Sequence[str], Sequence[int]]], options: Sequence[str]
    ) -> list[Reading | Failed]:
        """Read the log-probabilities of single-token options along texts that are given in full.

        Each item (pieces, after) is the text prefix + head + pieces, its pieces tokenised one by one, and is read right after the
        pieces whose indices are in `after`. The log-probabilities are conditional on the options: their exponentials sum to 1 at
        every position. Only the options' rows of the LM head are evaluated, in float32. The prefix is computed once and kept, and
        so is the head on top of it; items are run in batches, padded on the right.
        Raises ProviderError for an option that is not one token; a text that is too long is Failed.
        """
        rows = [self._single_token(option) for option in options]
        before = self._computed(prefix, head)
        start, shared_tokens = before
        encoded = [[self.piece(piece) for piece in pieces] for pieces, _ in items]
        outcomes: list[Reading | Failed | None] = [None] * len(items)
        for number, (pieces, (_, after)) in enumerate(zip(encoded, items, strict=True)):
            length = sum(map(len, pieces))
            if self.limit is not None and len(start.ids) + length > self.limit:
                outcomes[number] = Failed(
                    "readout", f"{len(start.ids) + length} tokens are more than the {self.limit} that {self.name} takes"
                )
            elif any(sum(map(len, pieces[: index + 1])) == 0 for index in after):
                outcomes[number] = Failed("readout", "nothing stands before the place to read at")
        todo = [number for number, outcome in enumerate(outcomes) if outcome is None]
        for places in like_lengths([sum(map(len, encoded[number])) for number in todo], BATCH_TOKENS):
            batch = [todo[place] for place in places]
            texts = [[token for piece in encoded[number] for token in piece] for number in batch]
            logprobs = F.log_softmax(self._option_logits(start, texts, rows), dim=-1).cpu().numpy()
            for row, number in enumerate(batch):
                ends = np.cumsum([len(piece) for piece in encoded[number]])
                at = [int(ends[index]) - 1 for index in items[number][1]]
                outcomes[number] = Reading(logprobs[row, at], len(texts[row]) + shared_tokens)
                shared_tokens = 0
        return [outcome for outcome in outcomes if outcome is not None]

    @torch.inference_mode()
    def generate(
        self,
        prompt: str | Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seeds: Sequence[int] = (0,),
        stop: Sequence[str] = (),
        top_logprobs: int = 0,
    ) -> list[Generated] | Failed:
        """Continue a text, or answer messages {role, content}, once for every seed.

        A last message of the assistant is continued; what the system says opens the first message of the user where the chat template
        refuses a system. Temperature 0 takes the likeliest token each time, and all seeds get the same text; else every seed draws from
        a random stream of its own, so that a sample does not depend on the others.
        Failed where the prompt is too long. Raises ProviderError for messages to a model without a chat template, or with one
        that refuses them.
        """
        ids = [*self.tokens.start, *self.tokens.encode(prompt)] if isinstance(prompt, str) else self.tokens.encode(self.written(prompt))
        room = max_tokens if self.limit is None else min(max_tokens, self.limit - len(ids))
        if room <= 0:
            return Failed("generate", f"a prompt of {len(ids)} tokens leaves no room in the {self.limit} that {self.name} takes")
        whole = (len(ids) - 1) // CHUNK * CHUNK
        found = self.prefixes.longest(ids[:whole])
        start = self.extend(found, ids[len(found.ids) : whole])
        self.prefixes.keep(start)
        cache = start.growing()
        logits = self._next_logits(ids[whole:], cache)
        streams = [torch.Generator().manual_seed(seed) for seed in seeds] if temperature > 0 else [None]
        if len(streams) > 1:
            cache.batch_repeat_interleave(len(streams))
            logits = logits.expand(len(streams), -1)
        writers = [
            Writer(self.tokens, self._ends, stream, temperature=temperature, stop=tuple(stop), top=top_logprobs) for stream in streams
        ]
        writing = list(range(len(writers)))
        for step in range(room):
            for row, number in enumerate(writing):
                writers[number].take(logits[row])
            still = [row for row, number in enumerate(writing) if not writers[number].done]
            if not still or step == room - 1:
                break
            if len(still) < len(writing):
                cache.batch_select_indices(torch.tensor(still, device=self.model.device))
                writing = [writing[row] for row in still]
            logits = self._next_logits([writers[number].ids[-1] for number in writing], cache, rows=len(writing))
        computed = len(ids) - len(found.ids)
        results = [writer.result(computed if number == 0 else 0) for number, writer in enumerate(writers)]
        if temperature > 0:
            return results
        first = results[0]
        return [first, *(Generated(first.text, first.tokens, first.finish, 0, 0) for _ in seeds[1:])]

    def _single_token(self, option: str) -> int:
        ids = self.piece(option)
        if len(ids) != 1:
            raise ProviderError(f"option {option!r} is {len(ids)} tokens of {self.name}; options must be single tokens")
        return ids[0]

    def written(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The conversation as the chat template writes it; a last turn of the assistant is left open.

        What the system says opens the first message of the user where the template refuses a system. Raises ProviderError where the
        model has no chat template, or one that refuses the messages.
        """
        if not self.tokenizer.chat_template:
            raise ProviderError(f"{self.name!r} has no chat template; choose a model that was trained to follow instructions")
        turns = [dict(message) for message in messages]
        try:
            try:
                return self._templated(turns)
            except TemplateError:
                if not any(turn["role"] == "system" for turn in turns):
                    raise
                return self._templated(_without_system(turns))
        except TemplateError as error:
            why = " ".join(str(error).split())[:200]
            raise ProviderError(f"the chat template of {self.name!r} refuses the conversation ({why}); choose another model") from error

    def _templated(self, turns: list[dict[str, str]]) -> str:
        continued = bool(turns) and turns[-1]["role"] == "assistant"
        text: str = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=not continued, continue_final_message=continued
        )
        return text

    def _computed(self, prefix: str, head: str) -> tuple[Prefix, int]:
        """The keys and values of prefix + head, and the number of tokens that had to be computed for them."""
        prefix_ids = [*self.tokens.start, *self.tokens.encode(prefix)]
        ids = [*prefix_ids, *self.tokens.encode(head)]
        whole = self.prefixes.exact(ids)
        if whole is not None:
            return whole, 0
        kept = self.prefixes.exact(prefix_ids)
        begun = kept if kept is not None else self.prefixes.longest(prefix_ids)
        start = self.extend(begun, prefix_ids[len(begun.ids) :])
        self.prefixes.keep(start)
        whole = self.extend(start, ids[len(start.ids) :])
        self.prefixes.keep(whole)
        return whole, len(ids) - len(begun.ids)

    def extend(self, prefix: Prefix, ids: Sequence[int]) -> Prefix:
        """Compute further tokens behind a prefix, in chunks."""
        if not ids:
            return prefix
        cache: Any = prefix.growing()
        for at in range(0, len(ids), CHUNK):
            self.model.base_model(input_ids=self.tensor([ids[at : at + CHUNK]]), past_key_values=cache, use_cache=True)
        grows = len(prefix.ids) == prefix.on_grid
        on_grid = (len(prefix.ids) + len(ids)) // CHUNK * CHUNK if grows else prefix.on_grid
        return Prefix((*prefix.ids, *ids), tuple((layer.keys, layer.values) for layer in cache.layers), on_grid)

    def _next_logits(self, ids: Sequence[int], cache: DynamicCache, rows: int = 1) -> Tensor:
        """[row, vocabulary] float32 logits after the last of the new tokens: one row of them, or one token a row."""
        read = self.tensor(ids).view(rows, -1)
        output = self.model(input_ids=read, past_key_values=cache, use_cache=True, **last_only(self.model, read.shape[1]))
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _option_logits(self, start: Prefix, texts: Sequence[Sequence[int]], rows: Sequence[int]) -> Tensor:
        """[text, pos, option] float32 logits along texts behind a prefix; beyond a text's end they mean nothing."""
        lengths = [len(text) for text in texts]
        ids = self.tensor([[*text, *([0] * (max(lengths) - len(text)))] for text in texts])
        mask = torch.ones(len(texts), len(start.ids) + max(lengths), dtype=torch.long, device=ids.device)
        for row, length in enumerate(lengths):
            mask[row, len(start.ids) + length :] = 0
        with self.head_as(self._only(rows)):
            output = self.model(input_ids=ids, attention_mask=mask, past_key_values=start.reading(len(texts)), use_cache=True)
        logits: Tensor = output.logits
        if logits.shape[-1] != len(rows):
            raise ProviderError(
                f"{self.name!r} computes its logits in a way of its own, which readouts cannot follow; choose another model"
            )
        return logits

    def _only(self, rows: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """The LM head with these rows only, in float32."""
        head = self.model.get_output_embeddings()
        weight = head.weight[list(rows)].float()
        bias = None if getattr(head, "bias", None) is None else head.bias[list(rows)].float()
        return lambda hidden: F.linear(hidden.float(), weight, bias)

    @contextmanager
    def head_as(self, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Within the context this stands for the LM head; what the model does to its logits later stays in force."""
        head = self.model.get_output_embeddings()
        whole = head.forward
        head.forward = forward
        try:
            yield
        finally:
            head.forward = whole

    def tensor(self, ids: Any) -> Tensor:
        """On the model's device."""
        return torch.tensor(ids, device=self.model.device)


def _without_system(turns: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """What the system says stands in front of the first turn of the user, for chat templates that know no system."""
    said = [turn["content"] for turn in turns if turn["role"] == "system"]
    others = [dict(turn) for turn in turns if turn["role"] != "system"]
    for turn in others:
        if turn["role"] == "user":
            turn["content"] = "\n\n".join([*said, turn["content"]])
            return others
    return [{"role": "user", "content": "\n\n".join(said)}, *others]
