"""What `explicate attention` prints: what the last token, or an encoder's mask, takes from the text, and the heads that have a role."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from analyzers.attention import Role
    from evals.attention import Attention, HeadRoles

BAR = 8
"""Width of a bar, in characters; half of it where there are more than FEW columns of them."""
FEW = 3
HEADS = 3
"""Heads named for each role, those with the largest scores."""
SUNK = 0.9
"""Share of the rollout on the first token above which it says nothing else."""
NORMS, GRADIENT = "norms", "× gradient"
LENGTHS = (NORMS, GRADIENT)
"""Columns that are no shares: sums over layers, of value norms over heads, too. Their bars are relative to the largest."""
LONGEST = 60
"""Tokens listed; of a longer text those to which most is given."""


def show_attention(found: "Attention", out: Path | None) -> None:
    """For the query that predicts, or the first one of an encoder, a row of each token with what the layers take from it, then each role's
    heads."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from evals.attention import CAUTION
    from explicate.running import plain

    console = Console(emoji=False)
    query = found.predicting[0] if found.predicting else len(found.tokens) - 1 if found.causal else 0
    columns = _columns(found, query)
    console.print(
        f"{plain(found.model['name'])}, {len(found.attention)} layers of {len(found.attention[0])} heads. "
        f"What [b]{plain(found.tokens[query]).strip()}[/] (token {query}) takes from each token:"
    )
    wide = BAR if len(columns) <= FEW else BAR // 2
    largest = {name: (max(values) or 1.0) if name in LENGTHS else 1.0 for name, values in columns.items()}
    shown = sorted(range(len(found.tokens)), key=lambda key: -max(values[key] / largest[name] for name, values in columns.items()))[
        :LONGEST
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("token", overflow="fold", min_width=8)
    for name in columns:
        table.add_column(name, no_wrap=True)
    for key in sorted(shown):
        table.add_row(
            str(key),
            plain(found.tokens[key]),
            *(_bar(values[key], largest[name], wide, exact=name in LENGTHS) for name, values in columns.items()),
        )
    console.print(table)
    if len(shown) < len(found.tokens):
        console.print(f"[dim]{len(found.tokens) - len(shown)} tokens to which less is given are left out.[/]")
    if found.rollout is not None and found.causal and query > 0 and found.rollout[query][0] > SUNK:
        console.print("[yellow]Over so many causal layers rollout ends on the first token, whatever the text: it tells nothing here.[/]")
    console.print(f"{CAUTION} To learn that, change the text: explicate attribute --compare.")
    if found.head_roles:
        _show_roles(console, found.head_roles)
    else:
        console.print(f"[yellow]Heads by role: not measured{f' ({plain(found.roles_failed)})' if found.roles_failed else ''}.[/]")
    if out is not None:
        console.print(f"Report: {plain(str(out))}", soft_wrap=True)


def _columns(found: "Attention", query: int) -> dict[str, list[float]]:
    """By name what one query takes from each key."""
    last = found.attention[-1]
    columns = {"last layer": [sum(head[query][key] for head in last) / len(last) for key in range(len(found.tokens))]}
    if found.rollout is not None:
        columns["rollout"] = found.rollout[query]
    if found.flow is not None:
        columns |= {
            "flow" if at == query else f"flow from {at}": values for at, values in zip(found.flow.queries, found.flow.values, strict=True)
        }
    if found.norms is not None:
        columns[NORMS] = [sum(head[query][key] for layer in found.norms for head in layer) for key in range(len(found.tokens))]
    if found.gradient is not None:
        columns[GRADIENT] = [sum(layer[query][key] for layer in found.gradient) for key in range(len(found.tokens))]
    return columns


def _show_roles(console: "Console", heads: "list[HeadRoles]") -> None:
    from rich import box
    from rich.table import Table

    n = next(iter(heads[0].scores.values())).n
    console.print(f"\nHeads by role, measured on {n} sequences of random tokens that come twice:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("role", "heads", "chance"):
        table.add_column(name, justify="left" if name == "role" else "right")
    table.add_column("most of their attention, with 95% intervals")
    for role, score in heads[0].scores.items():
        having = sorted((head for head in heads if head.role == role), key=lambda head: -head.scores[role].value)
        table.add_row(role, str(len(having)), f"{score.chance:.2f}", "\n".join(_named(head, role) for head in having[:HEADS]) or "none")
    console.print(table)


def _named(head: "HeadRoles", role: "Role") -> str:
    score = head.scores[role]
    return rf"L{head.layer}.attn.{head.head} {score.value:.2f} \[{score.low:.2f}, {score.high:.2f}]"


def _bar(value: float, largest: float, wide: int, *, exact: bool) -> str:
    return f"{value:.{'2g' if exact and value < 0.1 else '2f'}} [blue]{'█' * round(wide * min(value / largest, 1.0))}[/]"
