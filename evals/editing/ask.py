"""Questions to a model with saved edits and without them."""

from analyzers.errors import AssetError
from analyzers.progress import Report, quiet
from evals.editing.config import AskConfig
from evals.editing.results import Asking, EditsAsked
from evals.editing.run import DELTAS, folder_of


def run_ask(config: AskConfig, *, report: Report = quiet) -> EditsAsked:
    """Go on behind every prompt, each token the likeliest. Raises ExplicateError for what the user can mend."""
    config.check()
    path = folder_of(config.folder)
    if not path.is_file():
        raise AssetError(f"--load {str(config.folder)!r}: there is no {DELTAS}; make one by `explicate edit MODEL --edits FILE -o FOLDER`")
    from analyzers.editing.answering import written_on
    from analyzers.editing.deltas import applied, weights_hash
    from analyzers.editing.saved import SavedEdits
    from analyzers.text_model import TextModel

    saved = SavedEdits.read(path)
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    saved.check(model)
    hashed = weights_hash(model)
    without = [written_on(model, prompt, config.tokens) for prompt in config.prompts]
    with applied(model, saved.edits):
        edited = [written_on(model, prompt, config.tokens) for prompt in config.prompts]
    return EditsAsked(
        path=str(path),
        model=dict(model.identity),
        method=saved.method,
        edits=[[each.prompt, each.subject, each.target] for each in saved.facts],
        answers=[Asking(prompt=each, without=one, edited=two) for each, one, two in zip(config.prompts, without, edited, strict=True)],
        restored_exactly=weights_hash(model) == hashed,
    )
