"""Transluce's Observatory: explanations of neurons with their simulations, and the exemplars they come from.

An explanations file is one JSON object a neuron: `explanations` of the positive and the negative side, each with `simulations` by split
(train, valid, test and random_* of each), whose true activations are already of the side. Exemplars are an object with
`activation_records` by split and by max or min, or the folder with exemplar_config.json, whose arrays hold token numbers and are read
through a tokenizer; its pickles are never opened. Explainers are shown records of the train splits.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from analyzers.errors import ExplicateError
from analyzers.sites import Polarity
from evals.exchange import FORMATS, Format, Options
from evals.exchange.openai import SCORES, scored_record, scores_of
from evals.exchange.reading import LARGEST_NUMBER, Node, files_of, json_file, malformed, unreadable, values_of
from evals.exchange.record import Feature, Record, Told

CONFIG = "exemplar_config.json"
SPLITS = ("train", "valid", "test", "random_train", "random_valid", "random_test")
SIDES: Mapping[str, Polarity] = {"positive": "+", "negative": "-"}
EXTREMES: Mapping[str, Polarity] = {"max": "+", "min": "-"}


def claims(path: Path, head: Any) -> bool:
    """Whether the file holds explanations or exemplars of a neuron, or says how exemplars were drawn."""
    if path.name == CONFIG:
        return True
    if not isinstance(head, dict) or "neuron_id" not in head:
        return False
    return "activation_records" in head or isinstance(head.get("explanations"), dict)


def read(source: Path, options: Options) -> Iterator[Feature]:
    """The sides of the neurons in a file, or in all files of a folder."""
    if source.is_dir() and (source / CONFIG).is_file():
        yield from _folder(source, options)
    for path in files_of(source, ".json", ".jsonl", ".json.gz", ".jsonl.gz"):
        if path.name in (CONFIG, "explanation_config.json"):
            continue
        for node in values_of(path):
            if claims(path, node.value) or path == source:
                yield from _neuron(node, options)


def _neuron(node: Node, options: Options) -> Iterator[Feature]:
    neuron = node.get("neuron_id")
    layer, index = neuron.get("layer_index").whole(), neuron.get("neuron_index").whole()
    if not options.wants(index):
        return
    for name, polarity in SIDES.items():
        feature = Feature(f"L{layer}.mlp.{index}", polarity, layer=layer, index=index)
        feature.records = _exemplars(node, polarity)
        told = None if node.maybe("explanations") is None else node.get("explanations").maybe(name)
        for number, explanation in enumerate(() if told is None else told.items()):
            _explained(explanation, number, feature)
        feature.shown_known = any(record.shown for record in feature.records)
        if feature.records or feature.told:
            yield feature


def _exemplars(node: Node, polarity: Polarity) -> list[Record]:
    """The records of one side, in its unit."""
    found = []
    splits = node.maybe("activation_records")
    for split, extremes in () if splits is None else splits.pairs():
        _check(split, extremes)
        for name, records in extremes.pairs():
            if EXTREMES.get(name) == polarity:
                for record in records.items():
                    tokens = record.get("tokens").texts()
                    values = record.get("activations").numbers(len(tokens))
                    found.append(_record(tokens, -values if polarity == "-" else values, split))
    return found


def _record(tokens: tuple[str, ...], values: Any, split: str) -> Record:
    return Record(tokens, values, split, loudest=not split.startswith("random"), shown=split.endswith("train"))


def _explained(node: Node, number: int, feature: Feature) -> None:
    published: dict[str, float | None] = {}
    scored: list[str] = []
    simulations = node.maybe("simulations")
    for split, found in () if simulations is None else simulations.pairs():
        _check(split, found)
        published |= {f"{split} {name}": value for name, value in scores_of(found).items() if name in SCORES}
        for _, sequence in found.get("simulation_data").pairs():
            record = scored_record(sequence.get("simulation"), sequence, number, split)
            feature.records.append(
                Record(
                    record.tokens,
                    record.values,
                    split,
                    loudest=not split.startswith("random"),
                    shown=split.endswith("train"),
                    details=record.details,
                )
            )
            scored.append(record.text)
    feature.told.append(Told(node.get("explanation").text(), "transluce", published, tuple(scored)))


def _check(split: str, node: Node) -> None:
    if split not in SPLITS:
        raise node.fail(f"a split of {', '.join(SPLITS)}")


def _folder(source: Path, options: Options) -> Iterator[Feature]:
    """Neurons of the arrays below a folder of exemplars."""
    config = json_file(source / CONFIG)
    model = config.get("hf_model_id").name()
    layers = sorted({path.name for split in SPLITS for path in (source / split).glob("layer*") if path.is_dir()})
    if not layers and any(source.rglob("*.pkl")):
        raise ExplicateError(
            f"{str(source)!r} holds its exemplars as pickles, which are programs and never opened; give the folder with the arrays of "
            "whole layers (layerN/max_seq_acts.npy)"
        )
    if layers and options.tokenizer is None:
        raise ExplicateError(
            f"{str(source)!r} holds token numbers and no text; name the subject's tokenizer: --tokenizer {model}, or a folder that has it"
        )
    if not layers:
        return
    from analyzers.token_texts import TokenTexts

    texts = TokenTexts.load(cast(str, options.tokenizer))
    for layer in layers:
        number = layer.removeprefix("layer")
        if number.isascii() and number.isdigit() and len(number) < 10:
            yield from _layer(source, int(number), model, texts, options)


def _layer(source: Path, layer: int, model: str, texts: Any, options: Options) -> Iterator[Feature]:
    arrays: dict[tuple[str, str], tuple[Any, Any]] = {}
    for split in SPLITS:
        for name in EXTREMES:
            folder = source / split / f"layer{layer}"
            if (folder / f"{name}_seq_acts.npy").is_file():
                arrays[split, name] = _arrays(folder, name)
    count = min((len(values) for values, _ in arrays.values()), default=0)
    for index in range(count):
        if not options.wants(index):
            continue
        for name, polarity in EXTREMES.items():
            feature = Feature(f"L{layer}.mlp.{index}", polarity, model=model, layer=layer, index=index)
            for split in SPLITS:
                if (split, name) in arrays:
                    values, ids = arrays[split, name]
                    where = source / split / f"layer{layer}" / f"{name}_seq_acts.npy"
                    feature.records += [
                        _read(row, of, split, polarity, texts, where) for row, of in zip(values[index], ids[index], strict=True)
                    ]
            feature.shown_known = any(record.shown for record in feature.records)
            if feature.records:
                yield feature


def _read(values: Any, ids: Any, split: str, polarity: Polarity, texts: Any, where: Path) -> Record:
    row = np.asarray(values, np.float64)
    if not (np.abs(row) <= LARGEST_NUMBER).all():
        raise malformed(where, "", "finite activations", "others")
    return _record(texts.of(ids.tolist(), where), -row if polarity == "-" else row, split)


def _arrays(folder: Path, name: str) -> tuple[Any, Any]:
    """Activations and token numbers [neuron, rank, token], mapped from the disk."""
    found = []
    for path, kinds in ((folder / f"{name}_seq_acts.npy", "f"), (folder / f"{name}_seq_ids.npy", "iu")):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
            raise unreadable(path, error) from None
        if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.kind not in kinds:
            raise malformed(path, "", "an array [neuron, rank, token]", f"{getattr(array, 'dtype', '?')} {getattr(array, 'shape', '')}")
        found.append(array)
    if found[0].shape != found[1].shape:
        raise malformed(folder, "", f"as many token numbers as activations {found[0].shape}", str(found[1].shape))
    return found[0], found[1]


FORMATS.add("transluce")(Format(claims, read))
