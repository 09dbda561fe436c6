"""What scorers share: the material they judge on, what they answer, and the numbers made of it."""

__all__: list[str] = []
