"""The templates of the pages. Text of models and corpora is escaped; what is put in as it is are files of our own."""

from functools import cache
from typing import Any


@cache
def environment() -> Any:
    """Jinja with every value escaped, and an error for a name that is not there."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(loader=PackageLoader("explicate"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def source(name: str) -> str:
    """A file of the templates' folder, unrendered."""
    loaded = environment()
    text: str = loaded.loader.get_source(loaded, name)[0]
    return text


def trusted(name: str) -> Any:
    """A file of our own, put into the page as it is."""
    from markupsafe import Markup

    return Markup(source(name))  # noqa: S704 -- our own file
