"""The page of `explicate probe tree`: some sentences with their trees and the predicted ones, and what each rank finds."""

from math import log2
from pathlib import Path

from evals.probes.tree_results import DrawnTree, TreeProbed
from evals.results import Value
from explicate.curve_chart import Level, Line, curve_chart
from explicate.pages import environment
from explicate.probe_page import Drawing, page
from explicate.probe_words import interval, metric_name, told
from explicate.shaded_words import visible
from explicate.tree_arcs import draw_tree
from explicate.written_file import forms

KEY = (
    "Above, the edges of the tree, dotted where they are not predicted; below, the predicted ones, dashed orange where they are wrong. "
    "Triangles mark the root and the predicted root. Punctuation takes no part."
)
WHYS = {
    "best": "The sentence with the largest share of its edges found",
    "median": "A sentence in the middle",
    "worst": "The sentence with the smallest share of its edges found",
    "drawn": "A sentence drawn by seed",
}
SILENT = "One sentence shows no more than itself; the figures are of all test sentences."


def render(found: TreeProbed) -> str:
    """The whole page."""
    drawings = [_tree(tree) for tree in found.trees]
    if found.ranks:
        drawings.insert(0, _ranks(found))
    return page(found, title=f"Syntax trees in {visible(found.model['name'])}", drawings=drawings)


FORMS = forms(render)


def show_tree(found: TreeProbed, out: Path | None) -> None:
    """What every probe prints, then what each rank finds."""
    from rich.console import Console
    from rich.table import Table

    from explicate.probe_table import show_probed

    show_probed(found, out)
    if not found.ranks:
        return
    names = list(found.ranks[0].metrics)
    table = Table("rank", *(metric_name(name) for name in names), title=f"Ranks at layer {found.best}", title_justify="left")
    for each in found.ranks:
        table.add_row(str(each.rank), *(told(each.metrics[name]) for name in names))
    Console(emoji=False).print(table)


def _tree(tree: DrawnTree) -> Drawing:
    right = len(set(tree.gold) & set(tree.predicted))
    root = "its root too" if tree.root == tree.predicted_root else "not its root"
    return Drawing(
        f"{WHYS[tree.why]}: {right} of {len(tree.gold)} edges, {root}",
        f"{KEY if tree.why == 'best' else SILENT}",
        draw_tree(tree),
        wide=True,
    )


def _ranks(found: TreeProbed) -> Drawing:
    at = [log2(each.rank) for each in found.ranks]
    lines = [
        Line(metric_name(name), kind, at, [each.metrics[name] for each in found.ranks])
        for name, kind in (("uuas", "line0"), ("dspr", "line1"))
    ]
    chain = found.baselines["linear_chain"].metrics["uuas"]
    levels = [Level("linear chain, UUAS", chain.value)] if isinstance(chain, Value) else []
    chart = curve_chart("Ranks", "rank", lines, interval, levels=levels)
    # Places are logarithms, so that every doubling is as wide as another; ranks are what is told.
    for tick in chart["x"]:
        tick["text"] = f"{2 ** float(tick['text']):.0f}"
    for line, drawn in zip(lines, chart["lines"], strict=True):
        known = [(each.rank, value) for each, value in zip(found.ranks, line.values, strict=True) if isinstance(value, Value)]
        for point, (rank, value) in zip(drawn["points"], known, strict=True):
            point["says"] = f"{line.name}, rank {rank}: {interval(value)}"
    curves = environment().get_template("curves.html").module.curves(chart)
    return Drawing(
        f"How many dimensions hold the tree: ranks at layer {found.best}",
        "UUAS and DSpr. of probes of each rank with their intervals. Where a line is level, further dimensions add nothing that such a "
        "probe finds; how many the model itself uses does not follow.",
        f'<div class="drawn" style="display:block">{curves}</div>',
    )
