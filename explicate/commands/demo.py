"""`explicate demo`: label some neurons of the default subject with local models, and show what came of it."""

from pathlib import Path
from typing import Annotated

import typer

from explicate.commands.options import Json

SITES = ("L0.mlp.1250", "L7.mlp.1306", "L9.mlp.851", "L15.mlp.1493")
MODEL = "local:qwen2.5-coder-0.5b"


def demo(
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo"),
    json: Json = False,
) -> None:
    """Label four neurons of SmolLM2-135M with local language models: sets up models and text, then does the main job on the defaults.

    Example: explicate demo
    """
    from evals.label_config import LabelConfig, Limits
    from explicate.running import run_label, say

    config = LabelConfig.checked(
        subject="smollm2-135m", sites=SITES, explainer=MODEL, simulator=MODEL, scorers=(), candidates=2, tokens=24_000, excerpt_tokens=24
    )
    run_label(config, Limits(), out, json=json)
    say("Next: open the report, then try neurons of your own: explicate label smollm2-135m --sample 10")
