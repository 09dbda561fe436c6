"""Twins: which they are, and how their scores stand beside those of the sites."""

import zlib

import pytest

from analyzers.sites import Site
from evals.label_config import LabelConfig
from evals.twins import DIRECTIONS, directions, twin_config


def _colliding() -> tuple[Site, Site]:
    """Two neurons of a layer whose names draw the same direction."""
    seen: dict[int, Site] = {}
    for index in range(100_000):
        site = Site(3, index)
        draw = zlib.crc32(site.name.encode()) % DIRECTIONS
        if draw in seen:
            return seen[draw], site
        seen[draw] = site
    raise AssertionError("no two names draw the same direction")


def test_every_site_has_a_direction_of_its_own() -> None:
    one, other = _colliding()
    (alone,) = directions([one])
    (beside,) = directions([other])
    assert alone == beside
    both = directions([one, other])
    assert both == [alone, Site(3, (alone.index + 1) % DIRECTIONS, "+", "random")]
    assert directions([other, one])[0] == alone


def test_a_direction_is_of_the_layer_and_side_of_its_site() -> None:
    sites = [Site(2, 7), Site(2, 7, "-"), Site(5, 7), Site(4, 1, "+", "attn")]
    found = directions(sites)
    assert [(site.layer, site.polarity, site.kind) for site in found] == [
        (2, "+", "random"),
        (2, "-", "random"),
        (5, "+", "random"),
        (4, "+", "random"),
    ]
    assert found[0].index == found[1].index
    # Whatever else the run is about.
    assert [direction for site in sites for direction in directions([site])] == found


@pytest.mark.parametrize("twin", ["random-direction", "random-init"])
def test_twins_are_labelled_as_the_sites_are(twin: str) -> None:
    config = LabelConfig(subject="s", sample=2, layers="0-1", polarity="both", explainer="template", scorers=("detection",), seed=7)
    sites = [Site(0, 3), Site(1, 4, "-")]
    found = twin_config(config, twin, sites)  # type: ignore[arg-type]
    names = ("L0.mlp.3", "L1.mlp.4-") if twin == "random-init" else tuple(map(str, directions(sites)))
    assert found.sites == names
    assert (found.init, found.scorers, found.twins) == ("random" if twin == "random-init" else "trained", (), ())
    assert (found.subject, found.explainer, found.seed, found.tokens) == ("s", "template", 7, config.tokens)
    assert LabelConfig.checked(**found.model_dump()) == found
