"""Re-checks from the artefacts of a run that nothing the run is scored on was shown to an explainer.

An explanation of a site is made from what its explainer was sent, so no select or test excerpt of a site, nor a near-duplicate, may be in
that site's explain prompts; and no test excerpt may be a near-duplicate of one that chose among its explanations. Splits are by document
over the whole corpus, so no document may be in two splits, and no scored excerpt may stand word for word in what the explainer of any other
site saw; that also finds prompts that were filed under the wrong site. A mere near-duplicate there cannot have helped the site's own
explanation: different documents do share passages (measured in the default corpus: of the select and test windows, 1 in 1000 has one in
explain). Those are counted beside the leaks.

What an explainer saw is read from the prompts as they were sent (transcript.jsonl), and from the explain excerpts (excerpts.parquet) for
explainers that send none. Nothing that chose the excerpts is relied on. Marks like <<token>> and lists of a token and its level a line
tear words apart; so prompts are searched as streams of letters and digits, as they are, and with all that looks like a level removed.

What was explained or simulated must be there to be compared: an audit of less is no passed audit.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from analyzers.duplicates import SHINGLE, normalise, words
from analyzers.errors import RunFolderError
from evals.results import LeakAudit
from evals.run_folder import read_parquet

NEAR_DUPLICATE = 0.5
"""From this overlap on an excerpt counts as shown to its own site's explainer."""
VERBATIM = 1.0
"""From this overlap on, to that of another site."""
LETTERS = 12
"""Fewest letters and digits of a run that is sought: in a stream without blanks, less could be chance."""

_COLUMNS = ["site", "polarity", "split", "document", "start", "tokens"]
# What prompts and JSON write for line breaks, tabs, control and other characters.
_ESCAPE = re.compile(r"\\(?:[nrt]|u([0-9a-fA-F]{4}))")
# Blanks, a colon, comma, bracket or the like, then one or two digits or a decimal number, at the end of a line or before a closing bracket.
_LEVEL = re.compile(r"[\s:;,|=(\[]+\d{1,2}(?:\.\d+)?\s*(?:[)\]}]+,?|$)", re.MULTILINE)


@dataclass(frozen=True)
class _Excerpt:
    """A select or test excerpt of a site."""

    site: str
    split: str
    key: str


@dataclass
class _Seen:
    """A text that an explainer saw, and for which sites."""

    text: str
    where: str
    sites: set[str] = field(default_factory=set)


