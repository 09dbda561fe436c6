"""Null contrast: what the explanation adds to the simulator's prior."""

from agents.explanation import Simulation


def null_contrast(simulation: Simulation, null: Simulation) -> Simulation:
    """The simulation minus the simulation of the null explanation on the same excerpt; missing where either is missing.

    Both are [token] in one unit, and so is the result, which can be negative. A weak simulator has a strong prior (content words,
    sentence ends) that has nothing to do with the explanation; the null explanation shows it. Raises ValueError for simulations
    of different lengths or scales.
    """
    if simulation.values.shape != null.values.shape or simulation.scale != null.scale:
        raise ValueError(
            f"cannot contrast {simulation.values.shape} in {simulation.scale!r} with {null.values.shape} in {null.scale!r}: "
            "both must be of the same excerpt by the same simulator"
        )
    return Simulation(simulation.values - null.values, simulation.present & null.present, simulation.scale)
