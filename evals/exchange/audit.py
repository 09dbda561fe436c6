"""The leak audit of imported data: of every site by itself, since nobody's explainer was shown another site's records.

From excerpts.parquet alone: what dealt the records out is not relied on. A text that another site's explainer was shown is counted, and is
no leak.
"""

from collections import defaultdict
from pathlib import Path

from analyzers.duplicates import normalise, overlap
from evals.leak_audit import NEAR_DUPLICATE
from evals.results import LeakAudit
from evals.run_folder import parquet_rows

_COLUMNS = ("site", "polarity", "split", "document", "start", "tokens")


def audit_imported(run: Path) -> LeakAudit:
    """Compare each select, calibrate and test excerpt with the explain excerpts of its site, and each test with each select excerpt.

    A leak is a share of at least half (`analyzers.duplicates.overlap`), or a document in two splits. Raises RunFolderError for a missing
    or damaged file.
    """
    texts: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    splits: dict[str, set[str]] = defaultdict(set)
    for row in parquet_rows(run / "excerpts.parquet", _COLUMNS):
        site = row["site"] + ("-" if row["polarity"] == "-" else "")
        texts[site][row["split"]].append((f"{row['document']}:{row['start']}", "".join(row["tokens"])))
        splits[row["document"]].add(row["split"])
    leaks = [
        {"kind": "document in two splits", "document": document, "splits": ", ".join(sorted(names))}
        for document, names in sorted(splits.items())
        if len(names) > 1
    ]
    shown_to = defaultdict(set)
    for site, found in texts.items():
        for _, text in found["explain"]:
            shown_to[normalise(text)].add(site)
    checked, repeated, largest = 0, 0, 0.0
    for site, found in texts.items():
        compared = [(split, "explain") for split in ("select", "calibrate", "test")] + [("test", "select")]
        for split, against in compared:
            for key, text in found[split]:
                for _, other in found[against]:
                    share = overlap(text, other)
                    checked += 1
                    largest = max(largest, share)
                    if share >= NEAR_DUPLICATE:
                        leak = {"kind": f"text in {against} excerpt", "excerpt": key, "split": split, "site": site, "seen_by": site}
                        leaks.append({**leak, "overlap": f"{share:.3f}"})
        repeated += sum(bool(shown_to[normalise(text)] - {site}) for split in ("select", "test") for _, text in found[split])
    return LeakAudit(passed=not leaks, checked=checked, leaks=leaks, repeated_across_sites=repeated, largest_overlap=largest)
