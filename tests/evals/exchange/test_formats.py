"""Each format is recognised by content and read into the same records, with what was shown to the explainer as far as known."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from analyzers.errors import ExplicateError
from evals.exchange import FORMATS, Feature, Options, delphi
from evals.exchange.importing import format_of, read_features
from evals.exchange.options import parse_ranges
from evals.exchange.reading import MalformedError

Write = Callable[[str, Path], Path]


def by_key(features: list[Feature]) -> dict[str, Feature]:
    return {feature.key: feature for feature in features}


@pytest.mark.parametrize("name", ["delphi", "neuronpedia", "neuronpedia lines", "neuronpedia api", "openai", "saedashboard", "transluce"])
def test_the_format_is_known_by_content(name: str, write: Write, tmp_path: Path) -> None:
    source = write(name, tmp_path / "theirs")
    assert format_of(source) == name.partition(" ")[0]
    inside = sorted(path for path in source.rglob("*.*") if path.suffix in (".gz", ".safetensors", ".jsonl") and path.name != "model.jsonl")
    for path in inside:
        assert format_of(path) == name.partition(" ")[0]


def test_no_format_is_an_error_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(ExplicateError, match="give one by --format: delphi, neuronpedia, openai, saedashboard, transluce"):
        format_of(tmp_path)


def test_openai(write: Write, tmp_path: Path) -> None:
    found = by_key(read_features(write("openai", tmp_path / "o"), "openai", Options()))
    assert list(found) == ["L1.mlp.3", "L1.mlp.4"]
    for feature in found.values():
        top = [record for record in feature.records if record.group == "top"]
        assert [record.shown for record in top] == [number % 4 == 0 for number in range(20)]
        assert feature.shown_known
        assert {record.group for record in feature.records if not record.loudest} == {"random", "quantile 0", "quantile 1", "scored"}
        (told,) = feature.told
        assert told.published == {"ev_correlation_score": 0.75, "rsquared_score": None}
        assert told.scored == (top[2].text, top[6].text, feature.records[21].text)
        assert feature.facts["mean"] == -0.125
    assert found["L1.mlp.3"].records[0].values.min() == -0.17


def test_openai_results_alone_do_not_say_what_was_shown(write: Write, tmp_path: Path) -> None:
    (feature, _) = read_features(write("openai", tmp_path / "o") / "explanations", "openai", Options())
    assert not feature.shown_known
    assert not any(record.shown for record in feature.records)


def test_neuronpedia(write: Write, tmp_path: Path) -> None:
    found = by_key(read_features(write("neuronpedia", tmp_path / "n"), "neuronpedia", Options()))
    assert list(found) == ["gpt2-small/0-res-jb/7", "gpt2-small/0-res-jb/8"]
    feature = found["gpt2-small/0-res-jb/7"]
    assert [record.shown for record in feature.records] == [True] * 20 + [False] * 10
    assert [record.group for record in feature.records] == ["top"] * 22 + ["bin 0.5 to 1.75"] * 8
    assert (feature.model, feature.layer, feature.index, feature.firing) == ("gpt2-small", 0, 7, 0.0625)
    assert feature.told[0].by == "oai_token-act-pair(gpt-4o)"
    assert feature.told[0].published == {"eleuther_fuzz(gpt-4o-mini)": 0.875}
    assert "vector" not in feature.facts
    lines = by_key(read_features(write("neuronpedia lines", tmp_path / "l"), "neuronpedia", Options()))
    assert [record.text for record in lines[feature.key].records] == [record.text for record in feature.records]


def test_neuronpedia_from_its_api_tells_what_was_scored(write: Write, tmp_path: Path) -> None:
    (feature,) = read_features(write("neuronpedia api", tmp_path / "n"), "neuronpedia", Options())
    assert feature.told[0].scored == tuple(record.text for record in feature.records[:5])


def test_saedashboard(write: Write, tmp_path: Path) -> None:
    live, dead = read_features(write("saedashboard", tmp_path / "s"), "saedashboard", Options())
    assert (live.site, dead.site, live.corpus) == ("gpt2-small/0-res-jb/0", "gpt2-small/0-res-jb/1", "text")
    assert [record.group for record in live.records] == ["top"] * 20 + ["bin 0 to 0.5"] * 4 + ["bin 1.5 to 2.5"] * 3
    assert not live.shown_known
    assert max(record.peak for record in dead.records) == 0


def test_delphi_windows_are_those_of_a_dense_array(
    write: Write, tmp_path: Path, tokenizer: str, encode: Callable[[str], list[int]]
) -> None:
    source = write("delphi", tmp_path / "d")
    found = by_key(read_features(source, "delphi", Options(tokenizer=tokenizer)))
    assert list(found) == ["layers.1.mlp_latent10", "layers.1.mlp_latent12"]
    data = load_file(source / "latents" / "layers.1.mlp" / "10_19.safetensors")
    for latent in (10, 12):
        dense = np.zeros((12, 64))
        for (context, position, number), value in zip(data["locations"].tolist(), data["activations"].tolist(), strict=True):
            if number == latent - 10:
                dense[context, position] = value
        feature = found[f"layers.1.mlp_latent{latent}"]
        windows = {(record.document, record.start): record for record in feature.records if record.group in ("activating", "silent")}
        active = [(f"context {c}", s) for c in range(12) for s in (0, 32) if dense[c, s : s + 32].any()]
        assert {key for key, record in windows.items() if record.group == "activating"} == set(active)
        assert len(windows) > len(active)
        for (document, start), record in windows.items():
            context = int(str(document).split()[1])
            assert record.values.tolist() == dense[context, start : start + 32].tolist()
            assert encode(record.text) == data["tokens"][context, start : start + 32].tolist() or len(record.tokens) == 32
        assert feature.layer == 1
        assert not feature.shown_known
    told = found["layers.1.mlp_latent10"].told
    # 4 activating: numbers 0, 2, 4 found, 6 not; 4 silent: 1 and 3 called activating, 5 right, 7 unread.
    assert [(one.text, dict(one.published)) for one in told] == [("dogs", {"detection balanced accuracy": (3 / 4 + 1 / 3) / 2})]
    assert ("failed-answers", "1 of 8 answers of detection could not be read and are not in its score") in found[
        "layers.1.mlp_latent10"
    ].notes


def described(feature: Feature) -> object:
    return (
        feature.key,
        feature.firing,
        [(each.document, each.start, each.tokens, each.values.tolist(), each.group) for each in feature.records],
    )


def test_a_delphi_cache_read_in_parts_is_the_same(write: Write, tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write("delphi", tmp_path / "d")
    whole = [described(feature) for feature in read_features(source, "delphi", Options(tokenizer=tokenizer))]
    monkeypatch.setattr(delphi, "PART", 5)
    for held in (1, 1000):
        monkeypatch.setattr(delphi, "MOST_HELD", held)
        assert [described(feature) for feature in read_features(source, "delphi", Options(tokenizer=tokenizer))] == whole
    path = source / "latents" / "layers.1.mlp" / "10_19.safetensors"
    empty = {**load_file(path), "locations": np.zeros((0, 3), np.uint16), "activations": np.zeros(0, np.float16)}
    save_file(empty, path)
    assert all(feature.records == [] or feature.told for feature in read_features(source, "delphi", Options(tokenizer=tokenizer)))


def test_a_delphi_cache_takes_less_memory_than_it_has(
    write: Write, tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write("delphi", tmp_path / "d")
    path = source / "latents" / "layers.1.mlp" / "10_19.safetensors"
    path.unlink()
    rng = np.random.default_rng(0)
    count = 300_000
    places = np.stack([rng.integers(400, size=count), rng.integers(64, size=count), rng.integers(300, size=count)], axis=1)
    data = {"locations": places, "activations": np.ones(count, np.float32), "tokens": np.ones((400, 64), np.int64)}
    save_file(data, path.with_name("0_299.safetensors"))
    monkeypatch.setattr(delphi, "PART", 4096)
    monkeypatch.setattr(delphi, "MOST_HELD", 4096)
    features = FORMATS.get("delphi").read(source, Options(parse_ranges("0-30"), tokenizer))
    next(features)
    tracemalloc.start()
    try:
        found = sum(1 for feature in features if feature.records)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found >= 29
    # The arrays have 9 MB, and were held with copies of them.
    assert peak < 3e6


def test_delphi_needs_a_tokenizer_for_its_numbers(write: Write, tmp_path: Path, tokenizer: str) -> None:
    source = write("delphi", tmp_path / "d")
    with pytest.raises(ExplicateError, match="token numbers and no text; name the subject's tokenizer: --tokenizer"):
        read_features(source, "delphi", Options())
    assert next(iter(read_features(source / "explanations", "delphi", Options()))).told[0].text == "dogs"
    path = source / "latents" / "layers.1.mlp" / "10_19.safetensors"
    data = load_file(path)
    data["tokens"][0, 0] = 50_000
    save_file(data, path)
    with pytest.raises(ExplicateError, match="has token 50000, and the tokenizer"):
        read_features(source, "delphi", Options(tokenizer=tokenizer))


def test_delphi_knows_what_was_shown_where_it_was_the_loudest(write: Write, tmp_path: Path, tokenizer: str) -> None:
    source = write("delphi", tmp_path / "d")
    (source / "run_config.json").write_text(json.dumps({"sampler_cfg": {"train_type": "top", "n_examples_train": 3}}))
    (feature, _) = read_features(source, "delphi", Options(tokenizer=tokenizer))
    windows = sorted((record for record in feature.records if record.group == "activating"), key=lambda record: -record.peak)
    assert [record.shown for record in windows] == [True] * 3 + [False] * (len(windows) - 3)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("locations", lambda array: array[:, :2], "a row an activation"),
        ("locations", lambda array: array + 12, "places within the contexts"),
        ("locations", lambda array: array * np.array([1, 1, 8], array.dtype), "latents 10 to 19, as its name says"),
        ("activations", lambda array: array / np.float16(0), "finite numbers"),
        ("activations", lambda array: array.astype(np.int32), "an array of 1 dimensions of numbers, found I32"),
        ("tokens", lambda array: array[:, :0], "contexts of at least one token"),
        ("tokens", lambda array: array[0], "an array of 2 dimensions of whole numbers"),
        ("tokens", lambda array: None, "found none"),
    ],
)
def test_a_damaged_cache_is_told(
    name: str, change: Callable[[np.ndarray], np.ndarray | None], said: str, write: Write, tmp_path: Path, tokenizer: str
) -> None:
    source = write("delphi", tmp_path / "d")
    path = source / "latents" / "layers.1.mlp" / "10_19.safetensors"
    data = load_file(path)
    with np.errstate(divide="ignore"):
        changed = change(data.pop(name))
    save_file(data if changed is None else {**data, name: np.ascontiguousarray(changed)}, path)
    with pytest.raises(MalformedError, match=said):
        read_features(source, "delphi", Options(tokenizer=tokenizer))


def test_transluce_has_both_sides_in_their_own_unit(write: Write, tmp_path: Path) -> None:
    source = write("transluce", tmp_path / "t")
    found = by_key(read_features(source, "transluce", Options()))
    assert set(found) == {"L2.mlp.5", "L2.mlp.5-"}
    for key, feature in found.items():
        loud = [record for record in feature.records if record.loudest]
        assert all(record.peak >= 2 for record in loud)
        assert all(record.shown == (record.group == "train") for record in feature.records)
        assert feature.told[0].text == f"dogs, {'negative' if key.endswith('-') else 'positive'}"
        assert feature.told[0].published == {"train ev_correlation_score": 0.5, "valid ev_correlation_score": 0.5}
        assert len(feature.told[0].scored) == 8


def test_transluce_arrays_are_read_through_a_tokenizer_and_pickles_never(
    tmp_path: Path, tokenizer: str, encode: Callable[[str], list[int]]
) -> None:
    folder = tmp_path / "exemplars"
    layer = folder / "train" / "layer4"
    layer.mkdir(parents=True)
    (folder / "exemplar_config.json").write_text('{"hf_model_id": "some/model"}')
    ids = np.array(encode(" river town bridge flood summer people boat stone iron water")[:12], np.int64)
    for name, sign in (("max", 1), ("min", -1)):
        np.save(layer / f"{name}_seq_acts.npy", sign * np.arange(24, dtype=np.float32).reshape(1, 2, 12))
        np.save(layer / f"{name}_seq_ids.npy", np.tile(ids, (1, 2, 1)))
    assert format_of(folder) == "transluce"
    with pytest.raises(ExplicateError, match="--tokenizer some/model"):
        read_features(folder, "transluce", Options())
    found = by_key(read_features(folder, "transluce", Options(tokenizer=tokenizer)))
    assert set(found) == {"L4.mlp.0", "L4.mlp.0-"}
    for feature in found.values():
        assert [record.values.tolist() for record in feature.records] == [list(range(12)), list(range(12, 24))]
        assert encode(feature.records[0].text) == ids.tolist()
    np.save(layer / "max_seq_acts.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(MalformedError, match="cannot be read"):
        read_features(folder, "transluce", Options(tokenizer=tokenizer))
    only = tmp_path / "pickled"
    (only / "train" / "neuron_level" / "layer4").mkdir(parents=True)
    (only / "exemplar_config.json").write_text('{"hf_model_id": "some/model"}')
    (only / "train" / "neuron_level" / "layer4" / "0.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(ExplicateError, match="pickles, which are programs and never opened"):
        read_features(only, "transluce", Options(tokenizer=tokenizer))


def test_only_the_wanted_sites_are_read(write: Write, tmp_path: Path) -> None:
    source = write("neuronpedia", tmp_path / "n")
    assert [feature.index for feature in read_features(source, "neuronpedia", Options(parse_ranges("8-20")))] == [8]
    with pytest.raises(ExplicateError, match="has no site in the format 'neuronpedia' among the --features"):
        read_features(source, "neuronpedia", Options(parse_ranges("0-3")))


@pytest.mark.parametrize("text", ["x", "3-1", "1-", "-1", "1,,2"])
def test_a_range_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ExplicateError, match="write 0-99 or 3,7,512"):
        parse_ranges(text)


def test_malformed_lines_are_named(write: Write, tmp_path: Path) -> None:
    source = write("neuronpedia lines", tmp_path / "n")
    path = source / "activations" / "batch-0.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[4])
    row["values"][2] = None
    lines[4] = json.dumps(row)
    path.write_text("\n".join(lines))
    with pytest.raises(MalformedError, match=r"batch-0.jsonl' line 5, at \$.values\[2\]: expected a finite number .*, found null"):
        read_features(source, "neuronpedia", Options())
    path.write_text(lines[0] + "\n{\n")
    with pytest.raises(MalformedError, match="line 2, column 2: expected JSON"):
        read_features(source, "neuronpedia", Options())
