"""Neuronpedia's layout: features, activations and explanations as packed JSON lines, 1,024 features a batch.

A folder with features/, activations/ and explanations/batch-N.jsonl.gz; or, where the name ends with .jsonl or .jsonl.gz, that file with
the explanations alone. Features that came from there keep their names and what was kept of their lines. Sites of this program are
MODEL/LAYER-KIND/INDEX (`smollm2-135m/7-mlp/1306`; a negative side is of `7-mlp-negative`), their activations are those of the side. Scores
stand as in the JSON of the API, with the texts they are of in the first one's details. Beyond the format, `shown_to_explainer` of an
explanation has the texts that it comes from, or null where that is not known.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from analyzers.whole_files import replaced
from evals.exchange.kept import features_of
from evals.exchange.neuronpedia import ACTIVATION, EXPLANATION, FEATURE
from evals.exchange.record import SHOWN_KEY, Feature, Record, Told, shown_texts
from evals.exports import EXPORTS
from evals.exports.places import make_folder, target_file

BATCH = 1024
"""Features of a file."""
_SUFFIXES = (".jsonl", ".jsonl.gz")
_SCORE = re.compile(r"(.+?)\((.+)\)")
_OURS = re.compile(r"L\d+\.([a-z]+)\.\d+", re.ASCII)

Row = dict[str, Any]


@EXPORTS.add("neuronpedia")
def export_neuronpedia(run: Path, out: str | None) -> list[str]:
    """NAME-neuronpedia in the current folder, where nothing else is said; raises RunFolderError for a run without sites."""
    if out is not None and out.endswith(_SUFFIXES):
        path = target_file(run, out, ".jsonl")
        _write(path, (row for feature in features_of(run) for row in _explanations(feature)))
        return [str(path)]
    folder = Path(f"{run.absolute().name}-neuronpedia" if out is None else out)
    features, written = features_of(run), []
    for number, batch in enumerate(_batches(features)):
        for name, rows in {"features": _features, "activations": _activations, "explanations": _explanations}.items():
            if name == "explanations" and not any(feature.told for feature in batch):
                # An empty file is none of theirs.
                continue
            make_folder(folder / name)
            path = folder / name / f"batch-{number}.jsonl.gz"
            _write(path, (row for feature in batch for row in rows(feature)))
            written.append(str(path))
    return written


def place(feature: Feature) -> Row:
    """modelId, layer and index of a site."""
    parts = feature.site.rsplit("/", 2)
    if len(parts) == 3 and parts[0] == feature.model and feature.polarity == "+":
        return dict(zip(("modelId", "layer", "index"), parts, strict=True))
    model, ours = feature.model or "unknown", _OURS.fullmatch(feature.site)
    side = "-negative" if feature.polarity == "-" else ""
    if ours is not None:
        return {"modelId": model, "layer": f"{feature.layer}-{ours[1]}{side}", "index": str(feature.index)}
    of = re.sub(r"[_/.]*(?:latent)?\d*$", "", feature.site) or feature.site
    return {"modelId": model, "layer": f"{of}{side}", "index": str(feature.index if feature.index is not None else feature.site)}


def _features(feature: Feature) -> Iterator[Row]:
    firing = {} if feature.firing is None else {"frac_nonzero": feature.firing}
    peak = max((record.peak for record in feature.records), default=0.0)
    yield {**place(feature), "maxActApprox": peak, **_only(FEATURE, feature.facts), **firing}


def _activations(feature: Feature) -> Iterator[Row]:
    for number, record in enumerate(feature.records):
        yield {
            **place(feature),
            "id": _id(feature.key, str(number), record.text),
            **_bin(record),
            **_numbers(record),
            **_only(ACTIVATION, record.details),
        }


def _only(keys: Sequence[str], facts: Mapping[str, Any]) -> Row:
    return {key: facts[key] for key in keys if key in facts}


def _numbers(record: Record) -> Row:
    values = record.values.tolist()
    loudest = max(range(len(values)), key=values.__getitem__)
    return {
        "tokens": list(record.tokens),
        "values": values,
        "maxValue": values[loudest],
        "minValue": min(values),
        "maxValueTokenIndex": loudest,
    }


def _bin(record: Record) -> Row:
    bounds = re.fullmatch(r"bin (\S+) to (\S+)", record.group)
    if bounds is not None:
        return {"binMin": float(bounds[1]), "binMax": float(bounds[2]), "binContains": 0.0}
    return (
        {"binMin": -1.0, "binMax": record.peak, "binContains": -1.0}
        if record.loudest
        else {"binMin": 0.0, "binMax": record.peak, "binContains": 0.0}
    )


def _explanations(feature: Feature) -> Iterator[Row]:
    for number, told in enumerate(feature.told):
        by = _SCORE.fullmatch(told.by)
        who = {"typeName": told.by} if by is None else {"typeName": by[1], "explanationModelName": by[2]}
        yield {
            **place(feature),
            "id": _id(feature.key, str(number), told.text),
            "description": told.text,
            **who,
            **_only(EXPLANATION, told.details),
            "scores": list(_scores(told)),
            SHOWN_KEY: shown_texts(feature),
        }


def _scores(told: Told) -> Iterator[Row]:
    for number, (name, value) in enumerate(told.published.items()):
        parts = _SCORE.fullmatch(name)
        details = json.dumps([{"str_tokens": [text]} for text in told.scored if text], ensure_ascii=False) if number == 0 else ""
        yield {
            "value": value,
            "explanationScoreTypeName": name if parts is None else parts[1],
            "explanationScoreModelName": None if parts is None else parts[2],
            "jsonDetails": details,
        }


def _id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:25]


def _batches(features: Iterator[Feature]) -> Iterator[Sequence[Feature]]:
    while batch := list(islice(features, BATCH)):
        yield batch


def _write(path: Path, rows: Iterator[Row]) -> None:
    """JSON lines, packed where the name says so; the same rows give the same bytes."""
    with replaced(path) as temporary, temporary.open("wb") as file:
        packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if path.name.endswith(".gz") else None
        for row in rows:
            (packed or file).write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        if packed is not None:
            packed.close()
