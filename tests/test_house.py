"""The house: the README's tree is the disk's, public names are importable, the documentation names what exists."""

import ast
import functools
import importlib
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NOTES = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PARTS = ("Problem", "Why the obvious fails", "Choice", "What guards it")


@functools.cache
def files() -> list[str]:
    """Paths of all files that belong to the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout: nothing says which files belong to the project")
    return [path for path in listed.stdout.split("\0") if path and (ROOT / path).exists()]


def tree() -> Iterator[tuple[str, str]]:
    """Path and remark of every line of the README's tree; a folder's line ends with a slash and stands above its files."""
    above: list[str] = []
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- tree -->")
    lines = re.fullmatch(r"\s*```\n(.*?)\n```\s*", rest, re.DOTALL)
    assert lines is not None, "README.md must end with <!-- tree --> and the tree in a fenced block"
    for line in lines[1].splitlines():
        indent, name, remark = re.fullmatch(r"( *)(\S+)(?:  +(.*))?", line).groups()  # type: ignore[union-attr]
        depth = len(indent) // 2
        assert depth <= len(above), f"{line!r} stands under nothing"
        above[depth:] = [name] if name.endswith("/") else []
        yield "".join(above[:depth]) + name, remark or ""


def test_the_tree_of_the_readme_is_that_of_the_disk() -> None:
    listed = dict(tree())
    ours = {path for path in files() if not path.startswith("tests/")}
    ours |= {
        f"tests/{folder}/" for folder in {Path(path).parts[1] for path in files() if path.startswith("tests/") and path.count("/") > 1}
    }
    ours |= {path for path in files() if path.startswith("tests/") and path.count("/") == 1}
    folders = {f"{parent.as_posix()}/" for path in ours for parent in Path(path).parents if parent != Path()}
    missing, superfluous = sorted((ours | folders) - listed.keys()), sorted(listed.keys() - ours - folders)
    assert not missing, "README.md lacks in its tree:\n" + "\n".join(missing)
    assert not superfluous, "README.md has in its tree what is not there:\n" + "\n".join(superfluous)


def test_every_line_of_the_tree_says_what_the_file_is() -> None:
    assert [path for path, remark in tree() if not remark] == []


def _order(name: str) -> tuple[int, str]:
    """Constants, classes, functions, each by name: the order that ruff holds `__all__` to."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_importable(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__, f"{package} says nothing of itself"
    names: list[str] = module.__all__
    assert names == sorted(set(names), key=_order)
    for name in names:
        assert getattr(module, name).__name__ if callable(getattr(module, name)) else True
    if "__getattr__" in vars(module):
        assert dir(module) == sorted(names)
        with pytest.raises(AttributeError, match="no_such_name"):
            module.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_gives_is_what_the_type_checker_sees(package: str) -> None:
    module = importlib.import_module(package)
    path = ROOT / package.replace(".", "/") / "__init__.py"
    checked = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.If)]
    imports = [node for block in checked for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    if "__getattr__" not in vars(module):
        return  # nothing is loaded lazily here
    assert set(seen) == set(module.__all__)
    for name, home in seen.items():
        assert home is not None
        assert getattr(module, name) is getattr(importlib.import_module(home), name)


def test_every_package_on_disk_is_installed() -> None:
    on_disk = {Path(path).parent.as_posix().replace("/", ".") for path in files() if path.endswith("__init__.py")}
    assert on_disk == set(PACKAGES)


@pytest.mark.parametrize("path", NOTES, ids=lambda path: str(path.stem))
def test_decisions_have_their_four_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(r"\d{3}-[a-z0-9-]+", path.stem)
    assert text.startswith(f"# {path.stem[:3]}: ")
    assert re.findall(rf"^\*\*({'|'.join(PARTS)})\.\*\*", text, re.MULTILINE) == list(PARTS)


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.stem[:3]) for path in NOTES] == list(range(1, len(NOTES) + 1))


def test_no_file_names_this_machine_or_a_package_registry() -> None:
    # Put together here, so that this file does not name them either.
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"))]
    home = r"(?<![\w.~/-])/(?:home|root|work|Users)/\w"
    here = re.compile("|".join([home, re.escape(str(ROOT)) if len(ROOT.parts) > 2 else home, *map(re.escape, hosts)]))
    found = []
    for path in files():
        for number, line in enumerate((ROOT / path).read_bytes().decode("utf-8", "replace").splitlines(), 1):
            found += [f"{path}:{number}: {match[0]}" for match in here.finditer(line)]
    assert found == []


def commands_named(text: str) -> list[str]:
    """What the text shows in code, in a line or in a block, that begins with `explicate ` or `./run `."""
    fence = r"^```.*?\n(.*?)^```"
    lines = [line for block in re.findall(fence, text, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
    rest = re.sub(fence, "", text, flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"^    (\S.*)", rest, re.MULTILINE)
    lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", rest)
    bare = [re.sub(r"^\s*\$?\s*", "", line).split("  #")[0] for line in lines]
    return [line for line in bare if re.match(r"(explicate|\./run) [a-z]", line)]


def test_commands_are_found_in_code() -> None:
    block = "```sh\n$ explicate label X --sites L7.mlp.1  # two\n./run demo\nexplicate: no\n```"
    text = f"Run `explicate doctor` or\n\n{block}\nexplicate is not code\n\n    explicate models  # indented\n"
    assert commands_named(text) == ["explicate label X --sites L7.mlp.1", "./run demo", "explicate models", "explicate doctor"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_the_documentation_exist(document: Path) -> None:
    from explicate.cli import app

    group: Any = typer.main.get_command(app)
    targets = set(re.findall(r"^    ([a-z]+)\)", (ROOT / "run").read_text(encoding="utf-8"), re.MULTILINE))
    for line in commands_named(document.read_text(encoding="utf-8")):
        program, *called = line.replace("|", " ").split()
        if program == "./run":
            assert called[0] in targets, line
            continue
        # `explicate sample | models | selftest` names several.
        names = [word for word in called if word in group.commands] if "|" in line else called[:1]
        assert names, line
        for name in names:
            assert name in group.commands, line
            command = group.commands[name]
            if hasattr(command, "commands"):  # a group: `explicate suite run`
                inner = called[1] if called[1:] and called[1] in command.commands else getattr(command, "default", None)
                assert inner in command.commands, line
                command = command.commands[inner]
            options = {option for parameter in command.params for option in (*parameter.opts, "--help")}
            assert {word.partition("=")[0] for word in called if word.startswith("--")} <= options, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_the_documentation_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_the_run_script_parses() -> None:
    assert shlex.split(subprocess.run(["sh", "-n", str(ROOT / "run")], check=True, capture_output=True, text=True).stderr) == []
