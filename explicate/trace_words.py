"""How causal tracing is told."""

from collections.abc import Mapping

from evals.results import Failure, Value
from evals.tracing.results import Claim, Traced

CLASSES: Mapping[str, str] = {
    "first_subject": "first subject token",
    "middle_subject": "middle subject tokens",
    "last_subject": "last subject token",
    "next": "next token",
    "further": "further tokens",
    "last": "last token",
}
KINDS: Mapping[str, str] = {"residual": "residual stream", "mlp": "MLPs", "attention": "attention"}
ONE: Mapping[str, str] = {"residual": "one state of the residual stream", "mlp": "MLPs", "attention": "attention"}
"""What is put back in one cell."""
CLAIMS: Mapping[str, str] = {
    "subject_noise": "noise on the subject makes the model forget more than noise on as many other tokens",
    "mlp_last_subject": "MLPs of middle layers store the fact at the subject's last token",
    "attention_last": "attention of later layers brings it to the last token",
    "subject_attention": "the answer needs the last token to attend to the subject",
}
LIFTS: Mapping[str, str] = {
    "elsewhere": "tokens elsewhere",
    "other_tokens": "the other tokens in the same layers",
    "random": "a change as large in a random direction",
    "attention": "attention there",
    "mlp": "MLPs there",
}
"""What an effect is held against."""
SILENT = (
    "That a clean state restores an answer under noise shows that it carries enough for it there, not that the fact is stored in that "
    "layer's weights, nor that an edit works best there (Hase et al. 2023, arXiv 2301.04213). Noise makes states that no text makes. Only "
    "facts that the model knows are traced, by the first token of their targets."
)


def number(value: Value) -> str:
    """A probability or a difference of two, with its interval."""
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def told(value: Value | Failure) -> str:
    """That, or why there is none."""
    return f"none ({value.reason})" if isinstance(value, Failure) else number(value)


def peak_told(claim: Claim) -> str:
    """The layer, its interval, and where the claim has it."""
    if claim.peak is None:
        return ""
    if isinstance(claim.peak, Failure):
        return f"no peak ({claim.peak.reason})"
    within = "" if claim.within is None else f", claimed {claim.within[0]} to {claim.within[1]}"
    return f"peak at layer {claim.peak.value:.0f} [{claim.peak.low:.0f}, {claim.peak.high:.0f}]{within}"


def verdict(claim: Claim) -> tuple[str, str]:
    """The word, and its class in the style sheet."""
    if claim.seen:
        return "Seen", "good"
    measured = all(isinstance(value, Value) for value in (claim.effect, *claim.lifts.values()))
    return ("Not seen", "dim") if measured else ("Not measured", "bad")


def lift_told(name: str, value: Value | Failure) -> str:
    """By how much an effect lies above something else."""
    return f"over {LIFTS.get(name, name)}: {told(value)}"


def headline(found: Traced) -> str:
    """The claim that tracing is known for, with its control."""
    claim = found.claims.get("mlp_last_subject")
    if claim is None:
        elsewhere = told(found.controls.elsewhere_total_effect)
        return f"Noise on the subject takes {told(found.total_effect)} from the probability of the answer, elsewhere {elsewhere}"
    word = verdict(claim)[0]
    random = claim.lifts["random"]
    return (
        f"{word}: {CLAIMS['mlp_last_subject']}. Restored there, MLPs give back {told(claim.effect)} of the "
        f"{told(found.total_effect)} that noise on the subject takes; over a random change as large: {told(random)}; {peak_told(claim)}"
    )
