"""Twins: controls that are sampled, explained and scored just like the sites of a run, in a run folder of their own within it.

random-direction is a random unit vector of the residual stream behind the site's block, random-init the same site of a subject with the
same architecture and fresh weights. Labels of trained sites that score no higher than their twins' say nothing of what was learnt.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from analyzers.errors import Failed
from analyzers.sites import Site
from evals.label_config import LabelConfig, Twin
from evals.results import Calls, RunResults, SiteResult, Tokens, Value, failure, headline
from evals.results import Twin as TwinResult
from evals.statistics import mean

DIRECTIONS = 1_000_000
"""Random directions of a layer that twins are drawn from."""


def twin_config(config: LabelConfig, twin: Twin, sites: Sequence[Site]) -> LabelConfig:
    """The same run on the twins of its sites, in order."""
    same = {"twins": (), "layers": "", "sample": 0, "polarity": "dominant", "kind": "mlp", "scorers": (), "sae": (), "directions": None}
    if twin == "random-init":
        keep = {"sae": config.sae, "directions": config.directions}
        return config.model_copy(update={**same, **keep, "sites": tuple(map(str, sites)), "init": "random"})
    return config.model_copy(update={**same, "sites": tuple(map(str, directions(sites)))})


def with_twins(results: RunResults, twin: Twin, of_twins: RunResults, seed: int) -> RunResults:
    """The results with those of one sort of twins, which are in the same order."""
    sites, differences = [], []
    for site, other in zip(results.sites, of_twins.sites, strict=True):
        name = other.site + ("-" if other.polarity == "-" else "")
        beside = TwinResult(site=name, explanation=other.explanation, scores=other.scores, lift=other.lift)
        sites.append(site.model_copy(update={"twins": {**site.twins, twin: beside}}))
        mine, theirs = _headline(site), _headline(other)
        if mine is not None and theirs is not None:
            differences.append(mine - theirs)
    difference = mean(np.array(differences), seed=seed)
    value = failure(difference) if isinstance(difference, Failed) else difference
    # What the twins took is part of what the command took.
    calls = Calls(made=results.calls.made + of_twins.calls.made, cached=results.calls.cached + of_twins.calls.cached)
    tokens = Tokens(
        prompt=results.tokens.prompt + of_twins.tokens.prompt, completion=results.tokens.completion + of_twins.tokens.completion
    )
    spent = {"calls": calls, "tokens": tokens, "usd": results.usd + of_twins.usd}
    return results.model_copy(update={"sites": sites, "twins": {**results.twins, twin: value}, **spent})


def directions(sites: Sequence[Site]) -> list[Site]:
    """A random direction for each site, all different; drawn by the site's name, so that it does not depend on the run's other sites
    unless one of them has drawn the same."""
    taken: dict[Site, None] = {}
    for site in sites:
        index = zlib.crc32(site.name.encode()) % DIRECTIONS
        while (direction := Site(site.layer, index % DIRECTIONS, site.polarity, "random")) in taken:
            index += 1
        taken[direction] = None
    return list(taken)


def _headline(site: SiteResult) -> float | None:
    score = site.scores.get(headline(site.scores))
    return score.value if isinstance(score, Value) else None
