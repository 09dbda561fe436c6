"""Sites with their records as a run folder keeps them: imported ones as they came, those of a labelling run from its tables."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analyzers.errors import RunFolderError, SubjectError
from analyzers.sites import Site
from analyzers.whole_files import replaced
from evals.exchange.record import Feature, Record, Told
from evals.results import RunResults, Value
from evals.run_folder import read_json, read_parquet, read_results

FILE = "imported.jsonl"
"""A line a site (`site`, `polarity`, ..., `told`), each followed by a line a record (`tokens`, `values`, ...)."""

_SITE = ("site", "polarity", "model", "corpus", "layer", "index", "shown_known", "firing", "facts")
_TOLD = ("text", "by", "published", "scored", "details")
_RECORD = ("group", "loudest", "shown", "document", "start", "details")


def keep(run: Path, features: Sequence[Feature]) -> None:
    """Write imported.jsonl."""
    with replaced(run / FILE) as temporary, temporary.open("w", encoding="utf-8") as file:
        for feature in features:
            told = [{name: getattr(each, name) for name in _TOLD} for each in feature.told]
            head = {name: getattr(feature, name) for name in _SITE}
            file.write(_line({**head, "told": told, "notes": feature.notes, "records": len(feature.records)}))
            for record in feature.records:
                rest = {name: getattr(record, name) for name in _RECORD}
                file.write(_line({"tokens": record.tokens, "values": record.values.tolist(), **rest}))


def features_of(run: Path) -> Iterator[Feature]:
    """The sites of an imported or a labelling run, of an imported one with one of them in memory at a time.

    Raises RunFolderError for another run, and where a file is missing or damaged.
    """
    kind = read_json(run / "manifest.json").get("command")
    if kind == "import":
        return _imported(run / FILE)
    if kind == "label":
        return _labelled(run)
    raise RunFolderError(f"{str(run)!r} is a run of {kind!r}, which has no records of sites; give one of import, label")


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def _imported(path: Path) -> Iterator[Feature]:
    damaged = f"{str(path)!r} is damaged; import the data again"
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                head = json.loads(line)
                records = [json.loads(file.readline()) for _ in range(head["records"])]
                feature = Feature(**{name: head[name] for name in _SITE})
                feature.told = [Told(**{**each, "scored": tuple(each["scored"])}) for each in head["told"]]
                feature.notes = [(kind, what) for kind, what in head["notes"]]
                for row in records:
                    rest = {name: row[name] for name in _RECORD}
                    feature.records.append(Record(tuple(row["tokens"]), np.array(row["values"], np.float64), **rest))
                yield feature
    except OSError as error:
        raise RunFolderError(f"{str(path)!r} cannot be read ({error.strerror}); import the data again") from None
    except (ValueError, KeyError, TypeError):
        raise RunFolderError(damaged) from None


def _labelled(run: Path) -> Iterator[Feature]:
    """Explain excerpts are what was shown, and select excerpts where they chose or were experimented on; scores that are values are
    published; tested excerpts have what was simulated. The records of all sites are in memory."""
    results = read_results(run, RunResults)
    selected = {(site.site, site.polarity) for site in results.sites if len(site.candidates) > 1 or site.experiments is not None}
    simulated = {
        (row["site"], row["polarity"], row["document"], row["start"]): row["values"]
        for row in read_parquet(run / "simulations.parquet", ("site", "polarity", "split", "document", "start", "of", "values"))
        if row["of"] == "explanation" and row["split"] == "test" and row["values"] is not None and None not in row["values"]
    }
    records: dict[tuple[str, str], list[Record]] = defaultdict(list)
    columns = ("site", "polarity", "split", "stratum", "document", "start", "tokens", "activations")
    for row in read_parquet(run / "excerpts.parquet", columns):
        records[row["site"], row["polarity"]].append(
            Record(
                tuple(row["tokens"]),
                np.array(row["activations"], np.float64),
                row["stratum"],
                loudest=row["stratum"] == "top",
                shown=row["split"] == "explain" or (row["split"] == "select" and (row["site"], row["polarity"]) in selected),
                document=row["document"],
                start=row["start"],
                details=_simulated(simulated.get((row["site"], row["polarity"], row["document"], row["start"]))),
            )
        )
    config = results.manifest.get("config", {})
    for site in results.sites:
        place = _place(site.site)
        scores = {name: value.value for name, value in site.scores.items() if isinstance(value, Value)}
        yield Feature(
            site.site,
            site.polarity,
            model=str(config.get("subject", "")),
            corpus=str(config.get("corpus", "")),
            layer=None if place is None else place.layer,
            index=None if place is None else place.index,
            records=records.get((site.site, site.polarity), []),
            told=[] if site.explanation is None else [Told(site.explanation, site.explainer, scores)],
            shown_known=True,
            firing=site.firing,
        )


def _simulated(values: Sequence[float] | None) -> dict[str, Any]:
    return {} if values is None else {"explanation": 0, "expected_activations": list(values)}


def _place(name: str) -> Site | None:
    try:
        return Site.parse(name)
    except SubjectError:
        return None
