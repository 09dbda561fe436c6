"""Texts of token numbers, by a tokenizer alone: for caches that other programs wrote, where no model is needed."""

from collections.abc import Sequence
from pathlib import Path

from analyzers.errors import ExplicateError, SubjectError
from analyzers.tokens import Tokens


class TokenTexts:
    """Exact texts of single tokens."""

    def __init__(self, tokens: Tokens, size: int, name: str) -> None:
        self._tokens, self._size, self._name = tokens, size, name

    @classmethod
    def load(cls, name_or_folder: str) -> "TokenTexts":
        """A folder that has a tokenizer, with or without a model, or a name as in `model_source`.

        Raises SubjectError where there is none, AssetError where the name cannot be found.
        """
        from transformers import AutoTokenizer

        from analyzers.assets import model_source

        folder = Path(name_or_folder)
        alone = folder.is_dir() and any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
        path = folder if alone else model_source(name_or_folder).path
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(path), trust_remote_code=False)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
            why = " ".join(str(error).split())[:300]
            raise SubjectError(f"{name_or_folder!r} has no tokenizer that can be loaded: {why}") from error
        return cls(Tokens(tokenizer), len(tokenizer), name_or_folder)

    def of(self, ids: Sequence[int], where: Path) -> tuple[str, ...]:
        """Text of each token; where: the file that the numbers are from. Raises ExplicateError for a number that the tokenizer lacks."""
        strange = next((number for number in ids if not 0 <= number < self._size), None)
        if strange is not None:
            raise ExplicateError(
                f"{str(where)!r} has token {strange}, and the tokenizer {self._name!r} has {self._size:,}: name the one it was written with"
            )
        return tuple(self._tokens.text(number) for number in ids)
