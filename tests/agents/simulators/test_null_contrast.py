import numpy as np
import pytest

from agents.explanation import Scale, Simulation
from agents.simulators.null_contrast import null_contrast


def simulation(values: list[float], present: list[bool], scale: Scale = "level") -> Simulation:
    return Simulation(np.array(values, np.float32), np.array(present), scale)


def test_the_null_is_subtracted_and_what_either_lacks_is_missing() -> None:
    contrast = null_contrast(simulation([9, 1, 5, 2], [True, True, False, True]), simulation([2, 3, 1, 1], [True, True, True, False]))
    assert contrast.values[:2].tolist() == [7, -2]
    assert contrast.present.tolist() == [True, True, False, False]
    assert contrast.scale == "level"


def test_only_simulations_of_one_excerpt_can_be_contrasted() -> None:
    with pytest.raises(ValueError, match="cannot contrast"):
        null_contrast(simulation([1], [True]), simulation([1, 2], [True, True]))
    with pytest.raises(ValueError, match="cannot contrast"):
        null_contrast(simulation([1], [True]), simulation([1], [True], "indicator"))
