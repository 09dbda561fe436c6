"""Metrics of a labelling run: means of every score over its sites, the lift among them, and how many sites could be scored."""

from collections.abc import Iterator

from evals.metrics.metric import VOID, Items, Key, Metric, averaged
from evals.results import Failure, RunResults, SiteResult, Value, figures, headline, stored
from evals.statistics import mean

SHARE = "share_scored"
LEAKED = Failure(stage="leak audit", reason="scored text was shown to the explainer: not to be used")


def metrics(results: RunResults, task: str = "") -> Iterator[Metric]:
    """A void run, and one whose leak audit failed, has its means failed, and still a share of scored sites."""
    unused = LEAKED if not results.leak_audit.passed else VOID if results.void else None
    for name, value in results.means.items():
        lost = len(results.sites) - value.n if isinstance(value, Value) else len(results.sites)
        yield Metric(task, name, "", unused or value, lost, "higher")
    shares = stored({SHARE: mean([value for _, value in _scored(results)])})
    yield Metric(task, SHARE, "", shares[SHARE], 0, "higher")


def items(results: RunResults, task: str = "") -> dict[Key, Items]:
    """Sites by name and polarity; of every mean those that it is over."""
    scored = [site for site in results.sites if _is_scored(site)]
    found = {}
    for name in results.means:
        values = [(_name(site), figures(site).get(name)) for site in scored]
        found[task, name, ""] = averaged([(key, value.value) for key, value in values if isinstance(value, Value)])
    return found | {(task, SHARE, ""): averaged(_scored(results))}


def _scored(results: RunResults) -> list[tuple[str, float]]:
    return [(_name(site), float(_is_scored(site))) for site in results.sites]


def _is_scored(site: SiteResult) -> bool:
    return isinstance(site.scores.get(headline(site.scores)), Value)


def _name(site: SiteResult) -> str:
    return f"{site.site}{site.polarity}"
