"""Run folders as pages read them: kept while their files stay as they are, and of a large run no more than a page shows.

No name of a request is ever part of a path here: the folder is that of a row of the database.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, Field, ValidationError

from analyzers.errors import RunFolderError
from evals.audit.results import AuditItem, AuditResults
from evals.confidence.results import ConfidenceResults
from evals.database.rows import RunRow
from evals.exchange.results import ImportedSite
from evals.results import Instrument, SiteResult
from evals.run_folder import read_items, read_results
from explicate.audit_table import way
from explicate.site_card import Simulated, label_of

KEPT = 4
"""Runs of a kind that are held in memory."""
BATCH = 4096
"""Rows of a parquet file that are held at once where all of them are read."""
EXCERPT = ("split", "stratum", "document", "start", "tokens", "activations")
SIMULATION = ("document", "start", "of", "values")

_Stamp = tuple[tuple[str, int, int], ...]


class _Config(BaseModel):
    """What of the configuration is read."""

    subject: str


class _Identity(BaseModel):
    """What of the subject's identity is read."""

    dtype: str = "auto"
    revision: str | None = None


class _Manifest(BaseModel):
    """What of the manifest is read."""

    config: _Config
    command: str = "label"
    subject: _Identity = Field(default_factory=_Identity)


class _Read(BaseModel):
    """What of a labelling run's results.json is read at once; its sites one by one, since there may be tens of thousands."""

    instrument: Instrument | None
    sites: list[dict[str, Any]]
    manifest: _Manifest


@dataclass(frozen=True, eq=False)
class LabelRun:
    """A labelling run."""

    folder: Path
    instrument: Instrument | None
    subject: str
    """As the command named it."""
    dtype: str
    revision: str | None
    """Of the subject, when the run was made."""
    labels: tuple[str, ...]
    """[site] `L7.mlp.1306` or `L7.mlp.1306-`, in the order of the run."""
    positions: Mapping[str, int]
    """By label."""
    packed: Sequence[bytes]
    """[site] its JSON, compressed."""
    foreign: bool = False
    """Whether it was imported: its sites are of another tool, and there is no model to read them in."""

    def site(self, label: str) -> SiteResult:
        """The result of a site; KeyError for one that the run has not, RunFolderError for a damaged one."""
        try:
            kind = ImportedSite if self.foreign else SiteResult
            return kind.model_validate_json(zlib.decompress(self.packed[self.positions[label]]))
        except ValidationError as error:
            first = error.errors()[0]
            wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise RunFolderError(f"{str(self.folder)!r}: its site {label} is damaged ({wrong}); run its command again") from None


@dataclass(frozen=True, eq=False)
class Audit:
    """An audit with its items."""

    results: AuditResults
    texts: tuple[tuple[AuditItem, ...], ...]
    """[item] its lines of items.jsonl, of every way of asking and operator; items in the order of the file."""
    ways: tuple[str, ...]
    """Of asking; that of the first row first."""


def of_kind(run: RunRow, kind: str, what: str) -> Path:
    """Folder of a run of this kind; raises HTTPException 404, which becomes a page, for another kind."""
    if run.kind != kind:
        raise HTTPException(404, f"This run has no {what}: it is of `explicate {run.kind}`, and {what} come of `explicate {kind}`.")
    return Path(run.folder)


def label_run(folder: Path) -> LabelRun:
    """Read results.json of a labelling run; raises RunFolderError where it is missing or damaged."""
    return _label_run(folder, _stamp(folder, "results.json"))


def audit(folder: Path) -> Audit:
    """Read results.json and items.jsonl of an audit; raises RunFolderError where one is missing or damaged."""
    return _audit(folder, _stamp(folder, "results.json", "items.jsonl"))


def confidence(folder: Path) -> ConfidenceResults:
    """Read results.json of a measurement of confidence; raises RunFolderError where it is missing or damaged."""
    return _confidence(folder, _stamp(folder, "results.json"))


