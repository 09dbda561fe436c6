"""`explicate attribute`: which words of a text decide a model's choice among labels."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands import options


def attribute(
    model: options.AskedModel,
    text: Annotated[str, typer.Argument(help="The text whose words are taken away.")],
    labels: Annotated[str, typer.Option(help="What the model chooses among, comma-separated; or give --task.")] = "",
    task: Annotated[
        str | None, typer.Option(help="A task (sentiment, topic, or a TOML file): its question, labels and demonstrations.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The label that is attributed; by default the one the model chooses.")] = None,
    method: Annotated[str, typer.Option(help="Comma-separated: occlusion, shapley, kernel-shap, lime.")] = "occlusion,shapley",
    operator: Annotated[
        str, typer.Option(help="How a word is taken away: delete, mask, neutral, or replace (by another word of the text).")
    ] = "delete",
    unit: Annotated[
        str,
        typer.Option(help="What is taken away: word, spaced (between spaces), span (a phrase), sentence, or demonstration (of --task)."),
    ] = "word",
    budget: Annotated[
        int, typer.Option(help="Perturbed texts a method may ask for; each takes what it needs at least.", min=4, max=20_000)
    ] = 200,
    interactions: Annotated[bool, typer.Option("--interactions", help="Of every two words, too: what they do only together.")] = False,
    instruction: Annotated[str, typer.Option(help="What the model is asked, in place of a plain question or the task's.")] = "",
    out: Annotated[Path | None, typer.Option(help="A page to write, such as attribution.html: the text shaded, and charts.")] = None,
    base_url: options.BaseUrl = None,
    max_calls: options.MaxCalls = None,
    max_tokens: options.MaxTokens = None,
    max_usd: options.MaxUsd = None,
    price: options.Price = None,
    concurrency: options.Concurrency = 8,
    timeout: options.Timeout = 60.0,
    seed: options.Seed = 0,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Attribute a model's choice among labels to the words of a text, by taking words away.

    Example: explicate attribute smollm2-135m "The food was cold but the staff were lovely." --labels positive,negative
    """
    from analyzers.attributions import METHODS
    from analyzers.errors import ExplicateError
    from analyzers.perturbations import OPERATORS
    from analyzers.units import cut
    from analyzers.whole_text import whole_text
    from evals.attribute_run import asking_of, run_attribute
    from evals.label_config import Limits
    from explicate.attribution_table import show_attribution
    from explicate.progress import bars
    from explicate.running import await_, plain, show_json

    methods = options.listed(method)
    # What is misspelt is told before a model is fetched and loaded.
    if not methods:
        raise ExplicateError(f"--method {method!r} names no method; choose some of {', '.join(METHODS.all())}")
    for name in methods:
        METHODS.get(name)
    OPERATORS.get(operator)
    if unit != "demonstration":
        cut(whole_text(text), unit)
    if out is not None:
        from explicate.attribution_page import check_page

        check_page(out)
    asking = asking_of(task, options.listed(whole_text(labels)), instruction=whole_text(instruction), unit=unit)
    limits = Limits(calls=max_calls, tokens=max_tokens, usd=max_usd, price=price, concurrency=concurrency, timeout=timeout)
    with bars() as report:
        found = await_(
            run_attribute(
                model,
                asking,
                whole_text(text),
                methods=methods,
                operator=operator,
                unit=unit,
                most=budget,
                label=label.strip() if label else None,
                interactions=interactions,
                seed=seed,
                limits=limits,
                base_url=base_url,
                dtype=dtype,
                device=device,
                report=report,
            )
        )
    if out is not None:
        from explicate.attribution_page import write_attribution_page

        write_attribution_page(found, out)
    if json:
        show_json({**({} if out is None else {"report": str(out)}), **found.model_dump(mode="json")})
        return
    show_attribution(found)
    if out is not None:
        from rich.console import Console

        Console(emoji=False).print(f"Report: {plain(str(out))}", soft_wrap=True)
