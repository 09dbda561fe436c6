"""`explicate probe`: what hidden states hold. With a model's name in place of a command it probes labels of words or sentences."""

from typing import Any

import typer
from typer.core import TyperGroup

from explicate.commands.probe_labels import labels
from explicate.commands.probe_place import place
from explicate.commands.probe_tree import tree
from explicate.commands.probe_truth import truth
from explicate.commands.probe_view import view


class _LabelsByDefault(TyperGroup):
    """`explicate probe MODEL` is `explicate probe labels MODEL`; a folder that is called like a command is written ./tree."""

    default = "labels"

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return self.default, self.commands[self.default], args
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_LabelsByDefault,
    no_args_is_help=True,
    help="Find out what hidden states hold: tags and properties of sentences (also as `explicate probe MODEL`), trees, places, truth.",
)
for command in (labels, tree, place, truth, view):
    app.command(no_args_is_help=True)(command)
