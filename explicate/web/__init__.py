"""The pages of the results database, and a JSON interface beside each: `explicate view`."""

__all__: list[str] = []
