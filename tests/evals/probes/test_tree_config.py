"""What was asked for: layers, ranks and files, and what is wrong with them."""

from pathlib import Path

import pytest

from analyzers.errors import ExplicateError
from evals.probes.tree_config import TreeConfig

FILES = (Path("train.conllu"), Path("dev.conllu"))


def test_layers_are_every_third_with_the_first_and_the_last() -> None:
    config = TreeConfig("m", FILES)
    assert config.layers_of(30) == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30]
    assert config.layers_of(4) == [0, 3, 4]
    assert TreeConfig("m", FILES, layers="all").layers_of(4) == [0, 1, 2, 3, 4]
    assert TreeConfig("m", FILES, layers="1-2,4").layers_of(4) == [1, 2, 4]
    with pytest.raises(ExplicateError, match="not within this model's layers 0-4"):
        TreeConfig("m", FILES, layers="5").layers_of(4)


def test_ranks_fit_the_width() -> None:
    assert TreeConfig("m", FILES).rank_of(576) == 64
    assert TreeConfig("m", FILES).ranks_of(576) == [1, 2, 4, 8, 16, 32]
    assert TreeConfig("m", FILES).rank_of(32) == 32
    assert TreeConfig("m", FILES).ranks_of(32) == [1, 2, 4, 8, 16]
    assert TreeConfig("m", FILES, rank=6).ranks_of(32) == [1, 2, 4]
    assert TreeConfig("m", FILES, rank=4, ranks=(8, 2, 4, 2)).ranks_of(32) == [2, 8]
    assert TreeConfig("m", FILES, ranks=()).ranks_of(32) == []
    with pytest.raises(ExplicateError, match=r"--rank 33: the states are 32 wide.*give 1-32"):
        TreeConfig("m", FILES, rank=33).rank_of(32)
    with pytest.raises(ExplicateError, match="--ranks 40: the states are 32 wide"):
        TreeConfig("m", FILES, ranks=(1, 40)).ranks_of(32)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (TreeConfig("m", FILES[:1]), "--conllu names 1 files; give two"),
        (TreeConfig("m", ()), "--conllu names 0 files"),
        (TreeConfig("m", (*FILES, FILES[0])), "--conllu names 3 files"),
        (TreeConfig("m", (FILES[0], FILES[0])), "--conllu names 'train.conllu' twice"),
        (TreeConfig("m", FILES, rank=0), "a rank of 0 holds nothing"),
        (TreeConfig("m", FILES, ranks=(4, -1)), "a rank of -1 holds nothing"),
    ],
)
def test_what_is_wrong_is_told(config: TreeConfig, why: str) -> None:
    with pytest.raises(ExplicateError, match=why):
        config.check()
    TreeConfig("m", FILES).check()
