"""The notebook door: the commands as functions, and results that show themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agents.untrusted import one_line
from analyzers.errors import ExplicateError
from evals.label_config import ExperimentConfig, LabelConfig, Limits
from evals.results import RunResults, SiteResult
from explicate.report import Artefacts, read, render_run, render_site, write_report
from explicate.site_card import label_of

if TYPE_CHECKING:
    import pandas as pd

    from analyzers.store import ActivationStore


@dataclass(frozen=True)
class SiteView:
    """One site of a run: its result, and its card in a notebook."""

    result: SiteResult
    artefacts: Artefacts

    def __repr__(self) -> str:
        return f"{label_of(self.result.site, self.result.polarity)}: {one_line(self.result.explanation or 'no explanation')}"

    def _repr_html_(self) -> str:
        return render_site(self.artefacts, self.result)


@dataclass(frozen=True)
class Run:
    """A finished labelling run, read from its folder."""

    path: Path

    @cached_property
    def artefacts(self) -> Artefacts:
        return read(self.path)

    @property
    def results(self) -> RunResults:
        """What results.json holds."""
        return self.artefacts.results

    @property
    def sites(self) -> list[SiteView]:
        return [SiteView(site, self.artefacts) for site in self.results.sites]

    @property
    def report(self) -> Path:
        """The HTML report, drawn again."""
        return write_report(self.path)

    def to_frame(self) -> "pd.DataFrame":
        """Every score, control and lift in long format: site, polarity, of, stratum, score, value, low, high, n, failed.

        Raises ExplicateError where pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ExplicateError(
                "to_frame() needs pandas, from the extra `data`: .venv/bin/pip install -e '.[data]'; or read scores.parquet yourself"
            ) from None
        return pd.read_parquet(self.path / "scores.parquet")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}): {self.results.n_scored} sites scored, {self.results.n_failed} failed"

    def _repr_html_(self) -> str:
        return render_run(self.artefacts)


def open_run(path: str | Path) -> Run:
    """Open the folder of a finished run; raises RunFolderError where there is none."""
    run = Run(Path(path))
    _ = run.artefacts
    return run


def label(
    subject: str,
    *,
    sites: Sequence[str] | None = None,
    layers: str = "",
    sample: int = 0,
    kind: str = "mlp",
    polarity: Literal["dominant", "both", "+", "-"] = "dominant",
    sae: Sequence[str] = (),
    directions: str | None = None,
    init: Literal["trained", "random"] = "trained",
    twins: Sequence[Literal["random-direction", "random-init"]] = (),
    explainer: str = "local:qwen2.5-coder-1.5b",
    style: Literal["marked-text", "token-activation"] = "marked-text",
    candidates: int = 2,
    experiment: ExperimentConfig = ExperimentConfig(),  # noqa: B008 - frozen
    simulator: str = "local:qwen2.5-coder-0.5b",
    scorers: Sequence[str] = ("auto",),
    items: int = 48,
    neighbours: bool = True,
    enough: float | None = None,
    corpus: str = "wikipedia-sample",
    tokens: int = 200_000,
    excerpt_tokens: int = 32,
    base_url: str | None = None,
    seed: int = 0,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    out: str | Path | None = None,
    limits: Limits | None = None,
) -> Run:
    """Explain and score sites of a subject, as `explicate label` does with the options of the same names; `out` is the run folder.

    Works in a notebook, whose event loop is running. Raises ExplicateError for what is wrong with the options, and LimitReached, after
    writing what there is, where one of `limits` stopped the run: the same call goes on from there.
    """
    from evals.each import Stopped
    from evals.label import label as work
    from explicate.progress import bars
    from explicate.running import await_, default_out, say

    config = LabelConfig.checked(
        subject=str(subject),
        sites=None if sites is None else tuple(sites),
        layers=layers,
        sample=sample,
        kind=kind,
        polarity=polarity,
        sae=tuple(sae),
        directions=directions,
        init=init,
        twins=tuple(twins),
        explainer=explainer,
        style=style,
        candidates=candidates,
        experiment=experiment,
        simulator=simulator,
        scorers=tuple(scorers),
        items=items,
        neighbours=neighbours,
        enough=enough,
        corpus=corpus,
        tokens=tokens,
        excerpt_tokens=excerpt_tokens,
        base_url=base_url,
        seed=seed,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    folder = Path(out) if out is not None else default_out(config.subject, config)
    with bars() as report:
        try:
            await_(work(config, folder, limits=limits or Limits(), report=report, tell=say))
        except Stopped:
            write_report(folder)
            raise
    write_report(folder)
    return Run(folder)


def sample(
    subject: str,
    *,
    corpus: str = "wikipedia-sample",
    tokens: int = 200_000,
    excerpt_tokens: int = 32,
    seed: int = 0,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> "ActivationStore":
    """Run a subject over a corpus and keep the excerpts and moments of every neuron, as `explicate sample` does.

    A pass that was made before is opened again. Raises ExplicateError for what is wrong with the options.
    """
    from analyzers.passes import open_pass
    from analyzers.subject import Subject
    from explicate.progress import bars

    # The options are those of a labelling run, within the same bounds.
    LabelConfig.checked(subject=str(subject), corpus=corpus, tokens=tokens, excerpt_tokens=excerpt_tokens, seed=seed)
    with bars() as report:
        model = Subject.load(subject, dtype=dtype, device=device, trust_remote_code=trust_remote_code, report=report)
        return open_pass(model, corpus, tokens=tokens, excerpt_tokens=excerpt_tokens, seed=seed, report=report)