def audit(run: Path) -> LeakAudit:
    """Compare all select and test excerpts of a run folder with all that its explainers saw, and the test with the select excerpts.

    An excerpt is leaked if at least half of its words lie in runs of five or more words that stand in one prompt or explain excerpt of
    its site (`analyzers.duplicates.overlap`, but blind to how the prompt spells them), or for a test excerpt in a select excerpt of its
    site; if all of them do in a prompt or explain excerpt of another site; if an explain call lists a window of its document as shown;
    or if its document is in two splits. An excerpt of fewer words is sought as a whole, one of fewer than 12 letters and digits by all
    that is not white space, if that is 12 characters. Raises RunFolderError for missing, damaged or incomplete artefacts.
    """
    rows = read_parquet(run / "excerpts.parquet", _COLUMNS)
    if (run / "items.parquet").exists():
        # What further scorers judge on is of the test split, too.
        columns = [column for column in _COLUMNS if column != "split"]
        rows += [{**row, "split": "test"} for row in read_parquet(run / "items.parquet", columns)]
    calls = _explain_calls(run / "transcript.jsonl")
    _check_complete(run, rows, calls)
    splits: dict[str, set[str]] = defaultdict(set)
    scored: dict[str, list[_Excerpt]] = defaultdict(list)
    seen: dict[str, _Seen] = {}
    selecting: dict[str, _Seen] = {}
    for row in rows:
        text, site = "".join(row["tokens"]), _site(row)
        splits[row["document"]].add(row["split"])
        if row["split"] == "select":
            selecting.setdefault(text, _Seen(text, "select excerpt")).sites.add(site)
        if row["split"] in ("select", "test"):
            scored[text].append(_Excerpt(site, row["split"], f"{row['document']}:{row['start']}"))
        elif row["split"] == "explain":
            seen.setdefault(text, _Seen(text, "explain excerpt")).sites.add(site)
    for call in calls:
        prompt = call["prompt"] if isinstance(call["prompt"], str) else "\n".join(call["prompt"])
        seen.setdefault(prompt, _Seen(prompt, "prompt")).sites.add(call["site"])
    leaks = [*_divided(splits), *_listed(calls, splits)]
    largest, repeated = 0.0, 0
    texts = list(scored)
    search = _Search(texts)
    for shown in seen.values():
        for number, overlap in sorted(search.overlaps(shown.text).items()):
            excerpts = scored[texts[number]]
            own = any(excerpt.site in shown.sites for excerpt in excerpts)
            largest = max(largest, overlap if own else 0.0)
            if overlap >= (NEAR_DUPLICATE if own else VERBATIM):
                leaks.append(_leak(excerpts, shown, overlap))
            elif overlap >= NEAR_DUPLICATE:
                repeated += 1
    for shown in selecting.values():
        for number, overlap in sorted(search.overlaps(shown.text).items()):
            held_out = [excerpt for excerpt in scored[texts[number]] if excerpt.split == "test" and excerpt.site in shown.sites]
            if held_out and overlap >= NEAR_DUPLICATE:
                leaks.append(_leak(held_out, shown, overlap))
    pairs = sum(len(excerpts) for excerpts in scored.values()) * len(seen)
    return LeakAudit(
        passed=not leaks, checked=pairs, prompts=len(calls), leaks=leaks, repeated_across_sites=repeated, largest_overlap=largest
    )


def _divided(splits: dict[str, set[str]]) -> Iterator[dict[str, str]]:
    for document, names in sorted(splits.items()):
        if len(names) > 1:
            yield {"kind": "document in two splits", "document": document, "splits": ", ".join(sorted(names))}


def _listed(calls: Iterable[dict[str, Any]], splits: dict[str, set[str]]) -> Iterator[dict[str, str]]:
    for call in calls:
        for key in call.get("shown", ()):
            others = splits.get(key.rpartition(":")[0], set()) - {"explain"}
            if others:
                yield {"kind": "listed as shown", "excerpt": key, "split": ", ".join(sorted(others)), "seen_by": call["site"]}


def _leak(excerpts: Sequence[_Excerpt], shown: _Seen, overlap: float) -> dict[str, str]:
    """One leak, however many sites share the excerpt: of its sites, one whose own explainer saw it, if there is one."""
    excerpt = min(excerpts, key=lambda one: (one.site not in shown.sites, one.site, one.split, one.key))
    by = excerpt.site if excerpt.site in shown.sites else min(shown.sites)
    return {
        "kind": f"text in {shown.where}",
        "excerpt": excerpt.key,
        "split": excerpt.split,
        "site": excerpt.site,
        "seen_by": by,
        "overlap": f"{overlap:.3f}",
    }


class _Search:
    """Finds the runs of words of many excerpts in streams of letters and digits, by their first 12 characters."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._runs: dict[str, list[tuple[str, int, int, int]]] = defaultdict(list)
        self._sizes: list[int] = []
        self._bare: dict[int, str] = {}
        for number, text in enumerate(texts):
            found = words(_unescaped(text))
            self._sizes.append(len(found))
            for start, stop in _spans(found):
                run = "".join(found[start:stop])
                self._runs[run[:LETTERS]].append((run[LETTERS:], number, start, stop))
            if len("".join(found)) < LETTERS:
                self._bare[number] = _without_space(text)

    def overlaps(self, text: str) -> dict[int, float]:
        """By number of an excerpt, the share of its words that stand in the text; those with none left out."""
        plain = _unescaped(text)
        best: dict[int, float] = {}
        for stream in {_stream(plain), _stream(_LEVEL.sub("", plain))}:
            places: dict[int, set[int]] = defaultdict(set)
            for at in range(len(stream) - LETTERS + 1):
                for rest, number, start, stop in self._runs.get(stream[at : at + LETTERS], ()):
                    if stream.startswith(rest, at + LETTERS):
                        places[number].update(range(start, stop))
            for number, covered in places.items():
                best[number] = max(best.get(number, 0.0), len(covered) / self._sizes[number])
        if self._bare:
            whole = _without_space(text)
            best |= {number: 1.0 for number, bare in self._bare.items() if len(bare) >= LETTERS and bare in whole}
        return best


def _spans(found: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the shortest runs of at least five words (or all, if fewer) with 12 letters and digits: from every start, and to the end."""
    fewest = min(SHINGLE, len(found))
    ends = list(accumulate(map(len, found), initial=0))
    for start in range(len(found) - fewest + 1):
        stop = max(start + fewest, bisect_left(ends, ends[start] + LETTERS))
        if stop <= len(found):
            yield start, stop
    start = min(len(found) - fewest, bisect_right(ends, ends[-1] - LETTERS) - 1)
    if start >= 0:
        yield start, len(found)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else " ", text)


