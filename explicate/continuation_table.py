"""What `explicate attribute --target` prints: a table of the text's units by method, and which methods hold."""

from math import exp
from textwrap import wrap
from typing import TYPE_CHECKING

from explicate.attribution_table import drawn_sentence

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from evals.continuation import Continuation, ContinuationBy
    from evals.continuation_compare import Compared, Comparison
    from evals.results import Failure, Lift

BAR = 5
"""Width of a bar, in characters."""
COLUMN = 21
"""Width of a method's column, about: as many stand side by side as the terminal is wide."""
NAME = 13
"""Characters of a method's name in a line, where it has a hyphen."""
REASONS = 3
"""Reasons of failures that are listed."""
RANKINGS = (
    "; deletion: mean fall of the log-probability as units are taken away, those first that the method calls most important; insertion: "
    "mean rise as they are put in; of best: 0 as random orders, 1 as the best order found:"
)
RULE = (
    "What counts: deletion, insertion, and agreement with occlusion and Shapley values. These two are what others are held against, and "
    "are judged by deletion and insertion alone; both take units away themselves, as the curves do."
)
MUCH_GAP = 0.01
"""Relative gap of integrated gradients above which they have not converged, and that is said."""
MUCH_OUTSIDE = 0.2
"""Share of a method's values on tokens in no unit above which that is said."""


def show(found: "Continuation | Comparison", out: "Path | None") -> None:
    """One text or many prompts, and where the file is that was written."""
    from rich.console import Console

    from evals.continuation import Continuation
    from explicate.running import plain

    if isinstance(found, Continuation):
        show_continuation(found)
    else:
        show_comparison(found)
    if out is not None:
        Console(emoji=False).print(f"Report: {plain(str(out))}", soft_wrap=True)


