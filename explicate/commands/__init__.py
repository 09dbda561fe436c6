"""One file a command; explicate/cli.py puts them together."""

__all__: list[str] = []
