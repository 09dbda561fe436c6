"""The notebook door: the README's example on tiny models, inside a running event loop, and what its objects show."""

import asyncio
import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import ValidationError

import evals.label
import explicate
from analyzers.errors import ExplicateError, LimitReached, RunFolderError
from evals import LabelConfig, Limits
from evals.each import Stopped
from evals.label_config import ExperimentConfig
from explicate.commands.options import listed
from explicate.notebook import Run, label, open_run

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(autouse=True)
def place(workplace: Path) -> None:
    """In a place of its own."""


@pytest.fixture
def run(tiny_checkpoint: Callable[[str], Path], tiny_corpus: Path) -> Run:
    """Two neurons of the tiny llama, labelled without a language model."""
    subject, corpus = str(tiny_checkpoint("llama")), str(tiny_corpus)
    return label(
        subject, sites=("L0.mlp.3", "L1.mlp.7-"), corpus=corpus, tokens=9000, explainer="template", simulator="lexical", out="a run"
    )


async def test_the_example_of_the_readme_runs_in_a_notebooks_event_loop(
    workplace: Path, tiny_checkpoint: Callable[[str], Path], tiny_corpus: Path, tiny_llm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asyncio.get_running_loop().is_running()
    example = re.search(r"```python\n(import explicate\n.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    code = example[1]
    swaps = {
        '"smollm2-135m"': repr(str(tiny_checkpoint("llama"))),
        '"wikipedia-sample"': repr(str(tiny_corpus)),
        '"local:qwen2.5-coder-0.5b"': repr(f"local:{tiny_llm}"),
        '"L7.mlp.1306"': '"L0.mlp.3"',
        '"L9.mlp.851"': '"L1.mlp.7"',
        "20_000": "9_000",
    }
    for name, tiny in swaps.items():
        assert name in code
        code = code.replace(name, tiny)
    found: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), found)
    assert [view.result.site for view in found["run"].sites] == ["L0.mlp.3", "L1.mlp.7"]
    assert "L1.mlp.7" in capsys.readouterr().out
    assert (workplace / "runs" / "notebook" / "report.html").exists()
    # One pass serves both calls.
    assert found["run"].results.manifest["pass"] == found["store"].folder.name
    assert repr(found["store"]).startswith("ActivationStore: 144 neurons in 3 layers, both sides, on ")
    assert str(tiny_corpus) in repr(found["store"])


def test_a_run_and_its_sites_show_themselves(run: Run) -> None:
    second = run.sites[1]
    assert repr(run).startswith("Run('a run'): ")
    assert repr(second) == f"L1.mlp.7-: {second.result.explanation or 'no explanation'}"
    assert "L1.mlp.7-" in second._repr_html_()
    assert "L0.mlp.3" not in second._repr_html_().replace(str(second.result.shuffled_explanation), "")
    overview = run._repr_html_()
    assert "L0.mlp.3" in overview
    assert "L1.mlp.7-" in overview
    assert run.report == Path("a run/report.html")


def test_the_frame_holds_every_number_of_the_results(run: Run) -> None:
    frame = run.to_frame()
    assert list(frame.columns) == ["site", "polarity", "of", "stratum", "score", "value", "low", "high", "n", "failed"]
    for view in run.sites:
        mine = frame[(frame["site"] == view.result.site) & (frame["polarity"] == view.result.polarity)]
        shown = mine[(mine["of"] == "explanation") & (mine["stratum"] == "all")].set_index("score")
        assert set(shown.index) == set(view.result.scores)
        for name, score in view.result.scores.items():
            expected = score.model_dump()
            assert expected.get("value") == (None if expected.get("failed") else shown.loc[name, "value"])
        assert set(mine["of"]) == {"explanation", "lift", *view.result.controls}


def test_a_run_opened_again_is_the_same(run: Run) -> None:
    assert open_run("a run").results == run.results
    with pytest.raises(RunFolderError, match="no run folder"):
        open_run("elsewhere")


def test_a_mistake_is_told_before_anything_is_loaded() -> None:
    with pytest.raises(ExplicateError, match="not a site"):
        label("no model", sites=["layer 3"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sites": []}, "names no neuron"),
        ({"sites": ["L0.mlp.3"], "polarity": "-"}, "--polarity '-'"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 2**32}, "--seed 4294967296"),
    ],
)
def test_options_that_cannot_be_are_told_before_anything_is_loaded(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ExplicateError, match=said):
        label("no model", **options)


def test_options_of_a_pass_that_cannot_be_are_told_before_anything_is_loaded() -> None:
    mistakes: list[dict[str, Any]] = [{"seed": -1}, {"tokens": 0}, {"excerpt_tokens": 16}]
    for options in mistakes:
        with pytest.raises(ExplicateError, match=f"--{next(iter(options)).replace('_', '-')} "):
            explicate.sample("no model", **options)


@pytest.mark.parametrize("limit", [{"concurrency": 0}, {"calls": -1}, {"tokens": -1}, {"usd": -0.5}, {"usd": math.nan}])
def test_limits_that_nothing_keeps_cannot_be_made(limit: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"Limits\n{next(iter(limit))}"):
        Limits(**limit)


def test_a_run_that_a_limit_stopped_leaves_its_report(
    tiny_checkpoint: Callable[[str], Path], tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped(*given: Any, **options: Any) -> None:
        raise Stopped("--max-calls 2 is reached", await work(*given, **options))

    work = evals.label.label
    monkeypatch.setattr(evals.label, "label", stopped)
    options: dict[str, Any] = {"corpus": str(tiny_corpus), "tokens": 9000, "explainer": "template", "simulator": "lexical"}
    with pytest.raises(LimitReached, match="--max-calls 2 is reached"):
        label(str(tiny_checkpoint("llama")), sites=["L0.mlp.3"], out="stopped", **options)
    assert "L0.mlp.3" in Path("stopped/report.html").read_text(encoding="utf-8")


def test_command_notebook_and_configuration_agree_on_every_default() -> None:
    from explicate.cli import app

    group: Any = typer.main.get_command(app)
    fields = {name: field.default for name, field in LabelConfig.model_fields.items() if name != "subject"}
    parameters = {name: parameter.default for name, parameter in inspect.signature(label).parameters.items()}
    options = {parameter.name: parameter.default for parameter in group.commands["label"].params}
    # No sites at all are None at both doors, which the configuration writes as ().
    assert parameters.pop("sites") is options.pop("sites") is None
    assert fields.pop("sites") == ()
    assert {name: parameters[name] for name in fields} == fields
    # At the command line, lists are texts with commas, and the limits of an experimenter are options of their own.
    for name in ("sae", "twins", "scorers"):
        options[name] = tuple(listed(options[name]))
    options["experiment"] = ExperimentConfig(
        steps=options["agent_steps"], tool_calls=options["agent_calls"], rounds=options["agent_rounds"], tokens=options["agent_tokens"]
    )
    assert {name: options[name] or fields[name] for name in fields} == fields
    assert parameters.keys() - fields.keys() == {"subject", "out", "limits"}


def test_the_door_offers_what_it_says() -> None:
    assert explicate.label is label
    assert dir(explicate) == ["Run", "SiteView", "label", "open_run", "sample"]
