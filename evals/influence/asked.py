"""What a query asks for: its lines, the method and the text, each checked before a model is loaded, and then against the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analyzers.corpus import json_objects, source_identity
from analyzers.errors import CorpusError, RunFolderError, SubjectError
from analyzers.progress import Report
from analyzers.whole_text import whole_text
from evals.influence.config import FORM, QueryConfig, ScoringConfig

if TYPE_CHECKING:
    from analyzers.influence.factors import Factors
    from analyzers.influence.kinds import Method
    from analyzers.influence.passages import Passage
    from analyzers.influence.scoring import Query
    from analyzers.text_model import TextModel


def asked_in(config: QueryConfig) -> list[tuple[str, str, str]]:
    """Of each query what it is called in messages, its prompt and its completion. Raises CorpusError, which names file and line."""
    if config.queries is None:
        assert config.completion is not None
        return [("", whole_text(config.prompt or ""), whole_text(config.completion))]
    found = text_lines_of(config.queries, "--queries", ("prompt", "completion"), FORM)
    if not found:
        raise CorpusError(f"--queries {str(config.queries)!r} holds no query; give lines such as {FORM}")
    return [(f"{where}: ", prompt, completion) for where, (prompt, completion) in found]


def text_lines_of(path: Path, option: str, names: Sequence[str], form: str) -> list[tuple[str, list[str]]]:
    """Of each line what it is called in messages, and its texts by these names, of which only a prompt may be empty or left out.

    Raises CorpusError, which shows a line as it is to be.
    """
    remedy = f"give lines such as {form}"
    if not path.is_file():
        raise CorpusError(f"{option}: there is no file {str(path)!r}; {remedy}")
    found = []
    for _, (where, record) in json_objects(path, remedy):
        texts = [record.get(name, "" if name == "prompt" else None) for name in names]
        if not all(isinstance(text, str) and (text or name == "prompt") for name, text in zip(names, texts, strict=True)):
            raise CorpusError(f"{where} has no text as {', '.join(names[:-1])} and {names[-1]}; {remedy}")
        found.append((where, [whole_text(str(text)) for text in texts]))
    return found


def checked(model: "TextModel", asked: Sequence[tuple[str, str, str]]) -> "list[Query]":
    """Queries that the model can read; asked: (what a query is called in messages, prompt, completion)."""
    from analyzers.influence.scoring import Query

    found = []
    for where, prompt, completion in asked:
        query = Query(prompt, completion)
        try:
            query.ids(model)
        except SubjectError as error:
            raise SubjectError(f"{where}{error}") from None
        found.append(query)
    return found


def method_of(factors: "Factors", config: ScoringConfig) -> "Method":
    """The one that was asked for, or the best. Raises SubjectError for one that the factors do not serve."""
    return factors.methods[0] if config.method is None else factors.served(config.method)


def kept_source(factors: "Factors") -> dict[str, str]:
    """What the factors say that they are of. Raises RunFolderError where they do not."""
    kept: dict[str, str] = factors.info["source"]
    if not {"train", "identity", "length", "limit", "seed", "model"} <= set(kept):
        raise RunFolderError(f"the factors in {str(factors.folder)!r} do not say what they are of; fit them with `explicate influence fit`")
    return kept


def model_of(factors: "Factors", config: ScoringConfig, report: Report) -> "TextModel":
    """The model that the factors are of. Raises SubjectError where another one has its name now."""
    from analyzers.text_model import TextModel

    model = TextModel.load(kept_source(factors)["model"], dtype=factors.model["dtype"], device=config.device, report=report)
    factors.check(model)
    return model


def source_of(factors: "Factors", config: QueryConfig, report: Report) -> dict[str, str]:
    """Of the text that is scored. Raises RunFolderError where it is no longer what the factors were fitted to."""
    kept = kept_source(factors)
    train = config.train or kept["train"]
    if config.train is None and not (train.startswith("hf:") or Path(train).exists()) and Path(train).is_absolute():
        raise RunFolderError(f"the training text {train!r} of the factors is no longer there; put it back, or give another by --train")
    identity = source_identity(train, report=report)
    if config.train is None and identity != kept["identity"]:
        raise RunFolderError(
            f"the training text {train!r} has changed since the factors were fitted; put it back, fit anew into another folder, or give "
            "--train to score it all the same with the curvature of the old one"
        )
    return {"train": train, "identity": identity, "length": kept["length"], "limit": "" if config.train else kept["limit"]}


def check_same_text(factors: "Factors", text: "Sequence[Passage]", config: QueryConfig) -> None:
    """Raises RunFolderError where the text, though it is the same, is read as other passages than the factors were fitted to."""
    from analyzers.pass_folder import content_key

    if content_key([passage.ids for passage in text]) != factors.info["text"]:
        raise RunFolderError(
            f"the training text of the factors in {str(config.folder)!r} gives other passages than they were fitted to; fit anew"
        )
