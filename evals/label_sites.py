"""The sites of a labelling run with their evidence: neurons from a pass over all of them, other kinds from a pass over the sites alone."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from analyzers.blocks import Blocks
from analyzers.directions import Directions
from analyzers.drawn_sites import draw_sites
from analyzers.embeddings import Embedder
from analyzers.errors import Failed, SubjectError
from analyzers.evidence import Evidence, Split
from analyzers.laboratory import Laboratory
from analyzers.passes import run_pass
from analyzers.progress import Report
from analyzers.sae import SAE
from analyzers.site_pass import read_sites
from analyzers.site_store import SiteStore
from analyzers.sites import Site
from analyzers.subject import Subject
from evals.label_config import DEFAULT_SAMPLE, LabelConfig, choose_sides, parse_layers
from evals.scoring.gathering import Sizes, gather
from evals.shuffled import drawn_neurons, stand_ins
from evals.work import Work

NEIGHBOURS = "minilm"
"""The model whose embeddings say which texts are near in meaning."""
AROUND = Sizes(firing=60, random=40, near_miss=40, neighbour=0, weighted=0)
"""Excerpts, beside the kept ones, among which an explainer that experiments looks for quantiles and for silent text."""
LENDERS = 8
"""Random directions whose template explanations stand in for those of other sites, where the sites are no neurons."""
FIRST_LENDER = 999_999_000
"""Their first seed, which nobody names by accident."""


@dataclass(frozen=True)
class Sampled:
    """What was sampled of a subject."""

    works: list[Work]
    folder: str
    """Name of the folder of the pass."""
    store: SiteStore | None
    """All activations of the sites, where they were read alone."""


def load_subject(config: LabelConfig, report: Report) -> Subject:
    """The subject, with what is attached to it, which has the sites and layers that are asked for."""
    subject = Subject.load(
        config.subject, dtype=config.dtype, device=config.device, trust_remote_code=config.trust_remote_code, report=report
    )
    if config.init == "random":
        subject = subject.random_init(config.seed)
    for named in config.sae:
        folder, _, place = named.partition("@")
        subject.attach(sae=SAE.load(folder, at=place))
    if config.directions is not None:
        subject.attach(directions=Directions.load(config.directions))
    # Draws once, for the errors in it.
    for site in choose_sites(config, subject):
        subject.check(site)
    return subject


def choose_sites(config: LabelConfig, subject: Subject) -> list[Site]:
    """The sites a run is about: those named, or a seeded uniform draw from the layers, then still on their positive side."""
    if config.sites:
        return list(dict.fromkeys(Site.parse(name) for name in config.sites))
    layers = parse_layers(config.layers, subject.layers)
    try:
        return draw_sites(subject, config.kind, layers, config.sample or DEFAULT_SAMPLE, config.seed)
    except SubjectError as error:
        # It begins with the number that is too large.
        raise SubjectError(f"--sample {error}") from None


async def sample_sites(subject: Subject, blocks: Blocks, config: LabelConfig, report: Report) -> Sampled:
    """Sample the subject, or open the passes that did, and collect the excerpts of every site."""
    sites = choose_sites(config, subject)
    if all(site.kind == "mlp" for site in sites) and config.init == "trained":
        store = run_pass(subject, blocks, report=report)
        sites = choose_sides(config, sites, lambda site: store.dominant(site.layer, site.index))
        works = await _collected(
            sites,
            lambda site: store.evidence(site, subject.token_text),
            lambda site: drawn_neurons(site, subject, store, config.seed),
            subject.name,
            report,
        )
        return Sampled(works, store.folder.name, None)
    read, lenders = _read(subject, blocks, sites, config, report)
    sites = choose_sides(config, sites, read.dominant)
    works = await _collected(
        sites,
        lambda site: read.evidence(site, subject.token_text),
        lambda site: _shuffled(lenders, site, config.seed),
        subject.name,
        report,
    )
    return Sampled(works, read.folder.name, read)


def gather_further(
    sampled: Sampled, subject: Subject, blocks: Blocks, config: LabelConfig, report: Report, *, experiments: bool, scores: bool
) -> None:
    """Read all activations of the sites, and draw from them what is beyond the kept excerpts.

    experiments: excerpts of the explain split by quantile, silent ones among them, for an explainer that looks around (`Work.pool`).
    scores: the items of the test split that scorers judge on (`Work.material`).
    """
    wanted: dict[Split, bool] = {"explain": experiments, "test": scores}
    sites = [work.site for work in sampled.works]
    store = sampled.store or read_sites(subject, blocks, sites, splits=[split for split in wanted if wanted[split]], report=report)
    embed = Embedder.load(NEIGHBOURS, report=report).embed if scores and config.neighbours else None
    for done, work in enumerate(sampled.works):
        lab = Laboratory(subject, work.site)
        if experiments:
            around = gather(store, work.evidence, subject.token_text, split="explain", sizes=AROUND, seed=config.seed)
            # A side that never fires is told of where it is to be explained.
            work.pool = () if isinstance(around, Failed) else tuple(item.excerpt for item in around.items)
        if scores:
            half, quarter, eighth = (config.items // part for part in (2, 4, 8))
            sizes = Sizes(firing=half, random=quarter, near_miss=eighth, neighbour=eighth, weighted=half)
            found = gather(store, work.evidence, subject.token_text, embed=embed, lab=lab, sizes=sizes, seed=config.seed)
            if isinstance(found, Failed):
                work.failures.append(found)
            else:
                work.material = found
        report("gather excerpts", done + 1, len(sites))


def _read(subject: Subject, blocks: Blocks, sites: Sequence[Site], config: LabelConfig, report: Report) -> tuple[SiteStore, list[Evidence]]:
    """The pass over the sites and some random directions of their layers, and the evidence of the latter."""
    layers = sorted({site.layer for site in sites})
    rng = np.random.default_rng([config.seed, 3])
    lenders = [Site(layers[int(rng.integers(len(layers)))], FIRST_LENDER + number, kind="random") for number in range(LENDERS)]
    store = read_sites(subject, blocks, [*sites, *lenders], report=report)
    return store, [store.evidence(lender, subject.token_text) for lender in lenders]


async def _collected(
    sites: Sequence[Site],
    evidence: Callable[[Site], Evidence],
    others: Callable[[Site], Iterable[Evidence]],
    subject: str,
    report: Report,
) -> list[Work]:
    works = []
    for done, site in enumerate(sites):
        lent = await stand_ins(site, others(site), subject)
        works.append(Work(site, evidence(site), lent))
        report("collect evidence", done + 1, len(sites))
    return works


def _shuffled(evidence: Sequence[Evidence], site: Site, seed: int) -> list[Evidence]:
    """In an order that is drawn by seed and site."""
    order = np.random.default_rng([seed, zlib.crc32(str(site).encode())]).permutation(len(evidence))
    return [evidence[number] for number in order]
