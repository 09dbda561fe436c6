"""Which training text moved an answer, measured: factors, queries beside baselines, planted truth. Import from its files."""

__all__: list[str] = []
