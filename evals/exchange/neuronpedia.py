"""Neuronpedia: exports of features, activations and explanations, one JSON object a line (packed or not), and the JSON of its API.

A line is an activation (it has `tokens` and `values`), an explanation (`description`), or else a feature; an object of the API is a feature
that brings its `activations` and `explanations` along. Models, sources and releases are passed over. Its explainers are shown the loudest
records, 20 at most, and its scorers are given the same ones; explanations of this program's export say what was shown (SHOWN_KEY).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evals.exchange import FORMATS, Format, Options
from evals.exchange.reading import Node, files_of, values_of
from evals.exchange.record import Feature, Record, Told, distinct, mark_shown

SHOWN = 20
"""Loudest texts that may have been shown to its explainers."""
OTHERS = ("model.jsonl", "source.jsonl", "sourceset.jsonl", "release.jsonl", "inference_hosts.jsonl", "inference_hosts_on_source.jsonl")
"""Files of an export that are not about features."""
ROUNDING = 0.01
"""Share of a maximum by which the stated one may differ from the values'."""

ACTIVATION = (
    "id", "creatorId", "dataSource", "dataIndex", "maxValue", "minValue", "maxValueTokenIndex", "dfaValues", "dfaMaxValue",
    "dfaTargetIndex", "binContains", "binMin", "binMax", "qualifyingTokenIndex", "lossValues",
)  # fmt: skip
EXPLANATION = (
    "id",
    "authorId",
    "typeName",
    "explanationModelName",
    "notes",
    "umap_x",
    "umap_y",
    "umap_cluster",
    "umap_log_feature_sparsity",
)
FEATURE = (
    "maxActApprox", "creatorId", "frac_nonzero", "freq_hist_data_bar_heights", "freq_hist_data_bar_values",
    "logits_hist_data_bar_heights", "logits_hist_data_bar_values", "neuron_alignment_indices", "neuron_alignment_l1",
    "neuron_alignment_values", "correlated_neurons_indices", "correlated_neurons_l1", "correlated_neurons_pearson",
    "correlated_features_indices", "correlated_features_l1", "correlated_features_pearson", "decoder_weights_dist", "neg_str",
    "neg_values", "pos_str", "pos_values", "sourceSetName", "topkCosSimIndices", "topkCosSimValues", "vectorLabel", "hookName",
    "vectorDefaultSteerStrength", "hasVector",
)  # fmt: skip
"""What is kept of a line beside what has a place of its own."""


def claims(path: Path, head: Any) -> bool:
    """Whether the file holds features, activations or explanations."""
    del path
    first = head[0] if isinstance(head, list) and head else head
    return isinstance(first, dict) and {"modelId", "layer", "index"} <= first.keys()


def read(source: Path, options: Options) -> Iterator[Feature]:
    """The features of a file, or of all files of a folder."""
    for path in files_of(source, ".json", ".jsonl", ".json.gz", ".jsonl.gz"):
        if path.name.removesuffix(".gz") in OTHERS and path != source:
            continue
        for value in values_of(path):
            for node in value.items() if isinstance(value.value, list) else (value,):
                feature = _named(node)
                if options.wants(feature.index):
                    _fill(node, feature)
                    yield feature


def finish(feature: Feature) -> None:
    """Where an explanation does not say what was shown, the loudest texts count as shown."""
    if feature.told:
        all_say = len(feature.stated) >= len(feature.told)
        loud = () if all_say else sorted(distinct(feature.records), key=lambda record: -record.peak)[:SHOWN]
        mark_shown(feature, [record.text for record in loud])
        feature.shown_known = bool(feature.records) and None not in feature.stated


def _named(node: Node) -> Feature:
    model, layer, index = node.get("modelId").name(), node.get("layer").name(), node.get("index").name()
    digits = layer.partition("-")[0]
    return Feature(
        f"{model}/{layer}/{index}",
        model=model,
        layer=int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None,
        index=int(index) if index.isascii() and index.isdigit() and len(index) < 19 else None,
    )


def _fill(node: Node, feature: Feature) -> None:
    if node.has("tokens", "values"):
        feature.records.append(_record(node, feature))
    elif node.has("description"):
        feature.told.append(_told(node))
        feature.stated += node.shown()
    else:
        feature.facts = node.some(*FEATURE)
        firing = node.maybe("frac_nonzero")
        feature.firing = None if firing is None else firing.number()
        for activation in _listed(node.maybe("activations")):
            feature.records.append(_record(activation, feature))
        for explanation in _listed(node.maybe("explanations")):
            feature.told.append(_told(explanation))
            feature.stated += explanation.shown()


def _listed(node: Node | None) -> Iterator[Node]:
    return iter(()) if node is None else node.items()


def _record(node: Node, feature: Feature) -> Record:
    tokens = node.get("tokens").texts()
    values = node.get("values").numbers(len(tokens))
    stated, low, high, share = node.maybe("maxValue"), node.maybe("binMin"), node.maybe("binMax"), node.maybe("binContains")
    if stated is not None and abs(stated.number() - values.max()) > ROUNDING * max(np.abs(values).max(), 1.0):
        feature.notes.append(("inconsistent", f"a record states {stated.number():g} as its maximum, and its values reach {values.max():g}"))
    top = share is None or share.number() < 0
    group = "top" if top or low is None or high is None else f"bin {low.number():g} to {high.number():g}"
    return Record(tokens, values, group, loudest=group == "top", details=node.some(*ACTIVATION))


def _told(node: Node) -> Told:
    published: dict[str, float | None] = {}
    scored: list[str] = []
    for score in _listed(node.maybe("scores")):
        method, model = score.maybe("explanationScoreTypeName"), score.maybe("explanationScoreModelName")
        names = [part.name() for part in (method, model) if part is not None]
        published[f"{names[0]}({names[1]})" if len(names) == 2 else "".join(names) or "score"] = score.get("value").score()
        scored += _scored(score)
    by = [part.name() for part in (node.maybe("typeName"), node.maybe("explanationModelName")) if part is not None]
    who = f"{by[0]}({by[1]})" if len(by) == 2 else "".join(by) or "neuronpedia"
    return Told(node.get("description").text(), who, published, tuple(scored), node.some(*EXPLANATION))


def _scored(score: Node) -> Iterator[str]:
    """Texts that a score is of, where its details, a text that is JSON again, list them."""
    details = score.maybe("jsonDetails")
    if details is None or not details.text(longest=1 << 24).strip():
        return
    inner = _inner(details)
    if isinstance(inner.value, dict):
        rows = [row for key in ("top", "zero") if inner.maybe(key) is not None for row in inner.get(key).items()]
    else:
        rows = list(inner.items()) if isinstance(inner.value, list) else []
    for row in rows:
        tokens = row.maybe("str_tokens", "tokens") if isinstance(row.value, dict) else None
        if tokens is not None and tokens.value:
            yield "".join(tokens.texts())


def _inner(details: Node) -> Node:
    import json

    try:
        return Node(json.loads(details.value), details.file, details.line, f"{details.path}(as JSON)")
    except (ValueError, RecursionError):
        raise details.fail("a text that is JSON") from None


FORMATS.add("neuronpedia")(Format(claims, read, finish))