def _stream(text: str) -> str:
    return "".join(words(text))


def _without_space(text: str) -> str:
    return "".join(normalise(text).split())


def _site(row: Mapping[str, Any]) -> str:
    return str(row["site"]) + ("-" if row["polarity"] == "-" else "")


def _check_complete(run: Path, rows: Sequence[Mapping[str, Any]], calls: Iterable[Mapping[str, Any]]) -> None:
    """Raise RunFolderError where something was explained, chosen or simulated of which the audit has not all to compare."""
    excerpts = {(_site(row), row["split"], row["document"], row["start"]) for row in rows}
    splits = {(_site(row), row["split"]) for row in rows}
    asked, explained = {call["site"] for call in calls}, set()
    missing = None
    for row in _records(run / "explanations.jsonl", _is_candidate):
        site = _site(row)
        if row["explanation"] is None:
            continue
        explained.add(site)
        if (site, "explain") not in splits:
            missing = f"excerpts.parquet has no explain excerpt of {site!r}, which {row['explainer']!r} explained"
        elif row["prompt"] and site not in asked:
            missing = f"transcript.jsonl has no explain call for {site!r}, which {row['explainer']!r} explained"
        elif row["select_score"] is not None and (site, "select") not in splits:
            missing = f"excerpts.parquet has no select excerpt of {site!r}, by which an explanation was chosen"
    for row in read_parquet(run / "simulations.parquet", ["site", "polarity", "split", "document", "start"]):
        site, where = _site(row), f"{row['document']}:{row['start']}"
        if (site, row["split"], row["document"], row["start"]) not in excerpts:
            missing = f"excerpts.parquet lacks the {row['split']} excerpt {where!r} of {site!r}, which was simulated"
        elif site not in explained:
            missing = f"explanations.jsonl has no explanation of {site!r}, which was simulated"
    if missing is not None:
        raise RunFolderError(f"{str(run)!r} cannot be audited: {missing}; run the command that made the run again")


def _is_candidate(row: Mapping[str, Any]) -> bool:
    return {"site", "polarity", "explanation"} <= row.keys() and (
        row["explanation"] is None or {"explainer", "prompt", "select_score"} <= row.keys()
    )


def _is_call(call: Mapping[str, Any]) -> bool:
    return call["role"] != "explain" or bool(isinstance(call["site"], str) and isinstance(call["prompt"], str | list) and call["prompt"])


def _explain_calls(path: Path) -> list[dict[str, Any]]:
    """The calls by which explanations were asked for; none where no language model was called at all."""
    return [call for call in _records(path, _is_call) if call["role"] == "explain"] if path.exists() else []


def _records(path: Path, whole: Callable[[Mapping[str, Any]], bool]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one a line; raises RunFolderError for one that is not whole."""
    remedy = "run the command that made the run again"
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RunFolderError(f"{str(path)!r} cannot be read ({error.strerror}); {remedy}") from None
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            good = whole(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            good = False
        if not good:
            raise RunFolderError(f"{str(path)!r} line {number} is no whole record; {remedy}")
        yield record
