"""Paraphrase: the question in its own words, and in other words that the model finds for it once a run; each at temperature 0."""

from collections.abc import Sequence
from dataclasses import replace

from agents.confidences import Asked
from agents.llm import LLM, Chat, Reply
from agents.samplings import SAMPLINGS, TEMPERATURE, Sampled, seed_of
from agents.self_explanations import Asking
from agents.self_explanations.chain_of_thought import rewrite, rewritten
from analyzers.errors import Failed
from prompts import Prompt, load

_PROMPT = "confidence_paraphrase"
_TRIES = 2
"""Paraphrases asked for, for each that is needed: some say the same as others."""
_TOKENS = 120


class Paraphrase:
    """The first reply is to the question as it is."""

    name = "paraphrase"
    prompts: tuple[Prompt, ...] = (load(_PROMPT),)

    def preparation(self, llm: LLM, asking: Asking, samples: int, seed: int) -> Sequence[Chat]:
        """The same request under several seeds."""
        request = rewrite(llm, _PROMPT, _TOKENS, question=asking.instruction.strip())
        return [
            request.model_copy(update={"temperature": TEMPERATURE, "seed": seed_of(seed, number)})
            for number in range(_TRIES * (samples - 1))
        ]

    def askings(self, llm: LLM, asking: Asking, samples: int, replies: Sequence[Reply | Failed]) -> tuple[Asking, ...] | Failed:
        """Failed where there are too few paraphrases that differ."""
        found = [rewritten(llm, _PROMPT, asking.instruction, reply) for reply in replies]
        said: dict[str, str] = {}
        for text in found:
            if not isinstance(text, Failed):
                said.setdefault(" ".join(text.casefold().split()), text)
        if len(said) < samples - 1:
            failed = next((text.reason for text in found if isinstance(text, Failed)), "the others say the same")
            return Failed(
                "paraphrase", f"{samples - 1} paraphrases of the question are needed, and the model wrote {len(said)} that differ: {failed}"
            )
        return (asking, *(replace(asking, instruction=text) for text in list(said.values())[: samples - 1]))

    def asked(self, askings: Sequence[Asking], item: Sampled) -> list[Asked] | Failed:
        return [Asked(asking, item.text) for asking in askings]


SAMPLINGS.add(Paraphrase.name)(Paraphrase())
