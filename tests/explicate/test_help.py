"""`--help` is quick because it loads nothing heavy, and what it says is true."""

import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer.main

from explicate.cli import app

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = {
    f"{name} {inner}".strip(): command
    for name, group in GROUP.commands.items()
    for inner, command in getattr(group, "commands", {"": group}).items()
}
"""By all its words: `label`, `suite run`."""
HEAVY = ("torch", "numpy", "transformers", "openai", "langchain", "pandas", "pyarrow", "scipy", "sklearn", "sqlalchemy", "jinja2")

WATCH = """
import contextlib, io, json, sys
from explicate.cli import main
loaded = {}
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["explicate", *arguments, "--help"]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        try:
            main()
        except SystemExit as end:
            assert not end.code, (arguments, end.code)
    assert "Usage: explicate" in shown.getvalue(), arguments
    loaded[" ".join(arguments)] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(loaded))
"""


def test_no_help_page_imports_anything_heavy() -> None:
    asked = [[], *([name] for name in GROUP.commands), *(name.split() for name in COMMANDS if " " in name)]
    done = subprocess.run([sys.executable, "-c", WATCH, json.dumps(asked)], capture_output=True, text=True, check=True)
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    assert loaded.keys() == {"", *GROUP.commands, *COMMANDS}
    assert {page: sorted(set(modules) & set(HEAVY)) for page, modules in loaded.items()} == {page: [] for page in loaded}


def test_there_are_the_commands_that_the_documentation_names() -> None:
    assert {"demo", "doctor", "label", "models", "report", "sample", "selftest"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str) -> None:
    command = COMMANDS[name]
    example = re.search(r"Example: (explicate .+?)(?:\n\s*\n|\Z)", command.help, re.DOTALL)
    assert example is not None
    program, *words = shlex.split(example[1])
    called, arguments = words[: len(name.split())], words[len(name.split()) :]
    assert (program, called) == ("explicate", name.split())
    # Parses and checks types and ranges; raises for an option or argument that the command does not have.
    context = command.make_context(name, arguments)
    assert context.params["json"] is False


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json_on_demand_and_explains_its_options(name: str) -> None:
    options = {option: parameter for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--json" in options
    assert [option for option, parameter in options.items() if not parameter.help] == []
