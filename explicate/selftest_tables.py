"""What a selftest shows at the terminal, and as JSON."""

from typing import TYPE_CHECKING, Any

from explicate.running import cell, plain, short

if TYPE_CHECKING:
    from evals.results import Failure, Value
    from evals.selftest import SelftestResult
    from evals.selftest_run import ScorerTests


NARROW = {
    "word-class": "word\nclass",
    "conditional": "condi-\ntional",
    "context": "con-\ntext",
    "format": "for-\nmat",
    "position": "posi-\ntion",
}
"""Kinds as headings of narrow columns."""
FEW = 10
"""Planted neurons, with fewer of which an interval over them says little."""


def show_selftest(result: "SelftestResult") -> None:
    """The table of a selftest: how true explanations rank over false ones, by kind, and which kinds are not to be judged."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Selftest of {plain(result.simulator)}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("kind", no_wrap=True)
    for column in ("neurons", "within", "AUROC", "as simulated:\nwithin", "\nAUROC"):
        table.add_column(column)
    table.add_column("", no_wrap=True)
    rows = [("all", result.overall, result.raw_overall)]
    rows += [(kind, ranking, result.raw_kinds[kind]) for kind, ranking in result.kinds.items()]
    for kind, ranking, raw in rows:
        cells = [cell(value) for value in (ranking.within, ranking.auroc, raw.within, raw.auroc)]
        verdict = "" if kind in ("all", *result.judged) else "[red]cannot judge"
        if ranking.unranked:
            verdict += f"\n{ranking.unranked} of {ranking.pairs} pairs unranked"
        table.add_row(plain(kind), str(ranking.neurons), *cells, verdict.strip())
    console = Console()
    console.print(table)
    console.print(
        "within: share of false explanations ranked below the true one of the same neuron; chance is .5 for both figures.", style="dim"
    )


def scorer_tests_json(found: "ScorerTests") -> dict[str, Any]:
    """By scorer: how it ranks true explanations over false ones, overall and by kind, and which kinds it judges; then the best by kind."""
    scorers = {}
    judges = found.judged
    for name, test in found.tests.items():
        figures = test.overall.model_dump(mode="json")
        kinds = {kind: ranking.model_dump(mode="json") for kind, ranking in test.kinds.items()}
        held = None if test.held_out is None else test.held_out.model_dump(mode="json")
        about = {"held_out": held, "scorer": test.scorer, "measure": test.measure, "members": test.members, "n_failed": test.n_failed}
        rows = [row.model_dump(mode="json") for row in test.explanations]
        scorers[name] = {**about, **figures, "kinds": kinds, "judges": judges[name], "explanations": rows}
    return {"scorers": scorers, "best": found.best, "unserved": found.unserved}


def show_scorer_tests(found: "ScorerTests") -> None:
    """One row a scorer and one column a kind: the share of false explanations ranked below the true one of the same neuron."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from evals.results import Value

    kinds = list(dict.fromkeys(kind for test in found.tests.values() for kind in test.kinds))
    table = Table(
        title="Selftest of scorers: true above false on the same neuron",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("scorer", overflow="fold")
    table.add_column("all", no_wrap=True)
    held_out = any(test.held_out is not None for test in found.tests.values())
    if held_out:
        table.add_column("held\nout")
    table.add_column("AU-\nROC")
    for kind in kinds:
        table.add_column(NARROW.get(kind) or plain(kind), no_wrap=True)
    judges = found.judged
    for name, test in found.tests.items():
        judged = judges[name]
        cells = []
        held = [_alone(test.held_out.within) if test.held_out is not None else ""] if held_out else []
        for kind in kinds:
            within = test.kinds[kind].within
            if not isinstance(within, Value):
                cells.append("[red]none")
            else:
                figure = short(within.value)
                cells.append(f"[bold green]{figure}" if kind in judged else f"[dim]{figure}")
        table.add_row(plain(name), cell(test.overall.within), *held, _alone(test.overall.auroc), *cells)
    console = Console()
    console.print(table)
    console.print(
        "Chance is .5. Green: the scorer tells true from false for explanations of that kind; grey: not seen to. A neuron that a scorer "
        "cannot be used on loses its pairs."
        + (" Held out: on every second planted neuron; wordings were chosen on the others." if held_out else ""),
        style="dim",
    )
    neurons = max(test.overall.neurons for test in found.tests.values())
    if neurons < FEW:
        console.print(
            f"[yellow]Only {neurons} planted neurons: intervals over so few say little, and no kind of fewer than three is judged."
        )
    best = [f"{kind}: {name or 'no scorer with this model'}" for kind, name in found.best.items()]
    console.print(f"Best by kind: {plain('; '.join(best))}")
    for name, why in found.unserved.items():
        console.print(f"[dim]not tested: {plain(name)} ({plain(why)})")


def _alone(value: "Value | Failure") -> str:
    """A figure without its interval, which the JSON has."""
    from evals.results import Value

    return short(value.value) if isinstance(value, Value) else "[red]none"
