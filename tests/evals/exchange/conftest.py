"""Files of other tools as their formats say, built here: two neurons, of which one fires on " dog" and the other never."""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

TEXT = " river town bridge flood summer people boat stone iron water evening heron otter market cheese apple"
WORDS = re.findall(r" \w+", TEXT)


def sentence(draw: random.Random, length: int = 14, dogs: int = 0) -> list[str]:
    """Words in random order, some of them " dog"."""
    tokens = draw.choices(WORDS, k=length)
    for place in draw.sample(range(length), dogs):
        tokens[place] = " dog"
    return tokens


def record(draw: random.Random, loud: float, dogs: int = 1) -> dict[str, Any]:
    """OpenAI's ActivationRecord."""
    tokens = sentence(draw, dogs=dogs)
    return {"tokens": tokens, "activations": [loud if token == " dog" else -0.17 for token in tokens]}


def simulated(found: dict[str, Any], key: str = "simulation") -> dict[str, Any]:
    expected = [8.5 if token == " dog" else 0.25 for token in found["tokens"]]
    simulation = {"tokens": found["tokens"], "expected_activations": expected, "activation_scale": "simulated_normalized_activations"}
    scores = {"ev_correlation_score": 0.9, "rsquared_score": None}
    return {key: simulation, "true_activations": found["activations"], **scores}


def openai(folder: Path) -> Path:
    """Two neurons, collated and explained."""
    draw = random.Random(0)
    for index in (3, 4):
        top = [record(draw, 9.0 - number / 4 if index == 3 else -0.1) for number in range(20)]
        silent = [record(draw, 0.0, dogs=0) for _ in range(15)]
        neuron = {"layer_index": 1, "neuron_index": index}
        collated = {
            "dataclass_name": "NeuronRecord",
            "neuron_id": neuron,
            "random_sample": silent,
            "random_sample_by_quantile": [[record(draw, loud)] for loud in ((3.0, 4.5) if index == 3 else (0.0, 0.0))],
            "quantile_boundaries": None,
            "mean": -0.125,
            "variance": 1.5,
            "skewness": 0.25,
            "kurtosis": None,
            "most_positive_activation_records": top,
        }
        scored = [simulated(each, "sequence_simulation" if index == 4 else "simulation") for each in (top[2], top[6], silent[1])]
        simulation = {"scored_sequence_simulations": scored, "ev_correlation_score": 0.75, "rsquared_score": float("nan")}
        explained = {"neuron_id": neuron, "scored_explanations": [{"explanation": f"dogs, {index}", "scored_simulation": simulation}]}
        for name, value in ((f"collated/1/{index}.json", collated), (f"explanations/1/{index}.jsonl", explained)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(value) + "\n")
    return folder


def neuronpedia_rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of an export with the folder they are in."""
    draw = random.Random(1)
    for index in ("7", "8"):
        named = {"modelId": "gpt2-small", "layer": "0-res-jb", "index": index}
        yield "features", {**named, "maxActApprox": 5.0, "frac_nonzero": 0.0625, "pos_str": [" dogs"], "pos_values": [0.5], "vector": [0.1]}
        for number in range(30):
            values = [0.0] * 14 if index == "8" else [5.0 - number / 8 if at == number % 14 else 0.0 for at in range(14)]
            tokens = sentence(draw)
            tokens[number % 14] = " dog"
            place = {"maxValue": max(values), "minValue": 0.0, "maxValueTokenIndex": number % 14}
            bin_ = {"binMin": -1, "binMax": 5.0, "binContains": -1} if number < 22 else {"binMin": 0.5, "binMax": 1.75, "binContains": 0.25}
            yield "activations", {**named, "id": f"{index}-{number}", "tokens": tokens, "values": values, **place, **bin_}
        score = {"value": 0.875, "explanationScoreTypeName": "eleuther_fuzz", "explanationScoreModelName": "gpt-4o-mini", "jsonDetails": ""}
        explained = {"id": f"e{index}", "description": "dogs", "typeName": "oai_token-act-pair", "explanationModelName": "gpt-4o"}
        yield "explanations", {**named, **explained, "scores": [score]}


def neuronpedia(folder: Path, *, packed: bool = True) -> Path:
    """The folders of an export."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, row in neuronpedia_rows():
        rows.setdefault(name, []).append(row)
    for name, found in rows.items():
        (folder / name).mkdir(parents=True)
        data = "".join(json.dumps(row) + "\n" for row in found).encode()
        path = folder / name / f"batch-0.jsonl{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(data) if packed else data)
    (folder / "model.jsonl").write_text('{"id": "gpt2-small"}\n')
    return folder


def neuronpedia_api(folder: Path) -> Path:
    """The answer for one feature."""
    feature: dict[str, Any] = {}
    for name, row in neuronpedia_rows():
        if row["index"] == "7":
            feature = {**row, "activations": [], "explanations": []} if name == "features" else feature
            if name != "features":
                details = [{"str_tokens": each["tokens"], "activations": each["values"]} for each in feature["activations"][:5]]
                if name == "explanations":
                    row["scores"][0]["jsonDetails"] = json.dumps(details)
                feature[name].append(row)
    folder.mkdir(parents=True)
    (folder / "7.json").write_text(json.dumps(feature))
    return folder / "7.json"


