"""A parquet file, one row a number."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from analyzers.whole_files import replaced
from evals.exports import EXPORTS
from evals.exports.long_table import COLUMNS, COUNTS, NUMBERS, long_table
from evals.exports.places import target_file

_ROWS = 50_000
"""In memory at a time."""


@EXPORTS.add("parquet")
def export_parquet(run: Path, out: str | None) -> list[str]:
    """NAME.parquet in the current folder, where nothing else is said."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = target_file(run, out, ".parquet")
    types = {column: pa.float64() if column in NUMBERS else pa.int64() if column in COUNTS else pa.string() for column in COLUMNS}
    schema = pa.schema(list(types.items()))
    rows = long_table(run)
    with replaced(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as file:
        for batch in _batches(rows):
            file.write_table(pa.Table.from_pylist(batch, schema=schema))
    return [str(path)]


def _batches(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := [dict(row) for row in islice(rows, _ROWS)]:
        yield batch
