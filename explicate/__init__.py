"""explicate finds out what a language model is doing and checks whether the explanations hold.

    import explicate
    run = explicate.label("smollm2-135m", sites=["L7.mlp.1306"])
    run.sites[0]          # shows itself in a notebook
    run.to_frame()        # every score and control as a pandas table

Names are loaded when they are first used, so that importing this package, and `explicate --help`, costs nothing.
"""

from typing import TYPE_CHECKING

from analyzers.lazy import lazily

if TYPE_CHECKING:
    from explicate.notebook import Run, SiteView, label, open_run, sample

__all__ = ["Run", "SiteView", "label", "open_run", "sample"]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "explicate.notebook"))
