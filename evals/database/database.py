"""The results database, open: run folders go in, typed rows come out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Row,
    Select,
    Table,
    UnaryExpression,
    asc,
    delete,
    desc,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from analyzers.errors import ExplicateError, RunFolderError
from evals.database.folders import run_folders, task_of
from evals.database.rows import MetricRow, Page, Reindexed, RunRow, SiteRow, run_id
from evals.database.tables import artefact, baseline, metric, run, site
from evals.database.texts import kept, searched
from evals.database.times import now
from evals.database.told import told
from evals.results import Failure, Value

if TYPE_CHECKING:
    from evals.database.importing import Imported

T = TypeVar("T")

WORDS, LETTERS = 16, 1000
"""Of a search, what is looked for; more is left out."""
SITE_ORDERS: Mapping[str, Callable[[ColumnElement[Any]], UnaryExpression[Any]] | None] = {
    "site": None,
    "score": desc,
    "lift": desc,
    "q_value": asc,
}
"""By the name of the column: the best come first, what failed comes last. `site` is the order of the run."""


class Database:
    """An open results database; a context manager that closes it. May be used by several threads.

    `read()`, `write()` and `evals.database.tables` are there for statements of others. Every method raises ExplicateError where the
    database is out of reach.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self.engine = engine
        self.where = where
        """Its name in messages, without a password."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end of the block, undone by an error. On SQLite it waits here for other writers,
        and not in the middle, where what was read could be out of date."""
        connect = self.engine.execution_options(explicate_write=True).connect
        with told(self.where, self.engine.url), connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite all of it as it was at its first statement."""
        with told(self.where, self.engine.url), self.engine.connect() as connection, connection.begin():
            yield connection

    def add_run(self, folder: Path) -> str:
        """Import a run folder, in place of what the same folder held before, and return the run's id.

        With a suite's run come those of its tasks, each a run whose `parent` it is. Raises RunFolderError, and changes nothing, for what
        is no run folder, did not end, or is half deleted.
        """
        # What reads run folders takes seconds to import, which whoever only reads the database need not wait for.
        from evals.database.importing import read_run

        above = task_of(folder)
        if above is not None:
            self.add_run(above)
            if self.run(run_id(folder)) is None:
                raise RunFolderError(f"{str(folder)!r} is in the folder of a suite's run, and no task of it; give another folder")
            return run_id(folder)
        found = read_run(folder)
        with self.write() as connection:
            for each in found:
                insert_run(connection, each)
            own = found[0].run["id"]
            connection.execute(delete(run).where(run.c.parent == own, run.c.id.not_in([each.run["id"] for each in found])))
        return str(own)

    def runs(
        self,
        *,
        search: str = "",
        kind: str = "",
        suite: str = "",
        parent: str | None = None,
        tasks: bool = False,
        limit: int = 50,
        offset: int = 0,
    ) -> Page[RunRow]:
        """Runs, the newest first; those of tasks only where `parent` names their suite's run, or with `tasks`.

        search: words that all occur, in any case, in name, suite, kind, model or folder. suite: the series, that is the name of a suite or
        of a run of its own.
        """
        where = _having(run, search)
        if parent is not None:
            where.append(run.c.parent == kept(parent))
        elif not tasks:
            where.append(run.c.parent.is_(None))
        where += [column == kept(wanted) for column, wanted in ((run.c.kind, kind), (run.c.series, suite)) if wanted]
        wanted = _part(select(run).where(*where).order_by(run.c.finished.desc(), run.c.id.desc()), limit, offset)
        return self._page(wanted, select(func.count()).select_from(run).where(*where), _run_row, limit, offset)

    def run(self, run_id: str) -> RunRow | None:
        """The run of that id."""
        with self.read() as connection:
            found = connection.execute(select(run).where(run.c.id == kept(run_id))).first()
        return None if found is None else _run_row(found)

    def latest(self, suite: str) -> RunRow | None:
        """The last run of a series."""
        found = self._of_series(suite, limit=1)
        return found[0] if found else None

    def metrics(self, run_id: str) -> list[MetricRow]:
        """The metrics of a run, in the order of its results."""
        with self.read() as connection:
            found = connection.execute(select(metric).where(metric.c.run_id == kept(run_id)).order_by(metric.c.position))
            return [_metric_row(row) for row in found]

    def history(self, suite: str, task: str, name: str, of: str, limit: int = 100) -> list[tuple[RunRow, MetricRow]]:
        """A metric in the last runs of a series, the oldest first; runs without it are left out.

        suite: the series (RunRow.series): a suite's name, SUITE/TASK with an empty `task`, or the name of a run of its own.
        """
        key = (metric.c.task == kept(task), metric.c.name == kept(name), metric.c.of == kept(of))
        wanted = (
            select(run, metric)
            .join(metric, metric.c.run_id == run.c.id)
            .where(run.c.series == kept(suite), *key)
            .order_by(run.c.finished.desc(), run.c.id.desc())
            .limit(limit)
        )
        with self.read() as connection:
            found = connection.execute(wanted).all()
        return [(_run_row(row), _metric_row(row)) for row in reversed(found)]

    def sites(
        self,
        run_id: str,
        *,
        search: str = "",
        layer: int | None = None,
        min_score: float | None = None,
        min_lift: float | None = None,
        order: str = "score",
        limit: int = 50,
        offset: int = 0,
    ) -> Page[SiteRow]:
        """Sites of a labelling run, by SITE_ORDERS.

        search: words that all occur, in any case, in the explanation or the site's name. min_score, min_lift: leaves out what has none,
        too. Raises ExplicateError for another order.
        """
        if order not in SITE_ORDERS:
            raise ExplicateError(f"sites cannot be ordered by {order!r}; choose one of {', '.join(SITE_ORDERS)}")
        where = [site.c.run_id == kept(run_id), *_having(site, search)]
        where += [site.c.layer == layer] if layer is not None else []
        where += [column >= least for column, least in ((site.c.score, min_score), (site.c.lift, min_lift)) if least is not None]
        # Only the sites of the page are read whole: what comes before them is counted off in an index.
        picked = _part(select(site.c.position).where(*where).order_by(*_order(order, scan=bool(search))), limit, offset).subquery()
        wanted = select(site).join(picked, site.c.position == picked.c.position).where(where[0]).order_by(*_order(order))
        return self._page(wanted, select(func.count()).select_from(site).where(*where), _site_row, limit, offset)

    def site(self, run_id: str, name: str, polarity: str) -> SiteRow | None:
        """One side of one neuron: `L7.mlp.1306` and + or -."""
        where = (site.c.run_id == kept(run_id), site.c.site == kept(name), site.c.polarity == kept(polarity))
        with self.read() as connection:
            found = connection.execute(select(site).where(*where)).first()
        return None if found is None else _site_row(found)

    def layers(self, run_id: str) -> list[int]:
        """Layers that a labelling run has sites of."""
        wanted = select(site.c.layer).where(site.c.run_id == kept(run_id)).distinct().order_by(site.c.layer)
        with self.read() as connection:
            return list(connection.scalars(wanted))

    def artefacts(self, run_id: str) -> dict[str, Path]:
        """By path within the run's folder: where the file is, or was when the run was imported."""
        wanted = select(artefact.c.name, artefact.c.path).where(artefact.c.run_id == kept(run_id)).order_by(artefact.c.name)
        with self.read() as connection:
            return {row.name: Path(row.path) for row in connection.execute(wanted)}

    def set_baseline(self, suite: str, run_id: str) -> None:
        """Hold the runs of a series against this one from now on; raises ExplicateError for a run that is not in the database."""
        if self.run(run_id) is None:
            raise ExplicateError(f"no run in the database {self.where} has the id {run_id!r}; import its folder with explicate reindex")
        values = {"suite": kept(suite), "run_id": run_id, "set_at": now()}
        with self.write() as connection:
            connection.execute(_upsert(connection, baseline, values, "suite"))

    def baseline(self, suite: str) -> str | None:
        """Id of the run that runs of a series are held against."""
        with self.read() as connection:
            return connection.scalar(select(baseline.c.run_id).where(baseline.c.suite == kept(suite)))

    def delete_run(self, run_id: str) -> bool:
        """Take a run, its tasks and whatever is of them out of the database, never its folder; whether it was there."""
        with self.write() as connection:
            return connection.execute(delete(run).where(run.c.id == kept(run_id))).rowcount > 0

    def reindex(self, roots: Sequence[Path]) -> Reindexed:
        """Import every run folder at or below these; what cannot be imported is named and skipped, and runs in the database whose folder
        is gone stay. Raises ExplicateError for a root that is no folder."""
        for root in roots:
            if not root.is_dir():
                raise ExplicateError(f"{str(root)!r} is no folder to look for runs in; give folders that hold run folders")
        added, failed = 0, []
        folders = list(dict.fromkeys(folder.resolve() for root in roots for folder in run_folders(root)))
        for folder in folders:
            try:
                self.add_run(folder)
            except (RunFolderError, OSError) as error:
                failed.append((str(folder), str(error)))
            else:
                added += 1
        return Reindexed(found=len(folders), added=added, failed=failed)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _of_series(self, series: str, *, limit: int) -> list[RunRow]:
        wanted = select(run).where(run.c.series == kept(series)).order_by(run.c.finished.desc(), run.c.id.desc()).limit(limit)
        with self.read() as connection:
            return [_run_row(row) for row in connection.execute(wanted)]

    def _page(self, wanted: Select[Any], counted: Select[int], as_row: Callable[[Row[Any]], T], limit: int, offset: int) -> Page[T]:
        with self.read() as connection:
            total = connection.execute(counted).scalar_one()
            rows = [as_row(row) for row in connection.execute(wanted)]
        return Page(rows, total, limit, offset)


