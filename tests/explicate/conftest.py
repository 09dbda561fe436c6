"""What the tests of the commands share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from explicate.cli import app


@pytest.fixture
def call(workplace: Path) -> Callable[..., Result]:
    """call("label", ...): the command as a user gives it; it must not fail."""

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return invoke