def show_continuation(found: "Continuation") -> None:
    """The probability of the target, for every method a column of values with bars, and how the methods compare."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from evals.continuation import OUTSIDE, ContinuationBy
    from explicate.running import plain

    console = Console(emoji=False)
    console.print(
        f"{plain(found.model['name'])} gives the target [b]{plain(repr(found.target))}[/] the probability {exp(found.value):.2g} "
        f"(log {found.value:.2f}); {plain(instead_sentence(found))}."
    )
    for note in found.notes:
        console.print(f"[yellow]{plain(note)}[/]")
    console.print("What each unit does for the target:")
    read = {name: by for name, by in found.methods.items() if isinstance(by, ContinuationBy)}
    beside = max(1, (console.width - 16) // COLUMN)
    for names in (list(read)[start : start + beside] for start in range(0, len(read), beside)):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("unit", overflow="fold")
        for name in names:
            table.add_column("\n".join(wrap(name, NAME)), no_wrap=True)
        for place, unit in enumerate(found.units):
            table.add_row(plain(unit), *(_cell(read[name], place) for name in names))
        console.print(table)
    _show_failures(console, {name: by for name, by in found.methods.items() if not isinstance(by, ContinuationBy)})
    if found.outside:
        console.print(f"[dim]Tokens in no unit (of the template, of the beginning, masks, spaces), left out: {len(found.outside)}.[/]")
    for name, by in read.items():
        if said := gap_sentence(by):
            console.print(f"[yellow]{name}: {said} ({', '.join(facts(by))}).[/]")
        if (share := by.facts.get(OUTSIDE, 0.0)) > MUCH_OUTSIDE:
            console.print(f"[yellow]{name}: {share:.0%} of its values, by size, are on these tokens.[/]")
    _show_held(console, found, read)
    console.print(f"{evaluated_sentence(found)}{drawn_sentence(read, 'sets')}.")


def instead_sentence(found: "Continuation") -> str:
    """What the model would write in place of the target; without its full stop."""
    if found.instead.text == found.target:
        return "it is what the model would write itself"
    return f"the model would write {found.instead.text!r}, probability {exp(found.instead.value):.2g}"


def gap_sentence(by: "ContinuationBy") -> str:
    """Where the values of integrated gradients have not converged; else nothing."""
    from evals.continuation import GAP

    gap = by.facts.get(GAP, 0.0)
    return f"its values miss what they must add up to by {gap:.1%}" if gap > MUCH_GAP else ""


def facts(by: "ContinuationBy") -> list[str]:
    """What a method says of itself."""
    from evals.continuation import OUTSIDE

    return [f"{fact.replace('_', ' ')} {value:.3g}" for fact, value in by.facts.items() if fact != OUTSIDE or value > 0]


def size_sentence(found: "Continuation | Comparison") -> str:
    """Which methods agree with sizes only; nothing where none does."""
    from evals.continuation import TRUTHS, Continuation, ContinuationBy

    prompts = [found] if isinstance(found, Continuation) else [each for each in found.prompts if isinstance(each, Continuation)]
    methods = [(name, by) for each in prompts for name, by in each.methods.items() if isinstance(by, ContinuationBy)]
    names = dict.fromkeys(name for name, by in methods if not by.signed)
    truths = [truth for truth in TRUTHS if any(truth in by.agreement for _, by in methods)]
    if not names or not truths:
        return ""
    return f"Values without a sign ({', '.join(names)}) are held against the sizes of those of {' and '.join(truths)}, for or against."


def evaluated_sentence(found: "Continuation") -> str:
    """What was read; without its full stop."""
    way = "tokens taken out" if found.unit == "token" else f"units taken away by operator {found.operator}"
    return f"{found.texts_evaluated:,} different prompts read, {way}; every method has a scale of its own"


def show_comparison(found: "Comparison") -> None:
    """Every method over all prompts, then which to trust."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from evals.continuation import KINDS
    from explicate.running import cell, plain, short

    console = Console(emoji=False)
    truths = agreed(found)
    sizes = size_sentence(found)
    console.print(f"Which method to trust on {plain(found.model['name'])}, by {len(found.prompts)} prompts of {plain(found.source)}:")
    for note in found.notes:
        console.print(f"[yellow]{plain(note)}[/]")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", no_wrap=True, min_width=NAME)
    for name in (*(f"agrees with\n{truth}" for truth in truths), "deletion,\nof best", "insertion,\nof best", "prompts"):
        table.add_column(name)
    for name, each in best_first(found):
        shown = "\n".join(wrap(name, NAME))
        count = f"{each.n}" + (f" ({each.n_failed})" if each.n_failed else "") + (" [red]void[/]" if each.void else "")
        table.add_row(
            f"[b]{shown}[/] ✓" if each.trusted else shown,
            *(cell(each.agreement[truth]) if truth in each.agreement else "" for truth in truths),
            cell(each.deletion),
            cell(each.insertion),
            count if each.q is None else f"{count}\n[dim]q {short(each.q, digits=3)}",
        )
    table.add_section()
    for name, control in found.controls.items():
        table.add_row(
            f"[dim]{name}", *(cell(control.agreement[truth]) for truth in truths), cell(control.deletion), cell(control.insertion)
        )
        if sizes and truths:
            table.add_row("[dim]  with sizes", *(cell(control.agreement_with_sizes[truth]) for truth in truths))
    console.print(table)
    console.print("Less that of the best control, paired over prompts:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for figure in (*truths, *KINDS):
        table.add_column(figure if figure in KINDS else f"agrees with\n{figure}")
    for name, each in best_first(found):
        above = [each.lift.get(figure) for figure in (*truths, *KINDS)]
        table.add_row(name, *("" if one is None else cell(one, sign=True) + over(one) for one in above))
    console.print(table)
    console.print(trust_sentence(found))
    console.print(f"[dim]{RULE}[/]")
    if sizes:
        console.print(sizes)
    console.print(
        "[dim]Means over prompts with 95% intervals. Agreement: Spearman over units. Deletion: how far the continuation's log-probability "
        "falls as units are taken away, those first that the method calls most important; insertion: how far it rises as they are put in. "
        "Of best: 0 as random orders, 1 as the best order found. q: of deletion against random orders, all methods together. "
        f"{control_sentence(found)} In brackets: prompts that lack a figure that counts; with more than a fifth of them all is void.[/]"
    )
    for name, each in found.comparison.items():
        for missing in each.missing[:REASONS]:
            console.print(f"[dim]{name}: {missing.n} prompts lack a figure ({plain(missing.reason)})[/]")


def trust_sentence(found: "Comparison") -> str:
    """Which methods hold on this model."""
    if found.too_few:
        return "Too few prompts to tell which method to trust."
    if not found.trusted:
        return (
            "No method is to be trusted: for none do the intervals of all figures that count lie above 0, beyond chance, and those of "
            "their differences from the best control."
        )
    return f"To trust on this model, best first: {', '.join(found.trusted)}."


def agreed(found: "Comparison") -> list[str]:
    """Truths that something agrees with."""
    from evals.continuation import TRUTHS

    return [truth for truth in TRUTHS if any(truth in each.agreement for each in found.comparison.values())]


def over(lift: "Lift | Failure") -> str:
    """The control that a lift is over, on a line of its own."""
    from evals.results import Lift

    return f"\n[dim]over {lift.over}" if isinstance(lift, Lift) else ""


def control_sentence(found: "Comparison") -> str:
    """What the controls are."""
    meant = {
        "later-first": "the last unit first",
        "earlier-first": "the first unit",
        "longer-first": "the one with most characters",
        "rarer-first": "the one whose token ids are high or many",
        "nearer-first": "the one nearest to the masks",
    }
    told = ", ".join(f"{name} ({meant[name]})" for name in found.controls)
    return f"Controls read no model: {told}; what is no better knows no more than that."


def best_first(found: "Comparison") -> "list[tuple[str, Compared]]":
    """Those to trust first, then by deletion, those without a figure last."""
    from evals.results import Value

    def rank(each: "tuple[str, Compared]") -> tuple[bool, float]:
        deletion = each[1].deletion
        return not each[1].trusted, -deletion.value if isinstance(deletion, Value) else float("inf")

    return sorted(found.comparison.items(), key=rank)


def _show_held(console: "Console", found: "Continuation", read: "dict[str, ContinuationBy]") -> None:
    """Agreement with the truths, and in a comparison what the rankings do."""
    from rich import box
    from rich.table import Table

    from evals.continuation import KINDS, TRUTHS

    truths = [truth for truth in TRUTHS if any(truth in by.agreement for by in read.values())]
    if not truths or (found.random is None and len(read) < 2):
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for truth in truths:
        table.add_column(truth, justify="right", no_wrap=True)
    kinds = KINDS if found.random is not None else ()
    for kind in kinds:
        table.add_column(kind, justify="right", no_wrap=True)
        table.add_column("of\nbest", justify="right", no_wrap=True)
    console.print(f"Rank agreement with {' and '.join(truths)}" + (":" if not kinds else RANKINGS))
    for name, by in {**read, **(found.controls if kinds else {})}.items():
        held = [_number(by.agreement[truth]) if truth in by.agreement else "" for truth in truths]
        for kind in kinds:
            held += [_number((by.aopc or {})[kind]), _number((by.normalised or {})[kind])]
        shown = "\n".join(wrap(name, NAME))
        table.add_row(shown if name in read else f"[dim]{shown}", *held)
    for name, curves in (("random", found.random), ("best", found.best)):
        if curves is not None:
            own = "0.00" if name == "random" else "1.00"
            table.add_row(f"[dim]{name}", *("" for _ in truths), *(part for kind in kinds for part in (_number(curves.aopc[kind]), own)))
    console.print(table)
    if said := size_sentence(found):
        console.print(f"[dim]{said}[/]")


def _show_failures(console: "Console", failed: "dict[str, Failure]") -> None:
    from explicate.running import plain

    for name, failure in failed.items():
        console.print(f"[red]{name}[/]: {plain(failure.reason)}")


def _cell(by: "ContinuationBy", place: int) -> str:
    value, largest = by.values[place], max(map(abs, by.values))
    error = "" if by.errors is None else f"[dim]±{_short(by.errors[place], largest)}[/] "
    width = round(BAR * abs(value) / largest) if largest else 0
    sign = "+" if by.signed and value >= 0 else ""
    return f"{sign}{_short(value, largest)} {error}[{'blue' if value > 0 else 'dark_orange'}]{'█' * width}[/]"


def _short(value: float, largest: float) -> str:
    """As many decimals as tell units of this method apart."""
    return f"{value:.1e}" if 0 < largest < 0.1 else f"{value:.0f}" if largest >= 100 else f"{value:.2f}"


def _number(value: "float | Failure") -> str:
    return f"{value:.2f}" if isinstance(value, float) else "[red]failed"
