"""`explicate probe truth`: whether hidden states tell true statements from false ones."""

from functools import partial
from pathlib import Path
from typing import Annotated, cast

import typer

from explicate.commands import options


def truth(
    model: Annotated[str, typer.Argument(help="A decoder or encoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    csv: Annotated[
        str,
        typer.Option(help="Files with the columns statement and label, comma-separated, a topic each; by default small built-in ones."),
    ] = "",
    leave_topic_out: Annotated[
        bool, typer.Option("--leave-topic-out", help="Test on topics that training did not have, not on other statements of the same.")
    ] = False,
    also: Annotated[str, typer.Option(help="Files that are only scored: negated, joined or other statements.")] = "",
    detector: Annotated[str, typer.Option(help="logistic, mass-mean, mass-mean-iid, saplma or ccs.")] = "logistic",
    layers: Annotated[str, typer.Option(help="Such as 0-12 or 0,8,16; by default all.")] = "",
    limit: Annotated[int, typer.Option(help="Statements of all topics together, drawn by seed; 0: all.", min=0)] = 0,
    keep_period: Annotated[
        bool, typer.Option("--keep-period", help="Read statements with the period that ends them; the state is then the period's.")
    ] = False,
    causal: Annotated[int, typer.Option(help="Statements on which the direction is added to see the answer change; 0: none.", min=0)] = 40,
    out: options.Page = None,
    save: Annotated[Path | None, typer.Option(help="Keep a detector that is trained on all topics in this .safetensors file.")] = None,
    load: Annotated[Path | None, typer.Option(help="Only score statements with a detector that --save kept.")] = None,
    score: Annotated[list[str] | None, typer.Option(help="A statement that is scored with --load; may be given again.")] = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Find out whether hidden states tell true statements from false ones, on topics that training did not have; score new statements.

    Example: explicate probe truth smollm2-135m --csv cities.csv,animals.csv,facts.csv --leave-topic-out -o truth.html
    """
    from analyzers.errors import ExplicateError
    from analyzers.probes.truth import Kind
    from analyzers.whole_text import whole_text
    from evals.probes.truth import run_truth
    from evals.probes.truth_config import TruthConfig
    from evals.probes.truth_saving import score_statements
    from explicate.progress import bars
    from explicate.running import run_written, show_json
    from explicate.truth_page import FORMS
    from explicate.truth_table import show_scored, show_truth

    if load is None and score:
        raise ExplicateError("--score is answered by a detector; give its file with --load")
    if load is not None and (save, out).count(None) < 2:
        raise ExplicateError("--load only scores statements, and --save and --out are of a new detector; leave them out")
    if load is not None:
        with bars() as report:
            scored = score_statements(model, load, [whole_text(each) for each in score or ()], dtype=dtype, device=device, report=report)
        if json:
            show_json(scored.model_dump(mode="json"))
        else:
            show_scored(scored)
        return
    config = TruthConfig(
        model,
        csv=tuple(options.listed(csv)),
        also=tuple(options.listed(also)),
        leave_topic_out=leave_topic_out,
        detector=cast("Kind", detector),
        layers=layers,
        limit=limit,
        keep_period=keep_period,
        causal=causal,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    run_written(
        partial(run_truth, config, save=save),
        out,
        FORMS,
        lambda found, path: show_truth(found, path, save),
        usual="truth.html",
        json=json,
        also={"saved": save},
    )
