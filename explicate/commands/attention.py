"""`explicate attention`: where a model attends in one text, and what its heads do."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def attention(
    model: Annotated[str, typer.Argument(help="A decoder or encoder: an asset (see `explicate models`), a folder, or a Hub id.")],
    text: Annotated[str, typer.Argument(help="The text that it reads.")],
    rollout: Annotated[
        bool, typer.Option("--rollout", help="What all layers together take from each token, by their mean attention.")
    ] = False,
    flow: Annotated[bool, typer.Option("--flow", help="The largest flow through all layers from --query to each token.")] = False,
    norms: Annotated[bool, typer.Option("--norms", help="How much each head writes from each token: attention weighed by values.")] = False,
    target: Annotated[
        str | None,
        typer.Option(
            help="A continuation such as ' table', or what an encoder tells at [MASK] in the text: attention weighed by the gradient of "
            "its log-probability, too."
        ),
    ] = None,
    query: Annotated[
        str, typer.Option(help="Tokens that --flow starts from, by number; by default the last one, of an encoder the first.")
    ] = "",
    chat: Annotated[bool, typer.Option("--chat", help="Give the text as the user's turn in the model's chat template.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file to write: .html (a page), .svg (a drawing), or .json (all numbers).")
    ] = None,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Show where a model attends in one text, head by head, and which roles its heads are found to have.

    Example: explicate attention smollm2-135m "The keys to the cabinet are on the table" --rollout --flow -o attention.html
    """
    from analyzers.errors import ExplicateError
    from analyzers.whole_text import whole_text
    from evals.attention_run import run_attention
    from explicate.attention_page import FORMS
    from explicate.attention_table import show_attention
    from explicate.running import run_written

    # What is misspelt is told before a model is fetched and loaded.
    try:
        queries = [int(part) for part in options.listed(query)]
    except ValueError:
        raise ExplicateError(f"--query {query!r}: give numbers of tokens, such as 0,7") from None
    if queries and not flow:
        raise ExplicateError("--query says where --flow starts; give --flow, too")
    work = partial(
        run_attention,
        model,
        whole_text(text),
        rollout=rollout,
        flow=flow,
        norms=norms,
        target=None if target is None else whole_text(target),
        queries=queries or None,
        chat=chat,
        seed=seed,
        dtype=dtype,
        device=device,
    )
    run_written(work, out, FORMS, show_attention, usual="attention.html", json=json)