def excerpts(folder: Path, site: SiteResult) -> list[dict[str, Any]]:
    """Rows of excerpts.parquet of one site; raises RunFolderError."""
    return _rows(folder / "excerpts.parquet", EXCERPT, [("site", "=", site.site), ("polarity", "=", site.polarity)])


def simulations(folder: Path, site: SiteResult) -> Simulated:
    """Simulated levels of the excerpts of one site, as `explicate.site_card.card` takes them; raises RunFolderError."""
    found: dict[tuple[str, str, int], dict[str, Sequence[float | None]]] = {}
    name = label_of(site.site, site.polarity)
    for row in _rows(folder / "simulations.parquet", SIMULATION, [("site", "=", site.site), ("polarity", "=", site.polarity)]):
        if row["values"] is not None:
            found.setdefault((name, row["document"], row["start"]), {})[row["of"]] = row["values"]
    return found


def loudest(folder: Path) -> Mapping[str, float]:
    """By label of a site: its largest activation in the excerpts of the run; raises RunFolderError."""
    return _loudest(folder, _stamp(folder, "excerpts.parquet"))


@lru_cache(maxsize=KEPT)
def _label_run(folder: Path, _: _Stamp) -> LabelRun:
    read = read_results(folder, _Read)
    try:
        labels = tuple(label_of(site["site"], site["polarity"]) for site in read.sites)
    except (KeyError, TypeError):
        raise RunFolderError(f"{str(folder / 'results.json')!r} is damaged (a site has no name); run its command again") from None
    packed = [zlib.compress(json.dumps(site).encode(), 1) for site in read.sites]
    return LabelRun(
        folder,
        read.instrument,
        read.manifest.config.subject,
        read.manifest.subject.dtype,
        read.manifest.subject.revision,
        labels,
        {label: at for at, label in enumerate(labels)},
        packed,
        read.manifest.command == "import",
    )


@lru_cache(maxsize=KEPT)
def _audit(folder: Path, _: _Stamp) -> Audit:
    results = read_results(folder, AuditResults)
    texts: dict[str, list[AuditItem]] = {}
    for line in read_items(folder, AuditItem):
        texts.setdefault(line.text, []).append(line)
    ways = dict.fromkeys([*map(way, results.rows), *(way(line) for lines in texts.values() for line in lines)])
    return Audit(results, tuple(map(tuple, texts.values())), tuple(ways))


@lru_cache(maxsize=KEPT)
def _confidence(folder: Path, _: _Stamp) -> ConfidenceResults:
    return read_results(folder, ConfidenceResults)


@lru_cache(maxsize=KEPT)
def _loudest(folder: Path, _: _Stamp) -> Mapping[str, float]:
    peaks: dict[str, float] = {}
    path = folder / "excerpts.parquet"
    # A large run has millions of numbers there: some rows at a time.
    with _readable(path):
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH, columns=["site", "polarity", "stratum", "activations"]):
                for row in batch.to_pylist():
                    if row["stratum"] == "top":
                        label = label_of(row["site"], row["polarity"])
                        peaks[label] = max([peaks.get(label, 0.0), *row["activations"]])
    return peaks


def _stamp(folder: Path, *names: str) -> _Stamp:
    """What changes when one of these files is written anew; files are only ever replaced whole."""
    found = []
    for name in names:
        try:
            status = (folder / name).stat()
        except OSError:
            continue  # whoever reads it says what is missing
        found.append((name, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _rows(path: Path, columns: Sequence[str], where: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """These columns of the rows of a parquet file for which all of `where` (column, operator, value) holds."""
    import pyarrow.parquet as pq

    with _readable(path):
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns), filters=where).to_pylist()
    return rows


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what keeps a parquet file from being read into RunFolderError."""
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "there is no such file" if missing else " ".join(str(error).split())
        raise RunFolderError(f"{str(path)!r} cannot be read ({reason}); run the command that made the run again") from None