def saedashboard(folder: Path) -> Path:
    """A batch with a live and a dead feature."""
    draw = random.Random(2)
    features = []
    for index in (0, 1):
        activations = []
        for number in range(24):
            tokens = sentence(draw, dogs=1)
            values = [round(2.5 - number / 10, 3) if token == " dog" and index == 0 else 0.0 for token in tokens]
            low, high, share = (-1, 2.5, -1) if number < 20 else (0.0, 0.5, 0.75)
            activations.append({"bin_min": low, "bin_max": high, "bin_contains": share, "tokens": tokens, "values": values})
        activations += [{**activations[number], "bin_min": 1.5, "bin_max": 2.5, "bin_contains": 0.1} for number in (0, 1, 2)]
        features.append({"feature_index": index, "frac_nonzero": 0.002 if index == 0 else 0, "dataset": "text", "activations": activations})
    folder.mkdir(parents=True)
    (folder / "batch-0.json").write_text(json.dumps({"model_id": "gpt2-small", "layer": 0, "sae_set": "res-jb", "features": features}))
    (folder / "skipped_indexes.json").write_text('{"skipped_indexes": []}')
    return folder


def delphi(folder: Path, encode: Callable[[str], list[int]]) -> Path:
    """A cache of 12 contexts of 64 tokens, two latents, explanations, and answers of the detection scorer."""
    draw = random.Random(3)
    tokens = np.zeros((12, 64), np.int64)
    for row in tokens:
        ids = encode("".join(sentence(draw, length=80, dogs=6)))
        row[:] = ids[:64]
    rng = np.random.default_rng(0)
    places = [
        (context, int(position), latent - 10) for context in range(12) for latent in (10, 12) for position in rng.integers(64, size=2)
    ]
    values = rng.random(len(places)).astype(np.float16) + np.float16(0.5)
    hook = folder / "latents" / "layers.1.mlp"
    hook.mkdir(parents=True)
    data = {"locations": np.array(places, np.uint16), "activations": values, "tokens": tokens}
    save_file(data, hook / "10_19.safetensors")
    (hook / "config.json").write_text(json.dumps({"dataset_repo": "some/text", "cache_ctx_len": 64, "model_name": "tiny"}))
    for name in ("explanations", "scores/detection"):
        (folder / name).mkdir(parents=True)
    for latent, text in ((10, "dogs"), (12, "Explanation could not be parsed.")):
        (folder / "explanations" / f"layers.1.mlp_latent{latent}.txt").write_text(json.dumps(text))
    answers = [
        {"str_tokens": sentence(draw), "activations": [0.5] * 14, "activating": number % 2 == 0, "prediction": number < 5, "distance": 1}
        for number in range(8)
    ]
    answers[7]["prediction"] = None
    (folder / "scores" / "detection" / "layers.1.mlp_latent10.txt").write_text(json.dumps(answers))
    return folder


def transluce(folder: Path) -> Path:
    """A neuron whose sides are explained, and its exemplars."""
    draw = random.Random(4)
    neuron = {"layer_index": 2, "neuron_index": 5}
    exemplars = {
        split: {
            "max": [record(draw, 6.0 - number / 4) for number in range(8)],
            "min": [record(draw, -4.0 + number / 4) for number in range(8)],
        }
        for split in ("train", "valid", "random_valid")
    }
    sides = {}
    for name, extreme, sign in (("positive", "max", 1), ("negative", "min", -1)):
        scored = {}
        for split in ("train", "valid"):
            data = {}
            for rank, found in enumerate(exemplars[split][extreme][:4]):
                clipped = {**found, "activations": [max(0.0, sign * value) for value in found["activations"]]}
                data[str(rank)] = simulated(clipped)
            scored[split] = {"simulation_data": data, "ev_correlation_score": 0.5}
        sides[name] = [{"explanation": f"dogs, {name}", "simulations": scored}]
    folder.mkdir(parents=True)
    (folder / "explanations.json").write_text(json.dumps({"neuron_id": neuron, "explanations": sides}))
    (folder / "exemplars.json").write_text(json.dumps({"neuron_id": neuron, "activation_records": exemplars}))
    return folder


@pytest.fixture(scope="session")
def encode(tiny_model: Callable[..., tuple[Any, Any]]) -> Callable[[str], list[int]]:
    """Token numbers of a text, by the tiny tokenizer."""
    tokenizer = tiny_model("llama")[1]
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False))


@pytest.fixture(scope="session")
def write(encode: Callable[[str], list[int]]) -> Callable[[str, Path], Path]:
    """write("openai", folder): the files of that format in a folder that is not there yet; the source to import."""
    writers: dict[str, Callable[[Path], Path]] = {
        "delphi": lambda folder: delphi(folder, encode),
        "neuronpedia": neuronpedia,
        "neuronpedia lines": lambda folder: neuronpedia(folder, packed=False),
        "neuronpedia api": neuronpedia_api,
        "openai": openai,
        "saedashboard": saedashboard,
        "transluce": transluce,
    }
    return lambda name, folder: writers[name](folder)


@pytest.fixture(scope="session")
def tokenizer(tiny_checkpoint: Callable[[str], Path]) -> str:
    """Folder of the tiny tokenizer."""
    return str(tiny_checkpoint("llama"))
