"""What a labelling run shows at the terminal."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from explicate.running import cell, plain, short

if TYPE_CHECKING:
    from rich.console import Console

    from evals.results import Experiments, RunResults, ScorerResult, SiteResult

FREE = {"token_lookup": "token look-up", "bigram_lookup": "prev. token", "lexical": "its own words"}
"""The controls without a language model, as short as a table wants them."""
NAME = 16
"""Characters of a site's name in a line of the table."""


def show(results: "RunResults", page: Path) -> None:
    """The table of a labelling run, what to mind, and where to look."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from evals.cautions import cautions
    from evals.results import Lift, Value, headline
    from explicate.report import instrument_sentence
    from explicate.site_card import noun

    console = Console()
    title = f"{noun(results.sites)} of {plain(str(results.manifest['config']['subject']))}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0, expand=True)
    table.add_column("site", no_wrap=True)
    table.add_column("±", no_wrap=True)
    table.add_column("explanation", ratio=1, min_width=16, overflow="fold")
    for title in ("score\n[dim]Pearson", "null\ncontrast", "lift over\nLLM-free", "instr.\nAUROC"):
        table.add_column(title, no_wrap=True)
    auroc = results.instrument.auroc if results.instrument is not None else None
    tested = results.instrument
    mark = "✱" if (results.n_scored if tested is None else tested.cannot_judge) else ""
    for site in results.sites:
        why = reason(site)
        said = "\n".join(part for part in (plain(site.explanation or ""), f"[red]{plain(why)}[/]" if why else "") if part)
        minded = ", ".join(caution.tag for caution in cautions(site, results.instrument))
        said += f"\n[yellow]{minded}" if minded else ""
        said += f"\n[dim]{_experimented(site.experiments)}" if site.experiments is not None else ""
        over = f"\n[dim]{FREE.get(site.lift.over, site.lift.over)}" if isinstance(site.lift, Lift) else ""
        table.add_row(
            named(site.site),
            site.polarity,
            said,
            cell(site.scores.get("pearson"), mark=mark),
            cell(site.scores.get(headline(site.scores)), mark=mark),
            cell(site.lift, sign=True) + over,
            f"{auroc.value:.2f}" if isinstance(auroc, Value) else "none",
        )
    console.print(table)
    scorers_table(results, console)
    audit = results.leak_audit
    console.print(
        f"{results.n_scored} scored, {results.n_failed} failed; leak audit {'passed' if audit.passed else '[red]FAILED[/]'} "
        f"({audit.checked:,} comparisons); {results.calls.made:,} LLM calls made, {results.calls.cached:,} from the cache, "
        f"{results.tokens.prompt + results.tokens.completion:,} tokens, {results.usd:.2f} USD"
        + (f", not counting {plain(', '.join(results.unpriced))}, whose price is not known" if results.unpriced else "")
    )
    if not audit.passed:
        console.print(
            f"[red]The leak audit failed: {len(audit.leaks)} scored or selecting excerpts repeat text that an explainer saw, so the scores "
            "are not to be used. Text of this corpus repeats between documents: choose another, or see where with "
            "`explicate report --leak-audit`."
        )
    if results.void:
        console.print("[red]The run is void: more than a fifth of its sites failed. Its means are not to be used.")
    console.print(f"{mark} {plain(instrument_sentence(results))}".strip())
    console.print(f"Report: {plain(str(page))}", soft_wrap=True)


def named(site: str, width: int = NAME) -> str:
    """The name of a site; a long one, such as other tools give, on several lines, cut after its slashes."""
    lines = [""]
    for part in re.findall(rf"[^/]{{1,{width - 1}}}/?|/", site):
        if len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(map(plain, lines))


def scorers_table(results: "RunResults", console: "Console") -> None:
    """What further scorers say of every site, each figure above that of another site's explanation, and of twins."""
    from rich import box
    from rich.table import Table

    from evals.results import Failure, ScorerResult, Value

    names = list(dict.fromkeys(name for site in results.sites for name in site.scorers))
    if names:
        table = Table(title="Further scorers", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("site", no_wrap=True)
        chances = {name: found for site in results.sites for name, found in site.scorers.items() if isinstance(found, ScorerResult)}
        for name in names:
            about = f"\n[dim]{chances[name].measure}{_chance(chances[name])}" if name in chances else ""
            minded = name in chances and bool(chances[name].warning or chances[name].cannot_judge)
            table.add_column(f"{plain(name)}{'✱' if minded else ''}{about}")
        for site in results.sites:
            cells = []
            for name in names:
                found = site.scorers.get(name)
                if not isinstance(found, ScorerResult):
                    cells.append(f"[red]failed[/]\n[dim]{plain(found.reason)}" if isinstance(found, Failure) else "")
                    continue
                own = found.scores.get(found.measure)
                if isinstance(own, Failure):
                    cells.append(f"[red]failed[/]\n[dim]{plain(own.reason)}")
                    continue
                other = found.controls.get("shuffled", {}).get(found.measure)
                beside = f"\n[dim]another site's {short(other.value)}" if isinstance(other, Value) else ""
                null = found.controls.get("null", {}).get(found.measure) if found.chance is None else None
                beside += f"\n[dim]an empty one's {short(null.value)}" if isinstance(null, Value) else ""
                cells.append(cell(found.scores.get(found.measure)) + beside)
            table.add_row(named(site.site + ("-" if site.polarity == "-" else "")), *cells)
        console.print(table)
        saved = sum(found.saved for site in results.sites for found in site.scorers.values() if isinstance(found, ScorerResult))
        if saved:
            console.print(f"Stopping early saved {saved:,} questions.")
        for name in names:
            if name in chances and chances[name].warning:
                console.print(f"[yellow]✱ {plain(name)}: {plain(chances[name].warning or '')}")
            elif name in chances and chances[name].cannot_judge:
                console.print(f"[dim]✱ {plain(name)}: not seen to judge {plain(', '.join(chances[name].cannot_judge))}")
    for twin, value in results.twins.items():
        said = f"{value.value:+.2f} [{value.low:+.2f}, {value.high:+.2f}], {value.n} sites" if isinstance(value, Value) else value.reason
        console.print(f"Headline score minus that of {plain(twin)} twins: {plain(said)}")


def _experimented(found: "Experiments") -> str:
    """How sure an explainer that experiments is, and how much of what it says experiments support."""
    supported = sum(bool(clause.get("supported")) for clause in found.clauses)
    confidence = "" if found.confidence is None else f"confidence {short(found.confidence)}, "
    stopped = f", stopped: {plain(found.stopped)}" if found.stopped else ""
    return f"{confidence}{supported} of {len(found.clauses)} clauses supported by experiments{stopped}"


def _chance(found: "ScorerResult") -> str:
    return "" if found.chance is None else f", chance {short(found.chance)}"


def reason(site: "SiteResult") -> str:
    """Why a site has no explanation or no score; empty where it has both."""
    from evals.results import Value, headline

    score = site.scores.get(headline(site.scores))
    if score is None or (site.explanation is None and site.failures):
        return site.failures[-1].reason if site.failures else "not scored"
    return "" if isinstance(score, Value) else score.reason
