"""Reads somebody else's data into a run folder: sites and explanations, what look-ups reach on the records, and what is wrong with them."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from analyzers.errors import ExplicateError
from analyzers.progress import Report, quiet
from evals.code_version import code_hash
from evals.exchange import FORMATS, Feature, Options
from evals.exchange.artefacts import write_excerpts, write_tables
from evals.exchange.audit import audit_imported
from evals.exchange.config import ImportConfig
from evals.exchange.explanations import candidates, missing
from evals.exchange.held_out import deal
from evals.exchange.kept import keep
from evals.exchange.look_up import look_ups
from evals.exchange.options import MOST_HELD, parse_ranges
from evals.exchange.problems import problems_of, problems_of_all
from evals.exchange.reading import files_of, head
from evals.exchange.record import distinct
from evals.exchange.results import ImportedResults, ImportedSite, Problem, Published
from evals.results import Calls, Failure, Tokens, failure
from evals.run_folder import RunFolder, write_json

LOOKED_AT = 50
"""Files of a folder that are looked at to find out its format."""

_SUFFIXES = (".json", ".jsonl", ".gz", ".txt", ".safetensors")
_NOT_YET = Failure(stage="rescore", reason="not scored here yet: `explicate rescore RUN --simulator MODEL` does")


def format_of(source: Path) -> str:
    """The format that claims the file, or the first file of the folder that any format claims; raises ExplicateError where none does."""
    formats = FORMATS.all()
    for path in files_of(source, *_SUFFIXES)[:LOOKED_AT]:
        value = None if path.suffix == ".safetensors" else head(path)
        found = next((name for name, format in formats.items() if format.claims(path, value)), None)
        if found is not None:
            return found
    raise ExplicateError(f"{str(source)!r} is of no format known here; give one by --format: {', '.join(formats)}")


def read_features(source: Path, format: str, options: Options) -> list[Feature]:
    """All sites of a source, each once, in the order in which they first come.

    They are in memory together, since several files can be about one site. Raises ExplicateError where there is none, and before they are
    more than MOST_HELD.
    """
    chosen = FORMATS.get(format)
    found: dict[str, Feature] = {}
    held = 0
    for feature in chosen.read(source, options):
        held += feature.size
        if held > MOST_HELD:
            raise ExplicateError(
                f"{str(source)!r} is too large to be imported at once: {len(found):,} of its sites have {MOST_HELD / 1e6:.0f} million "
                "tokens; import it in parts, each into a run of its own: --features 0-999"
            )
        if feature.key in found:
            found[feature.key].absorb(feature)
        else:
            found[feature.key] = feature
    if not found:
        wanted = " among the --features" if options.ranges else ""
        raise ExplicateError(
            f"{str(source)!r} has no site in the format {format!r}{wanted}; give another file or folder, or another --format"
        )
    for feature in found.values():
        chosen.finish(feature)
    return list(found.values())


async def import_run(
    source: Path,
    out: Path,
    *,
    format: str | None = None,
    features: str = "",
    tokenizer: str | None = None,
    seed: int = 0,
    report: Report = quiet,
) -> ImportedResults:
    """Import a file or folder into the run folder `out` and return what its results.json holds.

    format: found out by content where it is None. Raises ExplicateError for a source that cannot be read, before the folder is made.
    """
    named = format if format is not None else format_of(source)
    read = read_features(source, named, Options(parse_ranges(features), tokenizer, seed))
    config = ImportConfig(
        source=str(source),
        format=named,
        features=features,
        tokenizer=tokenizer,
        seed=seed,
        subject=_joined([feature.model for feature in read]) or "unknown model",
        corpus=_joined([feature.corpus for feature in read]) or "unknown corpus",
        explainer=_joined([told.by for feature in read for told in feature.told]) or "none",
    )
    with RunFolder(out, "import", config.model_dump(mode="json")) as folder:
        tokens = sum(len(record.tokens) for feature in read for record in feature.records)
        folder.record(
            {"version": version("explicate"), "source": _digest(source), "corpus": {"tokens": tokens}}, latest={"code": code_hash()}
        )
        keep(out, read)
        write_excerpts(out, ((feature.site, feature.polarity, deal(feature)) for feature in read))
        sites: list[ImportedSite] = []
        problems: list[Problem] = []
        for done, feature in enumerate(read):
            sites.append(await described(feature, seed=seed))
            problems += problems_of(feature)
            report("look into sites", done + 1, len(read))
        results = unscored(sites, [*problems, *problems_of_all(read)], dict(folder.manifest), out)
        write_tables(out, sites, ())
        write_json(out / "results.json", results.model_dump(mode="json"))
    return results


async def described(feature: Feature, *, seed: int) -> ImportedSite:
    """A site before it is rescored: its explanation is the first that is one."""
    chosen = next(iter(candidates(feature.told)), None)
    unexplained = missing(feature.told)
    failures = [] if unexplained is None else [failure(unexplained)]
    unscored = failures[0] if failures else _NOT_YET
    return ImportedSite(
        site=feature.site,
        polarity=feature.polarity,
        explanation=None if chosen is None else chosen.text,
        explainer=(chosen.by if chosen is not None else feature.told[0].by if feature.told else "none"),
        simulator="none",
        scores={"pearson": unscored},
        controls=await look_ups(feature, seed=seed),
        lift=unscored,
        firing=feature.firing,
        failures=failures,
        model=feature.model,
        shown_known=feature.shown_known,
        published={} if chosen is None else dict(chosen.published),
        explanations=[
            Published(explanation=told.text, by=told.by, published=dict(told.published), n_scored=len(told.scored)) for told in feature.told
        ],
        n_records=len(feature.records),
        n_distinct=len(distinct(feature.records)),
    )


def unscored(sites: Sequence[ImportedSite], problems: Sequence[Problem], manifest: dict[str, Any], run: Path) -> ImportedResults:
    """results.json of a run in which nothing has been scored yet."""
    return ImportedResults(
        sites=list(sites),
        problems=list(problems),
        n_scored=0,
        n_failed=len(sites),
        calls=Calls(made=0, cached=0),
        tokens=Tokens(prompt=0, completion=0),
        usd=0,
        leak_audit=audit_imported(run),
        instrument=None,
        manifest=manifest,
    )


def _joined(names: Sequence[str]) -> str:
    found = [name for name in dict.fromkeys(names) if name]
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _digest(source: Path) -> dict[str, Any]:
    """Files, bytes, and a hash of names and contents."""
    digest, size = hashlib.sha256(), 0
    paths = files_of(source, *_SUFFIXES, ".npy")
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(source) if source.is_dir() else path.name} {content}\n".encode())
        size += path.stat().st_size
    return {"files": len(paths), "bytes": size, "sha256": digest.hexdigest()}
