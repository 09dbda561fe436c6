"""What the tests of the commands and of their pages share."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import typer.testing
from typer.testing import CliRunner, Result

from explicate.cli import app, run


@pytest.fixture(scope="session", autouse=True)
def commands_built_once() -> Iterator[None]:
    """Typer builds all commands anew, a fiftieth of a second, whenever one is called."""
    once = cache(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", once)
        patch.setattr(typer.testing, "_get_command", once)
        yield


@pytest.fixture
def call(workplace: Path) -> Callable[..., Result]:
    """call("label", ...): the command as a user gives it; it must not fail."""

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return invoke


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def ended(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """ended(app, "query", ...): the command in this process, with what its user sees where it fails."""

    def invoke(commands: Any, *arguments: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(lambda: commands(list(map(str, arguments)), standalone_mode=False))
        out, err = capsys.readouterr()
        return Ended(int(stop.value.code or 0), out, err)

    return invoke


@pytest.fixture
def chromium() -> Iterator[Callable[..., Any]]:
    """chromium(url, own=(...), **context): a page in a real Chromium; skipped where there is none.

    `page.trouble()` is what it said in its console or in a dialog, its errors, and what it asked for that begins with none of `own`;
    `page.overflow()` is how many pixels stand out of it to the right.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra with playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine: apt install chromium")
    arguments = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    with playwright.sync_playwright() as driver, driver.chromium.launch(executable_path=program, args=arguments.split()) as browser:

        def opened(url: str, *, own: tuple[str, ...], **context: Any) -> Any:
            page = browser.new_context(**context).new_page()
            said: list[str] = []
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: said.append("a dialog: " + dialog.message))
            page.on("request", lambda request: said.append(request.url) if not request.url.startswith(own) else None)
            page.trouble = lambda: list(said)
            page.overflow = lambda: page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            page.answer = page.goto(url)
            return page

        yield opened


@pytest.fixture
def show(chromium: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """show(file, at="#...", **context): a file as a page in Chromium; in the end none may have had any trouble."""
    pages: list[Any] = []

    def opened(file: Path, *, at: str = "", **context: Any) -> Any:
        url = file.absolute().as_uri()
        pages.append(chromium(url + at, own=(url, "blob:"), **{"viewport": {"width": 1300, "height": 900}} | context))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()  # which tells what it has still to say
    assert [page.trouble() for page in pages if page.trouble()] == []
