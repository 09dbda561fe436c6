"""Batches of SAEDashboard (NeuronpediaRunner): batch-N.json with features and their activations, in groups by bins of activation.

The group whose `bin_contains` is below 0 holds the loudest records; the others are drawn from bands of activation. One text is often in
several groups. There are no explanations in it. Features that never fire come with records that are silent.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.exchange import FORMATS, Format, Options
from evals.exchange.neuronpedia import FEATURE
from evals.exchange.reading import Node, files_of, json_file
from evals.exchange.record import Feature, Record

RECORD = ("bin_min", "bin_max", "bin_contains", "qualifying_token_index", "dfa_values", "dfa_maxValue", "dfa_targetIndex")
"""What is kept of a record beside tokens and values."""


def claims(path: Path, head: Any) -> bool:
    """Whether the file is a batch."""
    del path
    if not isinstance(head, dict) or not isinstance(features := head.get("features"), list):
        return False
    return "sae_set" in head or (bool(features) and isinstance(features[0], dict) and "feature_index" in features[0])


def read(source: Path, options: Options) -> Iterator[Feature]:
    """The features of a batch, or of all batches of a folder."""
    alone = source.is_file()
    for path in files_of(source, ".json", ".json.gz"):
        batch = json_file(path)
        if not alone and not claims(path, batch.value):
            continue
        model, layer, suite = batch.maybe("model_id"), batch.maybe("layer"), batch.maybe("sae_set")
        names = [part.name() for part in (layer, suite) if part is not None]
        suffix = batch.maybe("sae_id_suffix")
        called = "-".join(names) + ("" if suffix is None else f"__{suffix.name()}")
        of = (model.name() if model is not None else "", called)
        for node in batch.get("features").items():
            index = node.get("feature_index").whole()
            if options.wants(index):
                yield _feature(node, of, index, layer if layer is not None and isinstance(layer.value, int) else None)


def _feature(node: Node, of: tuple[str, str], index: int, layer: Node | None) -> Feature:
    corpus, firing = node.maybe("dataset"), node.maybe("frac_nonzero")
    return Feature(
        "/".join(part for part in (*of, str(index)) if part),
        model=of[0],
        corpus="" if corpus is None else corpus.name(),
        layer=None if layer is None else layer.whole(),
        index=index,
        records=[_record(each) for each in node.get("activations").items()],
        firing=None if firing is None else firing.number(),
        facts=node.some(*FEATURE),
    )


def _record(node: Node) -> Record:
    tokens = node.get("tokens").texts()
    low, high, share = (node.get(name).number() for name in ("bin_min", "bin_max", "bin_contains"))
    group = "top" if share < 0 else f"bin {low:g} to {high:g}"
    return Record(tokens, node.get("values").numbers(len(tokens)), group, loudest=share < 0, details=node.some(*RECORD))


FORMATS.add("saedashboard")(Format(claims, read))
