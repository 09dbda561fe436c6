"""Questions to a model with saved edits and without them, and that model as a folder of its own."""

from analyzers.errors import AssetError
from analyzers.progress import Report, quiet
from evals.editing.config import AskConfig
from evals.editing.results import Asking, EditsAsked
from evals.editing.run import DELTAS, folder_of


def run_ask(config: AskConfig, *, report: Report = quiet) -> EditsAsked:
    """Go on behind every prompt, each token the likeliest. Raises ExplicateError for what the user can mend."""
    config.check()
    paths = [folder_of(folder) for folder in config.folders]
    for folder, path in zip(config.folders, paths, strict=True):
        if not path.is_file():
            raise AssetError(f"--load {str(folder)!r}: there is no {DELTAS}; make one by `explicate edit MODEL --edits FILE -o FOLDER`")
    from analyzers.editing.answering import written_on
    from analyzers.editing.deltas import applied, weights_hash
    from analyzers.editing.export import check_export, export
    from analyzers.editing.saved import SavedEdits
    from analyzers.text_model import TextModel

    if config.export is not None:
        check_export(config.export)
    saved = [SavedEdits.read(path) for path in paths]
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    for each in saved:
        each.check(model)
    edits = [edit for each in saved for edit in each.edits]
    hashed = weights_hash(model)
    without = [written_on(model, prompt, config.tokens) for prompt in config.prompts]
    with applied(model, edits):
        edited = [written_on(model, prompt, config.tokens) for prompt in config.prompts]
    if config.export is not None:
        export(model, edits, config.export)
    return EditsAsked(
        paths=[str(path) for path in paths],
        model=dict(model.identity),
        methods=[each.method for each in saved],
        edits=[[fact.prompt, fact.subject, fact.target] for each in saved for fact in each.facts],
        answers=[Asking(prompt=each, without=one, edited=two) for each, one, two in zip(config.prompts, without, edited, strict=True)],
        exported=None if config.export is None else str(config.export),
        restored_exactly=weights_hash(model) == hashed,
    )