def _order(name: str, *, scan: bool = False) -> list[ColumnElement[Any]]:
    """scan: without the index of the order, which SQLite would follow from site to site all over the table where few of them match."""
    best = SITE_ORDERS[name]
    column = site.c[name] + literal_column("0") if scan and best is not None else site.c[name]
    return [site.c.position] if best is None else [best(column).nulls_last(), site.c.position]


def _part(wanted: Select[Any], limit: int, offset: int) -> Select[Any]:
    if limit < 1 or offset < 0:
        raise ValueError(f"{limit} rows from {offset} are no page; limit is at least 1, offset at least 0")
    return wanted.limit(limit).offset(offset)


def insert_run(connection: Connection, found: "Imported") -> None:
    """Put the rows of a run in place of those that it had; what refers to it (a baseline, the runs of its tasks) stays."""
    connection.execute(_upsert(connection, run, found.run, "id"))
    for table, rows in ((metric, found.metrics), (site, found.sites), (artefact, found.artefacts)):
        connection.execute(delete(table).where(table.c.run_id == found.run["id"]))
        if rows:
            connection.execute(insert(table), rows)


def _upsert(connection: Connection, table: Table, values: Mapping[str, Any], key: str) -> Insert:
    statement = (insert_sqlite if connection.dialect.name == "sqlite" else insert_postgresql)(table).values(**values)
    changed = {name: value for name, value in values.items() if name != key}
    return statement.on_conflict_do_update(index_elements=[key], set_=changed)


def _having(table: Table, search: str) -> list[ColumnElement[bool]]:
    return [table.c.searched.contains(word, autoescape=True) for word in searched(search[:LETTERS]).split()[:WORDS]]


def _run_row(found: Row[Any]) -> RunRow:
    return RunRow(**{each.name: found._mapping[run.c[each.name]] for each in fields(RunRow)})


def _metric_row(found: Row[Any]) -> MetricRow:
    row = {column.name: found._mapping[column] for column in metric.c}
    value: Value | Failure
    if row["value"] is None:
        value = Failure(stage=row["stage"], reason=row["failure"])
    else:
        value = Value(value=row["value"], low=row["low"], high=row["high"], n=row["n"])
    return MetricRow(row["run_id"], row["task"], row["name"], row["of"], value, row["n_failed"], row["better"])


def _site_row(found: Row[Any]) -> SiteRow:
    return SiteRow(**{each.name: found._mapping[site.c[each.name]] for each in fields(SiteRow)})
