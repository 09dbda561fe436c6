"""`explicate attribute`: which words of a text decide a model's choice among labels."""

from typing import Annotated

import typer

from explicate.commands.options import Device, Dtype, Json, Seed


def attribute(
    model: Annotated[str, typer.Argument(help="A local model: an asset (see `explicate models`), a folder, or a Hub id.")],
    text: Annotated[str, typer.Argument(help="The text whose words are left out.")],
    labels: Annotated[str, typer.Option(help="What the model chooses among, comma-separated.")],
    label: Annotated[str | None, typer.Option(help="The label that is attributed; by default the one the model chooses.")] = None,
    method: Annotated[str, typer.Option(help="Comma-separated: occlusion, shapley, kernel-shap, lime.")] = "occlusion,shapley",
    operator: Annotated[
        str, typer.Option(help="How a word is taken away: delete, mask, neutral, or replace (by another word of the text).")
    ] = "delete",
    unit: Annotated[str, typer.Option(help="What is taken away: word, spaced (between spaces) or sentence.")] = "word",
    budget: Annotated[
        int, typer.Option(help="Perturbed texts a method may ask for; each takes what it needs at least.", min=4, max=20_000)
    ] = 200,
    instruction: Annotated[str, typer.Option(help="What the model is asked, in place of a plain question that lists the labels.")] = "",
    seed: Seed = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Attribute a model's choice among labels to the words of a text, by taking words away.

    Example: explicate attribute smollm2-135m "The food was cold but the staff were lovely." --labels positive,negative
    """
    from agents.label_beliefs import LabelBeliefs
    from analyzers.attributions import METHODS
    from analyzers.engine import Engine
    from analyzers.errors import ExplicateError
    from analyzers.perturbations import OPERATORS
    from analyzers.units import cut
    from analyzers.whole_text import whole_text
    from evals.attribute import attribute as attributed
    from explicate.attribution_table import show_attribution
    from explicate.progress import bars
    from explicate.running import show_json

    methods = [name.strip() for name in method.split(",") if name.strip()]
    # What is misspelt is told before a model is fetched and loaded.
    if not methods:
        raise ExplicateError(f"--method {method!r} names no method; choose some of {', '.join(METHODS.all())}")
    for name in methods:
        METHODS.get(name)
    OPERATORS.get(operator)
    cut(whole_text(text), unit)
    with bars() as report:
        beliefs = LabelBeliefs(
            Engine.load(model, dtype=dtype, device=device, report=report), whole_text(labels).split(","), instruction=instruction
        )
        found = attributed(
            beliefs,
            whole_text(text),
            methods=methods,
            operator=operator,
            unit=unit,
            most=budget,
            label=label.strip() if label else None,
            seed=seed,
            report=report,
        )
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        show_attribution(found)
