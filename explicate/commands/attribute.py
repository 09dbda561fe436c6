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
    operator: Annotated[str, typer.Option(help="How a word is taken away: delete, mask, neutral or replace.")] = "delete",
    unit: Annotated[str, typer.Option(help="What is taken away: word, spaced (between spaces) or sentence.")] = "word",
    budget: Annotated[int, typer.Option(help="Perturbed texts that each method may ask for; occlusion needs one a word.", min=4)] = 200,
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
    from analyzers.perturbations import OPERATORS
    from evals.attribute import attribute as attributed
    from explicate.attribution_table import show_attribution
    from explicate.progress import bars
    from explicate.running import show_json

    methods = [name.strip() for name in method.split(",") if name.strip()]
    # What is misspelt is told before a model is fetched and loaded.
    for name in methods:
        METHODS.get(name)
    OPERATORS.get(operator)
    with bars() as report:
        beliefs = LabelBeliefs(Engine.load(model, dtype=dtype, device=device, report=report), labels.split(","), instruction=instruction)
        found = attributed(beliefs, text, methods=methods, operator=operator, unit=unit, most=budget, label=label, seed=seed)
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        show_attribution(found)
