"""Several explanations of one site from one conversation: asked for, read, checked for leakage, and merged where they agree."""

from collections.abc import Sequence

from agents.explainers.leakage import leak, quotation
from agents.explainers.reply import read_explanation
from agents.explanation import Explanation
from agents.llm import LLM, Chat, ChatReply, Message
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from prompts import Prompt

TEMPERATURE = 0.8
"""Of all candidates but the first, which is greedy."""
LOUD = 0.3
"""Share of the loudest activation from which a token is one that the site fires on."""


async def candidates(
    llm: LLM,
    messages: Sequence[Message],
    *,
    count: int,
    seed: int,
    max_tokens: int,
    explainer: str,
    prompt: Prompt,
    few_shots: Sequence[str],
    excerpts: Sequence[Excerpt],
) -> list[Explanation | Failed]:
    """`count` outcomes in the order they were asked, the greedy one first, without those that only repeat an earlier explanation.

    The prompt's section `lead` is how an answer begins: put in the model's mouth where it can be (capability `prefill`).
    `few_shots` are the texts of the prompt's examples: an explanation that takes from them what no excerpt has is a Failed, and so
    is one that only quotes text on which the site is silent.
    """
    lead = prompt.render("lead")
    answers = [example["explanation"] for example in prompt.examples]
    texts = [excerpt.text for excerpt in excerpts]
    peak = max(float(excerpt.activations.max()) for excerpt in excerpts)
    loud = [token for e in excerpts for token, a in zip(e.tokens, e.activations.tolist(), strict=True) if a >= LOUD * peak]
    stop: tuple[str, ...] = ()
    if "prefill" in llm.capabilities:
        messages, stop = [*messages, Message(role="assistant", content=lead)], ("\n",)
    requests = [
        Chat(messages=tuple(messages), max_tokens=max_tokens, temperature=TEMPERATURE if i else 0.0, seed=seed + i, stop=stop)
        for i in range(count)
    ]
    outcomes: list[Explanation | Failed] = []
    seen: set[str] = set()
    for reply in await llm.answer(requests):
        if isinstance(reply, Failed):
            outcomes.append(reply)
            continue
        if not isinstance(reply, ChatReply):
            raise TypeError(f"{llm.name!r} answered a chat with {reply.kind!r}")
        text = read_explanation(reply, lead=lead)
        if isinstance(text, Failed):
            outcomes.append(text)
        elif (leaked := leak(text, answers=answers, few_shots=few_shots, excerpts=texts)) is not None:
            outcomes.append(Failed("explain", f"few-shot leakage: {text[:80]!r} {leaked}"))
        elif (quoted := quotation(text, loud=loud, excerpts=texts)) is not None:
            outcomes.append(Failed("explain", f"copied text: {text[:80]!r} {quoted}"))
        elif (key := " ".join(text.casefold().split())) not in seen:
            seen.add(key)
            outcomes.append(Explanation(text, explainer, prompt.hash))
    return outcomes
