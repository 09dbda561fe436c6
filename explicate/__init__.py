"""explicate finds out what a language model is doing and checks whether the explanations hold.

    import explicate
    run = explicate.label("smollm2-135m", sites=["L7.mlp.1306"])
    run.sites[0]          # shows itself in a notebook
    run.to_frame()        # every score and control as a pandas table

Names are loaded when they are first used, so that importing this package, and `explicate --help`, costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explicate.notebook import Run, SiteView, label, open_run, sample

__all__ = ["Run", "SiteView", "label", "open_run", "sample"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from explicate import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module 'explicate' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
