"""`explicate influence`: which training text moved an answer."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options

app = typer.Typer(
    no_args_is_help=True,
    help="Find the training text that moved an answer: fit factors once, query them often, evaluate on planted truth.",
)


@app.command(no_args_is_help=True)
def fit(
    model: Annotated[str, typer.Argument(help="A decoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    train: Annotated[str, typer.Option(help="Training text: an asset, a .txt, .md or .jsonl file, a folder of them, or hf:DATASET.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the factors; the same command goes on where it stopped.")],
    modules: Annotated[str, typer.Option(help="Linear layers of the blocks: mlp (as in the paper), attention or all.")] = "mlp",
    method: Annotated[str, typer.Option(help="ekfac, which serves queries by kfac and identity, too, or diagonal.")] = "ekfac",
    length: Annotated[int, typer.Option(help="Tokens of a passage at most; documents are cut into them.")] = 128,
    limit: Annotated[int | None, typer.Option(help="Passages, drawn by seed; by default all.")] = None,
    memory: Annotated[
        float, typer.Option(help="GB for factors besides the model; with less the layers are fitted in more shards, which takes longer.")
    ] = 4.0,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Fit the curvature of a model on its training text, which every query needs; says before it begins what that takes.

    Example: explicate influence fit smollm2-135m --train wiki.jsonl --modules mlp -o factors/
    """
    from evals.influence.config import FitConfig
    from evals.influence.fit import run_fit
    from explicate.influence_table import show_fitted
    from explicate.progress import bars
    from explicate.running import say, show_json

    config = FitConfig(
        model,
        train,
        out,
        modules=modules,
        method=method,
        length=length,
        limit=limit,
        memory=memory,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    with bars() as report:
        found = run_fit(config, tell=say, report=report)
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        show_fitted(found)


@app.command(no_args_is_help=True)
def query(
    factors: Annotated[Path, typer.Argument(help="Folder that `explicate influence fit` wrote.")],
    prompt: Annotated[str | None, typer.Option(help="What stood before the answer.")] = None,
    completion: Annotated[str | None, typer.Option(help="The answer, as it stands behind the prompt, mostly with a leading space.")] = None,
    queries: Annotated[Path | None, typer.Option(help='.jsonl with {"prompt", "completion"}: many share one pass over the text.')] = None,
    train: Annotated[str | None, typer.Option(help="Score another text than the factors were fitted to.")] = None,
    method: Annotated[str | None, typer.Option(help="ekfac, kfac, diagonal or identity; by default the one that was fitted.")] = None,
    rank: Annotated[int, typer.Option(help="Of a query's gradient at each layer.")] = 32,
    top: Annotated[int, typer.Option(help="Passages to show of each query.")] = 20,
    prefilter: Annotated[
        int | None, typer.Option(help="Score only so many passages, the best by TF-IDF; quicker, and blind to other words.")
    ] = None,
    out: options.Page = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Rank passages of the training text by how much they moved an answer, by token and layer, beside rankings without the model.

    Example: explicate influence query factors/ --prompt "The capital of France is" --completion " Paris" -o influence.html
    """
    from evals.influence.config import QueryConfig
    from evals.influence.query import run_query
    from explicate.influence_page import FORMS
    from explicate.influence_table import show_influences
    from explicate.running import run_written, say

    config = QueryConfig(
        factors,
        prompt=prompt,
        completion=completion,
        queries=queries,
        train=train,
        method=method,
        rank=rank,
        top=top,
        prefilter=prefilter,
        seed=seed,
        device=device,
    )
    run_written(partial(run_query, config, tell=say), out, FORMS, show_influences, usual="influence.html", json=json)


@app.command(no_args_is_help=True)
def pairs(
    factors: Annotated[Path, typer.Argument(help="Folder that `explicate influence fit` wrote; of it only the curvature is used.")],
    pairs: Annotated[
        Path, typer.Option(help='.jsonl with {"prompt", "completion", "one", "other"}: two texts, of which one should move it more.')
    ],
    method: Annotated[str | None, typer.Option(help="ekfac, kfac, diagonal or identity; by default the one that was fitted.")] = None,
    rank: Annotated[int, typer.Option(help="Of a query's gradient at each layer.")] = 32,
    limit: Annotated[int | None, typer.Option(help="Pairs, drawn by seed; by default all.")] = None,
    out: options.Page = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """See whether a text moves an answer more than another: its translation, or key phrases in its order rather than flipped.

    Example: explicate influence pairs factors/ --pairs translations.jsonl -o pairs.html
    """
    from evals.influence.config import PairsConfig
    from evals.influence.pairs import run_pairs
    from explicate.influence_pairs_page import FORMS
    from explicate.influence_table import show_pairs
    from explicate.running import run_written, say

    config = PairsConfig(factors, pairs=pairs, method=method, rank=rank, limit=limit, seed=seed, device=device)
    run_written(partial(run_pairs, config, tell=say), out, FORMS, show_pairs, usual="pairs.html", json=json)


@app.command(no_args_is_help=False)
def evaluate(
    corpus: Annotated[
        str | None, typer.Option(help="Background text: an asset, a file, a folder or hf:DATASET; by default only what was made up.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of a training on all passages; by default 400.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Of all trainings together, in place of --steps.")] = None,
    queries: Annotated[int, typer.Option(help="Planted facts, and as many pairs of names.")] = 16,
    halves: Annotated[int, typer.Option(help="Trainings on a random half of the passages.")] = 16,
    limit: Annotated[int, typer.Option(help="Passages of --corpus at most, drawn by seed.", min=0)] = 200,
    out: options.Page = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Train small models here and see whether influence finds what is known: planted facts, exchanged labels, what training without does.

    Every training is kept, so that the same command goes on where it was stopped.

    Example: explicate influence evaluate --queries 32 -o evaluation.html
    """
    from evals.influence.evaluate import run_evaluate
    from evals.influence.evaluate_config import EvaluateConfig
    from explicate.influence_evaluation_page import FORMS
    from explicate.influence_table import show_evaluated
    from explicate.running import run_written

    config = EvaluateConfig(corpus=corpus, background=limit, steps=steps, minutes=minutes, queries=queries, halves=halves, seed=seed)
    run_written(partial(run_evaluate, config), out, FORMS, show_evaluated, usual="evaluation.html", json=json)
