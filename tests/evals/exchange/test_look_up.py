"""The look-ups of imported data beside a count by hand, and figures measured independently on a published file."""

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evals.exchange import Feature, Options, Record
from evals.exchange.importing import import_run, read_features
from evals.exchange.look_up import look_ups
from evals.results import Failure, Value


async def test_even_ranks_teach_and_odd_ranks_are_scored(write: Callable[[str, Path], Path], tmp_path: Path) -> None:
    live, dead = read_features(write("saedashboard", tmp_path / "s"), "saedashboard", Options())
    unique = {tuple(record.tokens): record.values for record in live.records}
    assert len(unique) == 24 < len(live.records)
    ranked = sorted(unique.items(), key=lambda item: -max(item[1]))
    seen = defaultdict(list)
    for tokens, values in ranked[::2]:
        for token, value in zip(tokens, values, strict=True):
            seen[token.strip().lower()].append(value)
    truth = [value for _, values in ranked[1::2] for value in values]
    told = [np.mean(seen.get(token.strip().lower(), [0.0])) for tokens, _ in ranked[1::2] for token in tokens]
    found = (await look_ups(live, seed=0))["token_lookup"]["pearson"]
    assert isinstance(found, Value)
    assert found.value == pytest.approx(np.corrcoef(truth, told)[0, 1], abs=1e-6)
    assert found.low <= found.value <= found.high
    nothing = (await look_ups(dead, seed=0))["token_lookup"]["pearson"]
    assert isinstance(nothing, Failure)
    assert "constant" in nothing.reason


async def test_one_record_teaches_and_none_is_left() -> None:
    assert await look_ups(Feature("s", records=[Record((" a",), np.ones(1), "top")]), seed=0) == {}
    assert await look_ups(Feature("s"), seed=0) == {}


@pytest.mark.replication
@pytest.mark.skipif("EXPLICATE_REPLICATION" not in os.environ, reason="EXPLICATE_REPLICATION does not name the folder of published data")
async def test_published_batch(workplace: Path) -> None:
    """Features 0 and 1 of a GPT-2 small sparse autoencoder, layer 0: .973 measured independently, and one that never fires."""
    results = await import_run(Path(os.environ["EXPLICATE_REPLICATION"]) / "sae_dashboard" / "batch-0.json", workplace / "out")
    live, dead = results.sites
    assert (live.site, dead.site) == ("gpt2-small/0-res-jb/0", "gpt2-small/0-res-jb/1")
    found = live.controls["token_lookup"]["pearson"]
    assert isinstance(found, Value)
    assert found.value == pytest.approx(0.973, abs=0.0006)
    assert (live.n_records, live.n_distinct) == (38, 29)
    assert isinstance(dead.controls["token_lookup"]["pearson"], Failure)
    assert {(problem.kind, problem.site) for problem in results.problems} >= {("dead", dead.site), ("duplicates", live.site)}
    assert ("dead", live.site) not in {(problem.kind, problem.site) for problem in results.problems}
