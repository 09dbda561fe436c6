"""A parquet file that SAELens can train and evaluate on, and that says of every text which site it is of.

SAELens (ActivationsStore) reads a dataset by the first of these columns that it finds: `tokens` or `input_ids`, both token numbers, then
`text`, which it tokenises itself. A run keeps texts of tokens and not their numbers, so what is meaningful is `text`: one row a record,
with `load_dataset("parquet", data_files=FILE)`. No column may be called `tokens` here, or texts would be taken for numbers. Its other
parquet, of cached activations, holds vectors of a whole layer, which no run has. The further columns, which it passes over: `site`,
`polarity`, `model`, `layer`, `index`, `group` (how the record was drawn), `shown` (to the explainer, or it chose among its explanations;
null where that is not known), `str_tokens`, `values` (one a token, of the side), `explanation` and `explainer`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evals.exchange.kept import features_of
from evals.exports import EXPORTS
from evals.exports.places import target_file
from evals.run_folder import write_parquet


@EXPORTS.add("saelens")
def export_saelens(run: Path, out: str | None) -> list[str]:
    """NAME.parquet in the current folder, where nothing else is said; raises RunFolderError for a run without sites."""
    path = target_file(run, out, ".parquet")
    write_parquet(path, _rows(run), columns())
    return [str(path)]


def columns() -> Any:
    """Schema of the file."""
    import pyarrow as pa

    texts = {name: pa.string() for name in ("text", "site", "polarity", "model", "group", "explanation", "explainer")}
    numbers = {"layer": pa.int64(), "index": pa.int64(), "shown": pa.bool_()}
    return pa.schema(list({**texts, **numbers, "str_tokens": pa.list_(pa.string()), "values": pa.list_(pa.float64())}.items()))


def _rows(run: Path) -> Iterator[dict[str, Any]]:
    for feature in features_of(run):
        told = feature.told[0] if feature.told else None
        site = {name: getattr(feature, name) for name in ("site", "polarity", "model", "layer", "index")}
        said = {"explanation": None if told is None else told.text, "explainer": None if told is None else told.by}
        for record in feature.records:
            yield {
                **site,
                **said,
                "text": record.text,
                "group": record.group,
                "shown": record.shown if feature.shown_known else None,
                "str_tokens": list(record.tokens),
                "values": record.values.tolist(),
            }
