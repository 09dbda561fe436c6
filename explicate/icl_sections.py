"""How the analyses of `explicate icl` are told on its page: what is claimed where, what that does not show, and what figures are called."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ALPHA = 0.05


@dataclass(frozen=True)
class Claim:
    """What is seen where the interval of a figure lies above a level."""

    figure: str
    says: str
    level: float = 0.0
    tested: bool = False
    """Whether its p-value must be below ALPHA as well, since its interval does not say what chance alone would give."""
    only_with: tuple[str, ...] = ()
    """Other figures whose intervals must lie above 0 as well: of controls that could explain it."""


@dataclass(frozen=True)
class Section:
    """How an analysis is told."""

    title: str
    claims: tuple[Claim, ...] = ()
    silent: str = ""
    """What its figures do not show."""
    charts: Mapping[str, str] = field(default_factory=dict)
    """Title of the chart that a curve is drawn in; others are drawn with those of the same name up to the last /."""


_SUMMED, _BY_HEAD = "Share of saliency, summed over heads before its sign is taken away", "The same, the sign taken away before the sum"
_CONTROLS = ("accuracy/reweighted_minus_bias_only", "accuracy/reweighted_minus_random_positions")
SECTIONS: Mapping[str, Section] = {
    "flow": Section(
        "Where information flows",
        (
            Claim("wp_early_minus_random", "in the first third of the layers more flows into labels than into random tokens beside them"),
            Claim("pq_late_minus_random", "in the last third the answer takes more from labels than from random tokens beside them"),
            Claim("auroc_late", "late attention to the labels foretells the answer better than chance, .5", level=0.5),
        ),
        "Saliency is attention times a gradient: it says where a small change would matter, not what is carried there or whether the "
        "answer needs it. That flow into labels falls towards the last layers is no finding: in the last one it is 0 in every model, for "
        "the answer hangs on the last token alone. Attention that foretells an answer need not be its cause.",
        dict.fromkeys(("wp", "pq", "ww"), _SUMMED)
        | dict.fromkeys(("wp_by_head", "pq_by_head", "ww_by_head"), _BY_HEAD)
        | {"auroc": "AUROC of attention to labels against the answer", "cumulated": "Part of its excess over chance up to a layer (R_l)"},
    ),
    "isolate": Section(
        "What isolated labels cost",
        (
            Claim(
                "label_loyalty/first/random_minus_labels", "isolating labels in the first layers costs more than isolating random tokens"
            ),
            Claim(
                "label_loyalty/last_minus_first/labels_minus_random",
                "isolating labels costs more in the first layers than in the last, by more than isolating random tokens does",
            ),
        ),
        "No text cuts tokens off like this: an answer may change because the model is disturbed rather than because it misses what labels "
        "gather. Loyal is what stays the same, right or wrong.",
    ),
    "compress": Section(
        "What the anchors alone keep",
        (
            Claim("label_loyalty/hidden_anchor_minus_hidden_random", "the anchors keep more answers than as many random tokens"),
            Claim(
                "label_loyalty/hidden_anchor_minus_text_anchor", "their keys and values keep more answers than the same tokens as a text"
            ),
        ),
        "Anchors are labels and formatting together, so this does not show which of them keeps an answer; random tokens may be of the "
        "formatting, too (how many are is told below). The best random draw is chosen on these very items, which flatters it. Times are of "
        "this machine.",
    ),
    "reweight": Section(
        "What weighing the labels anew gains",
        (
            Claim(
                "accuracy/reweighted_minus_bias_only",
                "weighing labels anew answers better than a number added to each label's log-probability, fitted to the same examples",
            ),
            Claim("accuracy/reweighted_minus_random_positions", "it answers better than weighing random tokens in their place"),
            Claim(
                "accuracy/reweighted_minus_vanilla",
                "weighing labels anew answers better than leaving them, and than both of these controls",
                only_with=_CONTROLS,
            ),
            Claim(
                "accuracy/reweighted_minus_more_shots",
                "it answers better than showing the examples learned from, and than both controls",
                only_with=_CONTROLS,
            ),
        ),
        "Weights are fitted to further labelled examples: a gain says that these helped, not that the model attends to labels wrongly. "
        "Each label has its own, so that a gain that the bias alone has, too, is no sign that attention to labels matters. A loss that "
        "falls is that of the examples learned from; its band is over draws of demonstrations.",
    ),
    "diagnose": Section(
        "Which labels are taken for one another",
        (
            Claim(
                "rank_correlation",
                "labels whose keys lie further apart are told apart better (also p < .05, labels exchanged)",
                tested=True,
            ),
        ),
        "A correlation over a few pairs of labels: its interval is over items, and only p says what chance among labels would give; with "
        "three labels p is never below 1/6. Near keys need not be why two labels are confused, since their texts may be alike too.",
    ),
    "prune": Section(
        "How much can be left out",
        (
            Claim("label_loyalty/heads/important_minus_random", "the most important heads keep more answers than as many random heads"),
            Claim("label_loyalty/tokens/important_minus_random", "the most important tokens keep more answers than as many random ones"),
        ),
        "Importance is guessed from gradients, each head and token by itself: what matters only together is missed, so a better choice may "
        "exist. Heads are silenced, not removed; nothing is said of speed.",
    ),
}
"""By name of the analysis; one that is not here is drawn without words."""

LINES: Mapping[str, str] = {
    "wp": "into labels (S_wp)",
    "pq": "labels to answer (S_pq)",
    "ww": "between others (S_ww)",
    "auroc": "AUROC",
    "cumulated": "R_l",
}
"""Of curves, where they are not told as figures are."""
NAMES: Mapping[str, str] = {
    "first": "first layers",
    "last": "last layers",
    "full": "whole",
    "hidden_anchor": "anchors",
    "text_anchor": "anchors as text",
    "hidden_random": "random, mean",
    "hidden_random_top": "random, best",
    "bias_only": "bias alone",
    "random_positions": "random tokens weighed",
    "over_text": "over reading it all anew",
    "over_cache": "over keeping it all",
}
"""Of parts of a figure's name, where they are not told as they are."""
