"""The JSON of OpenAI's automated interpretability: NeuronRecord and NeuronSimulationResults, laid out like its public data.

A folder with collated-activations/LAYER/NEURON.json and explanations/LAYER/NEURON.jsonl, and the same below negative/ for negative sides,
which the format does not have: their activations are of the side, so that they fire above 0. Records that are among the loudest become
most_positive_activation_records, all others random_sample. Other readers of this format take every fourth of the loudest, from the first
on, for what the explainer was shown, which is so only of data that came in this format. The code that was published with it refuses
objects with further keys and files with further lines, so a file of its own says it: shown/LAYER/NEURON.json with `neuron_id` and
`shown_to_explainer`, a list of texts, or null where that is not known. Keep it beside the others. Of a labelling run the tested excerpts
stand with what was simulated, and its Pearson score as ev_correlation_score.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analyzers.errors import ExplicateError
from analyzers.whole_files import replaced
from evals.exchange.kept import features_of
from evals.exchange.openai import MOMENTS, NEGATIVE, SCORES, shown_file
from evals.exchange.record import SHOWN_KEY, Feature, Record, Told, shown_texts
from evals.exports import EXPORTS
from evals.exports.places import make_folder

Row = dict[str, Any]


@EXPORTS.add("openai")
def export_openai(run: Path, out: str | None) -> list[str]:
    """NAME-openai in the current folder, where nothing else is said.

    Raises ExplicateError for a site that has no layer and index as numbers, and where two have the same.
    """
    folder = Path(f"{run.absolute().name}-openai" if out is None else out)
    written: dict[Path, str] = {}
    for feature in features_of(run):
        layer, index = _place(feature)
        side = folder / NEGATIVE if feature.polarity == "-" else folder
        files = {side / "collated-activations" / layer / f"{index}.json": _record(feature)}
        if feature.told:
            results = side / "explanations" / layer / f"{index}.jsonl"
            files[results] = _results(feature)
            files[shown_file(results)] = {"neuron_id": _neuron(feature), SHOWN_KEY: shown_texts(feature)}
        for path, value in files.items():
            if path in written:
                raise ExplicateError(
                    f"{feature.key!r} and {written[path]!r} are both neuron {index} of layer {layer}, which this format cannot hold"
                )
            written[path] = feature.key
            make_folder(path.parent)
            with replaced(path) as temporary:
                temporary.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return [str(path) for path in written]


def _place(feature: Feature) -> tuple[str, str]:
    if feature.layer is None or feature.index is None:
        raise ExplicateError(
            f"{feature.key!r} has no number of a layer and of a neuron, by which this format names all: choose another --format"
        )
    return str(feature.layer), str(feature.index)


def _neuron(feature: Feature) -> Row:
    return {"dataclass_name": "NeuronId", "layer_index": feature.layer, "neuron_index": feature.index}


def _record(feature: Feature) -> Row:
    groups: Mapping[str, list[Row]] = defaultdict(list)
    quantiles: dict[str, list[Row]] = {}
    for record in feature.records:
        row = {"dataclass_name": "ActivationRecord", "tokens": list(record.tokens), "activations": record.values.tolist()}
        if record.group.startswith("quantile "):
            quantiles.setdefault(record.group, []).append(row)
        elif record.group != "scored" or "expected_activations" not in record.details:
            groups["most_positive" if record.loudest else "random"].append(row)
    return {
        "dataclass_name": "NeuronRecord",
        "neuron_id": _neuron(feature),
        "random_sample": groups["random"],
        "random_sample_by_quantile": list(quantiles.values()) or None,
        **{name: feature.facts.get(name) for name in MOMENTS},
        "most_positive_activation_records": groups["most_positive"],
    }


def _results(feature: Feature) -> Row:
    scored = [_explanation(told, list(_simulated(feature.records, number))) for number, told in enumerate(feature.told)]
    return {"dataclass_name": "NeuronSimulationResults", "neuron_id": _neuron(feature), "scored_explanations": scored}


def _explanation(told: Told, sequences: Sequence[Row]) -> Row:
    published = {**({"ev_correlation_score": told.published["pearson"]} if "pearson" in told.published else {}), **told.published}
    return {
        "dataclass_name": "ScoredExplanation",
        "explanation": told.text,
        "scored_simulation": {
            "dataclass_name": "ScoredSimulation",
            "scored_sequence_simulations": sequences,
            **_scores(published),
        },
    }


def _simulated(records: Sequence[Record], number: int) -> Iterator[Row]:
    for record in records:
        if "expected_activations" in record.details and record.details.get("explanation") == number:
            simulation = {
                "dataclass_name": "SequenceSimulation",
                "tokens": list(record.tokens),
                "expected_activations": record.details["expected_activations"],
                "activation_scale": record.details.get("activation_scale", "simulated_normalized_activations"),
                "distribution_values": [],
                "distribution_probabilities": [],
                "uncalibrated_simulation": None,
            }
            yield {
                "dataclass_name": "ScoredSequenceSimulation",
                "simulation": simulation,
                "true_activations": record.values.tolist(),
                **_scores(record.details.get("scores", {})),
            }


def _scores(published: Mapping[str, float | None]) -> Row:
    """Those that the format has a name for."""
    return {name: published[name] for name in SCORES if name in published}
