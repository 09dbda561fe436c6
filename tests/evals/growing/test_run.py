"""Runs over folders of checkpoints from end to end: what was measured is kept, and mistakes are told first."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analyzers.corpus import source_identity
from analyzers.errors import ExplicateError, Failed
from analyzers.growing.recipe import Recipe
from evals.growing.config import GrowConfig
from evals.growing.results import Grown
from evals.growing.run import curves_of, run_grow
from evals.growing.tally import Tallies, Tally
from evals.results import Failure, Value

Model = Callable[..., tuple[Any, Any]]


@pytest.fixture
def checkpoints(tiny_model: Model, workplace: Path) -> Callable[..., Path]:
    """checkpoints("llama", 0, 10) is a folder with the tiny model at these steps, ever less of its weights left as they were."""

    def build(family: str, *steps: int) -> Path:
        folder = workplace / "checkpoints"
        for number, step in enumerate(steps):
            model, tokenizer = tiny_model(family)
            draw = torch.Generator().manual_seed(step)
            with torch.no_grad():
                for each in model.parameters():
                    each.add_(number * 0.1 * torch.randn(each.shape, generator=draw))
            for part in (model, tokenizer):
                part.save_pretrained(folder / f"checkpoint-{step}")
        return folder

    return build


def test_a_decoder_by_all_probes_and_again_without_loading_it(
    checkpoints: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, workplace: Path
) -> None:
    folder = checkpoints("llama", 0, 8, 64)
    found = run_grow(GrowConfig(str(folder), device="cpu"))
    (series,) = found.series
    assert (series.name, series.steps) == ("checkpoints", [0, 8, 64])
    assert found.probes == ["pos", "tree", "next-token", "minimal-pairs", "facts"]
    assert {curve.probe for curve in series.curves} == set(found.probes)
    assert {"pos", "pos/best-layer", "pos/layer0", "tree", "next-token", "next-token/surprisal/NOUN", "facts/logprob"} <= {
        curve.name for curve in series.curves
    }
    for curve in series.curves:
        assert len(curve.values) == 3
        assert all(isinstance(value, Value) for value in curve.values), curve
        assert set(curve.summary) == {"grown", "t90", "area", "monotonicity", "forgetting"}
    assert sorted(found.order) == sorted(curve.name for curve in series.curves)
    assert isinstance(found.tau, Failure)
    assert set(found.source) == {"sample.conllu", "minimal_pairs.jsonl", "facts.jsonl"}
    assert Grown.model_validate_json(found.model_dump_json()) == found

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a checkpoint that was measured is not loaded again")

    monkeypatch.setattr("analyzers.growing.checkpoints.Checkpoint.load", refuse)
    assert run_grow(GrowConfig(str(folder), device="cpu")) == found
    # A part of the probes is a part of what is kept.
    fewer = run_grow(GrowConfig(str(folder), ("facts", "tree"), device="cpu"))
    assert [curve.name for curve in fewer.series[0].curves if curve.name == curve.probe] == ["facts", "tree"]


def test_a_killed_run_goes_on_where_it_was(checkpoints: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from analyzers.growing.checkpoints import Checkpoint

    folder = checkpoints("llama", 0, 8, 64)
    loaded: list[int] = []
    load = Checkpoint.load

    def noting(self: Checkpoint, **options: Any) -> Any:
        loaded.append(self.step)
        if loaded == [0, 8]:
            raise KeyboardInterrupt
        return load(self, **options)

    monkeypatch.setattr(Checkpoint, "load", noting)
    config = GrowConfig(str(folder), ("minimal-pairs", "facts"), device="cpu")
    with pytest.raises(KeyboardInterrupt):
        run_grow(config)
    found = run_grow(config)
    assert loaded == [0, 8, 8, 64]
    assert found.series[0].steps == [0, 8, 64]


def test_an_encoder_by_the_probes_that_are_for_it(checkpoints: Callable[..., Path]) -> None:
    folder = checkpoints("bert", 0, 100)
    found = run_grow(GrowConfig(str(folder), ("pos", "tree"), device="cpu"))
    assert {curve.name for curve in found.series[0].curves} == {"pos", "pos/best-layer", "pos/layer0", "tree"}
    for curve in found.series[0].curves:
        assert all(isinstance(value, Value) and 0 < value.value < 1 for value in curve.values)
    for probe in ("facts", "next-token", "minimal-pairs"):
        with pytest.raises(ExplicateError, match=f"is an encoder.*{probe} needs a decoder"):
            run_grow(GrowConfig(str(folder), (probe,), device="cpu"))
    # Before any other probe has begun.
    seen: list[str] = []
    with pytest.raises(ExplicateError, match="facts needs a decoder"):
        run_grow(GrowConfig(str(folder), ("pos", "facts"), seed=1, device="cpu"), report=lambda what, _done, _total: seen.append(what))
    assert "measure checkpoints" in seen
    assert "probe parts of speech" not in seen


def test_a_checkpoint_whose_weights_are_no_numbers_is_a_failure(checkpoints: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = checkpoints("llama", 0, 8, 64)
    path = folder / "checkpoint-8" / "model.safetensors"
    weights = load_file(path)
    weights["model.layers.1.mlp.down_proj.weight"][:] = float("nan")
    save_file(weights, path, {"format": "pt"})
    found = run_grow(GrowConfig(str(folder), ("pos", "minimal-pairs"), device="cpu"))
    for name in ("pos", "minimal-pairs"):
        curve = found.series[0].curve(name)
        assert curve is not None
        assert [isinstance(value, Failure) for value in curve.values] == [False, True, False]
        assert isinstance(curve.summary["area"], Value)
    for step in (0, 64):
        save_file(weights, folder / f"checkpoint-{step}" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExplicateError, match=r"minimal-pairs could be measured at no checkpoint: .*diverged"):
        run_grow(GrowConfig(str(folder), ("minimal-pairs",), device="cpu"))


def test_small_models_are_trained_and_measured(workplace: Path, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Recipe(width=32, layers=2, heads=2, inner=48, vocabulary=400, context=64, batch=8)
    monkeypatch.setattr("analyzers.growing.training.USUAL", tiny)
    config = GrowConfig(None, ("next-token", "facts"), train=str(tiny_corpus), steps=6, seeds=2, seed=5, device="cpu")
    found = run_grow(config)
    assert [series.name for series in found.series] == ["seed-5", "seed-6"]
    assert all(series.steps == [0, 1, 2, 4, 6] for series in found.series)
    assert found.checkpoints.startswith("runs/grown-corpus-")
    assert (found.training["steps"], found.training["corpus"]) == (6, str(tiny_corpus))
    for series in found.series:
        assert [each["step"] for each in series.losses] == series.steps
        surprisal = series.curve("next-token/surprisal")
        assert surprisal is not None
        first, *_, last = (value for value in surprisal.values if isinstance(value, Value))
        assert last.value < first.value
        assert isinstance(surprisal.summary["t90"], Value)
    # Into a folder of one's own, which is then an ordinary folder of checkpoints.
    named = run_grow(GrowConfig("mine", ("facts",), train=str(tiny_corpus), steps=1, device="cpu"))
    again = run_grow(GrowConfig("mine", ("facts",), device="cpu"))
    assert again.series[0].curves == named.series[0].curves
    assert again.training == {}
    # Other seeds in the same folder are no part of what was asked for.
    other = run_grow(GrowConfig("mine", ("facts",), train=str(tiny_corpus), steps=1, seed=1, device="cpu"))
    assert [series.name for series in other.series] == ["seed-1"]
    assert other.training["corpus_identity"] == source_identity(str(tiny_corpus))
    assert [series.name for series in run_grow(GrowConfig("mine", ("facts",), device="cpu")).series] == ["seed-0", "seed-1"]


def test_files_are_known_by_what_they_are_and_not_by_their_names(checkpoints: Callable[..., Path], workplace: Path) -> None:
    mine = {"a": '{"sentence_good": "a river", "sentence_bad": "river a"}\n', "b": '{"prompt": "a river", "target": "rises"}\n'}
    for folder, text in mine.items():
        (workplace / folder).mkdir()
        (workplace / folder / "facts.jsonl").write_text(text + text.replace("river", "hill"))
    pairs, facts = (workplace / folder / "facts.jsonl" for folder in mine)
    folder = checkpoints("llama", 0, 8)
    (folder / "final").mkdir()
    (folder / "final" / "config.json").write_text("{}")
    told: list[str] = []
    config = GrowConfig(str(folder), ("minimal-pairs", "facts"), pairs=pairs, facts=facts, device="cpu")
    found = run_grow(config, report=lambda what, done, total: told.append(f"{what} {done}/{total}"))
    assert found.source == {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (pairs, facts)}
    assert not any("built in" in note for note in found.notes)
    assert any(note.startswith("checkpoints: final left out") for note in found.notes)
    assert told[-1] == "summarise curves 3/3"
    builtin = run_grow(GrowConfig(str(folder), ("facts",), device="cpu"))
    assert any(note.endswith("give your own files: facts.jsonl") for note in builtin.notes)


def planted(places: Mapping[str, float], steps: list[int], units: int = 200) -> list[dict[str, Tallies | Failed]]:
    """Curves that step from .2 to .8 at these places: every unit of 200 by itself, at its own moment around it."""
    rng = np.random.default_rng(0)
    moments = {name: at + rng.normal(0, 0.1, units) for name, at in places.items()}
    known = rng.random(units) < 0.2
    return [
        {
            name: {name: Tally((known | (np.log2(1 + step) > moment)).astype(float), np.ones(units), "facts", "facts")}
            for name, moment in moments.items()
        }
        for step in steps
    ]


def test_the_order_of_planted_curves_is_found() -> None:
    from evals.growing.order import before, order_of
    from evals.growing.results import Moment, Series

    steps = [0, *(2**power for power in range(11))]
    both = [{"pos": 3.5, "tree": 5.5, "facts": 8.5, "pairs": 20.0}, {"pos": 2.5, "tree": 8.5, "facts": 5.5, "pairs": 20.0}]
    series = [
        Series(
            name=f"seed-{number}",
            checkpoints=[Moment(step=step, name=str(step), revision="") for step in steps],
            curves=curves_of(steps, planted(places, steps)),
        )
        for number, places in enumerate(both)
    ]
    assert order_of(series[:1]) == ["pos", "tree", "facts", "pairs"]
    assert order_of(series)[0] == "pos"
    assert order_of(series)[-1] == "pairs"
    told = {(each.first, each.then): (each.seeds, each.apart, each.alone) for each in before(series, list(both[0]))}
    assert told["pos", "tree"] == told["pos", "facts"] == (2, 2, 0)
    # Pairs never came: that they would have come later is not known.
    assert told["pos", "pairs"] == told["tree", "pairs"] == told["facts", "pairs"] == (2, 0, 2)
    assert {told.get(("tree", "facts")), told.get(("facts", "tree"))} == {(1, 1, 0), None}
    for each, places in zip(series, both, strict=True):
        for curve in each.curves:
            t90 = curve.summary["t90"]
            if curve.name == "pairs":
                assert isinstance(t90, Failure)
                continue
            assert isinstance(t90, Value)
            # Between the checkpoints around the place where all units turn.
            assert 2 ** (places[curve.name] - 1) - 1 <= t90.low <= t90.high <= 2 ** (places[curve.name] + 1)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (GrowConfig(None), "nothing to look at"),
        (GrowConfig("none"), "there is no folder 'none'"),
        (GrowConfig("empty"), "holds no checkpoint"),
        (GrowConfig("x", ("pos", "semantics")), "--probes: 'semantics'; choose some of pos, tree, next-token"),
        (GrowConfig("x", ()), "--probes: none; choose"),
        (GrowConfig(None, train="corpus.jsonl", minutes=0), "--minutes 0: give more than 0"),
        (GrowConfig(None, train="corpus.jsonl", minutes=-3), "--minutes -3: give more than 0"),
        (GrowConfig(None, train="corpus.jsonl", minutes=float("nan")), "--minutes nan: give more than 0"),
        (GrowConfig(None, train="corpus.jsonl", minutes=1, steps=5), "both say how long"),
        (GrowConfig(None, train="corpus.jsonl", steps=0), "--steps 0: give 1 or more"),
        (GrowConfig(None, train="corpus.jsonl", seeds=0), "--seeds 0: give 1 or more"),
        (GrowConfig(None, train="none.txt"), "there is no corpus 'none.txt'"),
        (GrowConfig("x", minutes=5), "--minutes is of a training here"),
        (GrowConfig("x", seeds=2), "--seeds is of a training here"),
        (GrowConfig("x", train="corpus.jsonl", revisions=("step0",)), "two sources of checkpoints"),
        (GrowConfig("empty", revisions=("step0", "step1")), "'empty' is a folder"),
        (GrowConfig("org/model", ("facts",), revisions=("step0", "main")), "'main' tells no step"),
        (GrowConfig("org/model@main", ("facts",), revisions=("step0", "step1")), "'org/model@main' already names a revision"),
        (GrowConfig("org/model", revisions=("step0", "step1")), "the Hugging Face Hub cannot be reached"),
        (GrowConfig("x", depth=1.5), "--depth 1.5: give a share"),
        (GrowConfig("x", limit=-1), "--limit -1"),
        (GrowConfig("x", limit=3), "sentences to test on are too few"),
        (GrowConfig("x", conllu=(Path("a"), Path("a"))), "'a' twice"),
        (GrowConfig("x", conllu=(Path("a"), Path("b"), Path("c"))), "--conllu names 3 files"),
        (GrowConfig("x", pairs=Path("none")), "no file or folder 'none'"),
        (GrowConfig("x", facts=Path("none")), "no file or folder 'none'"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(workplace: Path, config: GrowConfig, said: str) -> None:
    (workplace / "empty").mkdir()
    with pytest.raises(ExplicateError) as told:
        run_grow(config)
    assert said in str(told.value)


def test_the_fields_are_plain_json(checkpoints: Callable[..., Path]) -> None:
    found = run_grow(GrowConfig(str(checkpoints("llama", 0, 8)), ("facts",), device="cpu"))
    told = json.loads(found.model_dump_json())
    assert set(told["series"][0]["curves"][0]["values"][0]) == {"value", "low", "high", "n"}
    assert told["series"][0]["checkpoints"][1]["step"] == 8
