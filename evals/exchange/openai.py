"""NeuronRecord and NeuronSimulationResults of OpenAI's automated interpretability, and of Transformer Debugger.

A record file is one JSON object a neuron, a results file one a line: explanations with their simulations, under `simulation` or, as
Transformer Debugger has it, `sequence_simulation`. Their splits interleave the loudest records four ways, and every fourth from the first
on is what the explainer was shown (Bills et al. 2023, in the code that was published with it); random records are never shown. Of a
results file alone it is not known what was shown, nor of records without any of the moments that the published ones have: somebody else
made them. This program's exports say it in a file `shown/LAYER/NEURON.json` beside `explanations/LAYER/NEURON.jsonl`. Files below a folder
`negative` are of the negative sides, in their unit: the format has none.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.exchange import FORMATS, Format, Options
from evals.exchange.reading import Node, files_of, json_file, values_of
from evals.exchange.record import Feature, Record, Told, mark_shown

SHOWN_EVERY = 4
"""Of the loudest records, the first and every so many after it are the explainer's."""
NEGATIVE = "negative"
SHOWN = "shown"
"""Folder of the files that say what was shown."""
SCORES = ("ev_correlation_score", "rsquared_score", "absolute_dev_explained_score")
MOMENTS = ("mean", "variance", "skewness", "kurtosis", "quantile_boundaries")


def claims(path: Path, head: Any) -> bool:
    """Whether the file holds a record or results of a neuron."""
    del path
    return isinstance(head, dict) and ("most_positive_activation_records" in head or "scored_explanations" in head)


def read(source: Path, options: Options) -> Iterator[Feature]:
    """The neurons of a file, or of all files of a folder that hold some."""
    alone = source.is_file()
    for path in files_of(source, ".json", ".jsonl", ".json.gz", ".jsonl.gz"):
        for node in values_of(path):
            if node.has("most_positive_activation_records") or node.has("scored_explanations") or alone:
                feature = _neuron(node)
                if options.wants(feature.index):
                    yield _recorded(node, feature) if node.has("most_positive_activation_records") else _explained(node, feature)


def finish(feature: Feature) -> None:
    """Where the data itself says what was shown, the rule of the published data does not hold."""
    if feature.stated:
        mark_shown(feature)
        feature.shown_known = bool(feature.records) and None not in feature.stated


def shown_file(results: Path) -> Path:
    """Where an export says what was shown of the neuron of a results file."""
    return results.parent.parent.parent / SHOWN / results.parent.name / f"{results.name.partition('.')[0]}.json"


def _neuron(node: Node) -> Feature:
    neuron = node.get("neuron_id")
    layer, index = neuron.get("layer_index").whole(), neuron.get("neuron_index").whole()
    return Feature(
        f"L{layer}.mlp.{index}", "-" if NEGATIVE in node.file.parts else "+", layer=layer, index=index, facts=node.some(*MOMENTS)
    )


def _recorded(node: Node, feature: Feature) -> Feature:
    """From a NeuronRecord."""
    for number, record in enumerate(node.get("most_positive_activation_records").items()):
        feature.records.append(_record(record, "top", loudest=True, shown=number % SHOWN_EVERY == 0))
    feature.shown_known = bool(feature.records) and bool(feature.facts)
    groups = [("random", node.get("random_sample"))]
    quantiles = node.maybe("random_sample_by_quantile")
    groups += [] if quantiles is None else [(f"quantile {number}", each) for number, each in enumerate(quantiles.items())]
    feature.records += [_record(record, group) for group, records in groups for record in records.items()]
    return feature


def _record(node: Node, group: str, *, loudest: bool = False, shown: bool = False) -> Record:
    tokens = node.get("tokens").texts()
    return Record(tokens, node.get("activations").numbers(len(tokens)), group, loudest=loudest, shown=shown)


def _explained(node: Node, feature: Feature) -> Feature:
    """From NeuronSimulationResults."""
    beside = shown_file(node.file.absolute())
    feature.stated = json_file(beside).shown() if beside.is_file() else []
    for number, explanation in enumerate(node.get("scored_explanations").items()):
        simulation = explanation.get("scored_simulation")
        scored = [_scored(each, number) for each in simulation.get("scored_sequence_simulations").items()]
        feature.records += scored
        feature.told.append(
            Told(explanation.get("explanation").text(), "openai", scores_of(simulation), tuple(record.text for record in scored))
        )
    return feature


def scores_of(node: Node) -> dict[str, float | None]:
    """The published scores among an object's keys."""
    return {name: node.get(name).score() for name in SCORES if node.has(name)}


def _scored(node: Node, explanation: int) -> Record:
    told = node.get("sequence_simulation" if node.has("sequence_simulation") else "simulation")
    return scored_record(told, node, explanation)


def scored_record(told: Node, node: Node, explanation: int, group: str = "scored") -> Record:
    """A text that was simulated: true activations, and what was predicted."""
    tokens = told.get("tokens").texts()
    expected = told.get("expected_activations").numbers(len(tokens)).tolist()
    details = {"explanation": explanation, "expected_activations": expected, **told.some("activation_scale")}
    details["scores"] = scores_of(node)
    return Record(tokens, node.get("true_activations").numbers(len(tokens)), group, details=details)


FORMATS.add("openai")(Format(claims, read, finish))
