"""Options that several commands have, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

SubjectName = Annotated[str, typer.Argument(help="The model under study: an asset (see `explicate models`), a folder, or a Hub id.")]
AskedModel = Annotated[str, typer.Argument(help="A local model by name, folder or Hub id, or openai:MODEL (or another provider).")]
TaskName = Annotated[str, typer.Option(help="What is asked: sentiment, topic, or a TOML file of your own.")]
Draw = Annotated[int, typer.Option("--n", help="How many items to draw; 0: all.", min=0)]
Example = Annotated[
    bool | None,
    typer.Option("--example/--no-example", help="Show the form of a reply by an example first; by default to local models only."),
]
Out = Annotated[Path | None, typer.Option(help="Run folder; the same command with the same folder goes on where it stopped.")]
Page = Annotated[Path | None, typer.Option("--out", "-o", help="A file to write: .html (a page), or .json (all figures).")]
Corpus = Annotated[str, typer.Option(help="Text to sample: an asset, a .txt, .md or .jsonl file, a folder of them, or hf:DATASET.")]
Tokens = Annotated[int, typer.Option(help="How much text to sample, in tokens.", min=1)]
ExcerptTokens = Annotated[int, typer.Option(help="Length of an excerpt, in tokens.", min=17, max=128)]
Seed = Annotated[int, typer.Option(help="Seed of everything that draws.", min=0, max=2**32 - 1)]
Dtype = Annotated[str, typer.Option(help="Number format of the subject: auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="Where the subject runs: auto, cpu, cuda or mps.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that the model's folder brings along.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
BaseUrl = Annotated[str | None, typer.Option(help="Address of an OpenAI-compatible server, for openai: and echo: models.")]
MaxCalls = Annotated[int | None, typer.Option(help="Stop before more calls than this.", min=0)]
MaxTokens = Annotated[int | None, typer.Option(help="Stop before more tokens than this.", min=0)]
MaxUsd = Annotated[float | None, typer.Option(help="Stop before spending more than this.", min=0)]
Price = Annotated[str | None, typer.Option(help="IN,OUT: USD per million tokens of every remote model, in place of the listed price.")]
Concurrency = Annotated[int, typer.Option(help="Calls at a time to a remote model.", min=1)]

Timeout = Annotated[float, typer.Option(help="Seconds for one try of a call to a remote model; more for a slow server of your own.", min=1)]


def listed(text: str) -> list[str]:
    """The parts of a comma-separated option."""
    return [part.strip() for part in text.split(",") if part.strip()]
