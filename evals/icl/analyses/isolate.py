"""How loyal the answers stay when labels cannot gather what stands before them, in the first or the last layers, beside other tokens.

Source: Wang et al. 2023, arXiv 2305.14160, section 2.2.
"""

from itertools import product

import numpy as np

from evals.icl.analyses import ANALYSES
from evals.icl.results import Analysis
from evals.icl.setting import Setting
from evals.results import Failure, Value
from evals.scores import Floats

LOYALTIES = ("label_loyalty", "word_loyalty")
WHAT = ("labels", "random")
WHERE = ("first", "last")


@ANALYSES.add("isolate")
def isolate(setting: Setting) -> Analysis:
    """Figures `<loyalty>/<labels or random>/<first or last>`, and paired differences: `<loyalty>/labels/last_minus_first`,
    `<loyalty>/<first or last>/random_minus_labels`: above 0 where isolating labels costs more than isolating as many other tokens; and
    `<loyalty>/last_minus_first/labels_minus_random`: above 0 where the first layers cost labels more than the last ones beyond what they
    cost other tokens, for what tokens gather in the last layer nobody reads in any model.
    """
    from analyzers.icl.answers import label_loyalty, word_loyalty
    from analyzers.icl.isolation import first_layers, isolated, label_positions, last_layers, random_positions

    rng = np.random.default_rng(setting.seed)
    prompts = setting.prompts
    positions = {
        "labels": [label_positions(prompt) for prompt in prompts],
        "random": [random_positions(prompt, rng) for prompt in prompts],
    }
    layers = {"first": first_layers(setting.model.layers), "last": last_layers(setting.model.layers)}
    values: dict[tuple[str, str, str], Floats] = {}
    for what, where in product(WHAT, WHERE):
        told = f"isolate {what}, {where} layers"
        found = isolated(setting.model, prompts, positions[what], layers[where], what=told, report=setting.report)
        values["label_loyalty", what, where] = label_loyalty(found, setting.answers)
        values["word_loyalty", what, where] = word_loyalty(found, setting.answers)
    figures: dict[str, Value | Failure] = {"/".join(of): setting.mean(value) for of, value in values.items()}
    for loyalty in LOYALTIES:
        costs_more = values[loyalty, "labels", "last"] - values[loyalty, "labels", "first"]
        figures[f"{loyalty}/labels/last_minus_first"] = setting.mean(costs_more)
        of_others = values[loyalty, "random", "last"] - values[loyalty, "random", "first"]
        figures[f"{loyalty}/last_minus_first/labels_minus_random"] = setting.mean(costs_more - of_others)
        for where in WHERE:
            difference = values[loyalty, "random", where] - values[loyalty, "labels", where]
            figures[f"{loyalty}/{where}/random_minus_labels"] = setting.mean(difference)
    first, last = (layers[where] for where in WHERE)
    notes = [f"first: layers {first[0]} to {first[-1]}; last: layers {last[0]} to {last[-1]}; isolated are all tokens of all labels"]
    return Analysis(figures=figures, notes=notes)
