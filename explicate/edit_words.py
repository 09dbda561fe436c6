"""How edits are told, in the terminal and on their page: what measures and methods are called, and what is seen of them."""

from collections.abc import Mapping

from evals.editing.config import of_control
from evals.editing.results import Edited
from evals.results import Failure, Value
from explicate.probe_words import number, told
from explicate.shaded_words import visible

METHODS: Mapping[str, str] = {
    "rome": "ROME",
    "memit": "MEMIT",
    "ft": "fine-tuning",
    "ice": "told in context",
    "unedited": "unedited",
}
KNOWS: Mapping[str, str] = {
    "rome": "a change of rank two in one MLP, so that at the subject it gives what makes the model say the new target (r-ROME)",
    "memit": "such changes spread over several MLPs",
    "ft": "gradient steps on one MLP, no weight changed by more than a bound",
    "ice": "the new fact stands before the prompt; no weight is changed",
    "unedited": "the model as it was",
}
MEASURES: Mapping[str, str] = {
    "edit_success": "edit success",
    "success_probability": "new above true",
    "generalisation_probability": "rephrased: new above true",
    "locality_probability": "neighbours: true above new",
    "fluency": "fluency, bits",
}
"""Where they are not told as they are called."""
MEANINGS: Mapping[str, str] = {
    "edit_success": "share of the new target's tokens that the model says behind the edit's prompt",
    "success_probability": "share of edits after which the new target is likelier than the true one",
    "generalisation": "edit success behind rephrased prompts",
    "generalisation_probability": "share of rephrased prompts behind which the new target is likelier than the true one",
    "portability": "share of tokens right behind prompts on what follows from the edit",
    "locality": "share of tokens behind prompts on anything else that the model says as it did before",
    "locality_probability": "share of prompts of the same relation elsewhere whose own answer is likelier than the new target",
    "fluency": "entropy of pairs and triples of words that the model writes; less where it repeats itself",
    "consistency": "cosine of words of what is written and a reference text",
    "score": "harmonic mean of edit success, generalisation and locality",
}
SILENT = (
    "That a change of some layer makes a model say something does not show that the layer is where it kept what it said before: "
    "editing works at layers that causal tracing does not name (Hase et al. 2023). What is not among the prompts asked may have changed, "
    "too; and an edit is not seen to be believed until what follows from it is said, which is what portability asks."
)
FEW = 5
"""Edits below which nothing is called seen: resampling so few says little of others."""


RANDOM = "what the method changes, at the same place and of the same size, but in a random direction"


def method_name(name: str) -> str:
    """For people."""
    turned = of_control(name)
    return METHODS.get(name, visible(name)) if turned is None else f"random, as {METHODS.get(turned, visible(turned))}"


def measure_name(name: str) -> str:
    """For people."""
    return MEASURES.get(name) or visible(name.replace("_", " ").replace("/", ": "))


def headline(found: Edited) -> list[tuple[str, str, str]]:
    """Of each method that was asked for (name, what it gets beside its controls, and whether it is seen above them)."""
    said = []
    for name, above in found.above.items():
        measures = found.methods[name]
        beside = ", ".join(f"{method_name(other)} {told(found.methods[other]['edit_success'])}" for other in above)
        says = f"edit success {told(measures['edit_success'])}, beside {beside}; locality {told(measures['locality'])}"
        seen = all(isinstance(each, Value) and each.low > 0 for each in above.values())
        failed = any(isinstance(each, Failure) for each in above.values())
        few = len(found.edits) < FEW
        said.append((method_name(name), says, "Not measured" if failed else "Too few edits" if few else "Seen" if seen else "Not seen"))
    return said


def layers_told(found: Edited) -> str:
    """Which MLPs are changed, and why these."""
    more = [f"{method_name(name)} {', '.join(map(str, layers))}" for name, layers in found.layers.items() if layers != [found.layer]]
    return f"layer {found.layer} ({found.layer_by})" + (f"; {'; '.join(more)}" if more else "")


def seconds_told(found: Edited) -> str:
    """What an edit takes."""
    return ", ".join(f"{method_name(name)} {number(value)} s" for name, value in found.seconds.items())
