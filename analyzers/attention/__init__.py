"""What a model's attention does: reading and changing it, and what follows from it alone. Import from its files."""

from typing import Literal

__all__ = ["Role"]

Role = Literal["previous", "next", "first", "self", "duplicate", "induction"]
"""What a head mostly attends to: the token before, the one after, the first one, itself, an earlier copy of the token, or what followed
an earlier copy."""
