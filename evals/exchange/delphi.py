"""Results of EleutherAI's delphi: caches of latents, explanations, and the answers of its classifying scorers.

A cache is a folder a hookpoint with config.json and START_END.safetensors: `locations` [n, 3] of context, position and latent (counted from
START), `activations` [n], `tokens` [context, position] as numbers, which need a tokenizer. Explanations are HOOK_latentN.txt with a JSON
string, scores HOOK_latentN.txt below scores/SCORER with a JSON list of answers. A cache holds all windows: of each latent so many are
taken, evenly over their ranks, and some in which it is silent. Shown are windows drawn from quantiles by default, so it is not known
which; with train_type `top` in run_config.json, the loudest. Each context counts as a document.

A cache may be larger than the memory: it is mapped, its activations are read in parts, and gathered for some latents at a time, MOST_HELD
activations or those of one latent if that has more; the contexts are read window by window. That takes about 100 bytes an activation held:
200 MB, where no latent has more.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzers.errors import ExplicateError
from evals.exchange import FORMATS, Format, Options
from evals.exchange.options import MOST_RECORDS, SILENT_RECORDS
from evals.exchange.reading import LARGEST_NUMBER, Node, files_of, json_file, malformed, unreadable
from evals.exchange.record import Feature, Record, Told

WINDOW = 32
"""Tokens of the windows that delphi cuts contexts into."""
PART = 1 << 18
"""Activations that are read from a cache at a time."""
MOST_HELD = 1 << 21
"""Activations that are gathered at a time, by latent."""

_NAME = re.compile(r"(.+)_latent(\d{1,18})\.txt", re.ASCII)
_SPLIT = re.compile(r"(\d{1,18})_(\d{1,18})\.safetensors", re.ASCII)

_KINDS = {"locations": ("IU", 2), "activations": ("F", 1), "tokens": ("IU", 2)}
"""Arrays of a cache: the letters that their types begin with, and dimensions."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Cache:
    """One file of a hookpoint's cache."""

    file: Path
    hook: str
    model: str
    corpus: str
    first: int
    """Number of its first latent."""
    contexts: tuple[int, int]
    """Contexts, and tokens of each."""
    counts: Mapping[int, int]
    """Activations of each latent, from the first on, that has some."""
    arrays: Mapping[str, Any]
    """locations, activations and tokens, in the file: what is taken of them is read when it is taken."""

    def parts(self) -> Iterator[tuple[Ints, npt.NDArray[np.float64]]]:
        """Places [n, 3] (context, position, latent from the first on) and values [n], so many at a time as PART."""
        yield from _parts(self.file, self.arrays)

    def window(self, context: int, start: int, length: int) -> list[int]:
        """Token numbers."""
        row = _taken(self.file, self.arrays["tokens"], context, context + 1)
        return [int(number) for number in row[0, start : start + length]]


def claims(path: Path, head: Any) -> bool:
    """Whether the file is part of a cache, an explanation, or answers of a scorer."""
    return _SPLIT.fullmatch(path.name) is not None or (_NAME.fullmatch(path.name) is not None and isinstance(head, str | list))


def read(source: Path, options: Options) -> Iterator[Feature]:
    """The latents of a folder of results, of a hookpoint's cache, or of one file."""
    paths = files_of(source, ".safetensors", ".txt")
    shown = _shown(source)
    caches = [path for path in paths if _SPLIT.fullmatch(path.name)]
    if caches and options.tokenizer is None:
        raise ExplicateError(
            f"{str(caches[0])!r} holds token numbers and no text; name the subject's tokenizer: --tokenizer NAME, or a folder that has it"
        )
    if caches:
        from analyzers.token_texts import TokenTexts

        texts = TokenTexts.load(str(options.tokenizer))
        for path in caches:
            yield from _latents(_cache(path, source), texts, options, shown)
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match is not None and options.wants(int(match[2])):
            yield _written(path, match)
        elif path == source and path not in caches:
            raise ExplicateError(f"{str(path)!r} is no file of delphi's: they are called START_END.safetensors or HOOK_latentN.txt")


def finish(feature: Feature) -> None:
    """Scores are of the explanation that stands beside them."""
    told = [each for each in feature.told if each.text or not each.published]
    scores = [each for each in feature.told if each not in told]
    if len(told) == 1:
        published = {name: value for each in scores for name, value in each.published.items()}
        one = told[0]
        feature.told = [Told(one.text, one.by, published, tuple(text for each in scores for text in each.scored), one.details)]
    elif scores:
        feature.told = told
        feature.notes.append(("no-explanation", "scores came without the explanation that they are of"))


def _shown(source: Path) -> int:
    """How many of the loudest windows were shown, where run_config.json says that they were the loudest; else 0."""
    path = next(
        (folder / "run_config.json" for folder in (source, *list(source.absolute().parents)[:3]) if (folder / "run_config.json").is_file()),
        None,
    )
    sampler = None if path is None else json_file(path).maybe("sampler_cfg")
    if sampler is None or sampler.maybe("train_type") is None or sampler.get("train_type").text() != "top":
        return 0
    return sampler.get("n_examples_train").whole()


def _cache(path: Path, source: Path) -> _Cache:
    """One file, checked; raises MalformedError where it is not as it should be."""
    arrays = _arrays(path)
    contexts = tuple(arrays["tokens"].get_shape())
    match = _SPLIT.fullmatch(path.name)
    first, last = (int(match[1]), int(match[2])) if match is not None else (0, 0)
    if not all(contexts):
        raise malformed(path, "at tokens", "contexts of at least one token", str(list(contexts)))
    counts: dict[int, int] = defaultdict(int)
    for places, values in _parts(path, arrays):
        if not (np.abs(values) <= LARGEST_NUMBER).all():
            raise malformed(path, "at activations", "finite numbers", "others")
        if (places < 0).any() or (places[:, :2] >= contexts).any():
            raise malformed(path, "at locations", f"places within the contexts {list(contexts)}", "others")
        if (places[:, 2] > last - first).any():
            raise malformed(path, "at locations", f"latents {first} to {last}, as its name says", "others")
        for latent, found in zip(*map(np.ndarray.tolist, np.unique(places[:, 2], return_counts=True)), strict=True):
            counts[latent] += found
    beside = path.parent / "config.json"
    if not beside.is_file():
        raise ExplicateError(
            f"{str(path.parent)!r} has no config.json, which says what its cache is of; give the folder as delphi wrote it"
        )
    config = json_file(beside)
    model, corpus = config.maybe("model_name"), config.maybe("dataset_repo")
    hook = path.parent.name if not source.is_dir() or path.parent == source else _hook(path.parent, source)
    named = ("" if model is None else model.name(), "" if corpus is None else corpus.name())
    return _Cache(path, hook, *named, first, (contexts[0], contexts[1]), counts, arrays)


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays in a file, mapped and not read."""
    from safetensors import SafetensorError, safe_open

    try:
        file: Any = safe_open(path, framework="numpy")
        names = set(file.keys())
        found = {name: file.get_slice(name) for name in _KINDS if name in names}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise unreadable(path, error) from None
    for name, (kinds, dimensions) in _KINDS.items():
        array = found.get(name)
        if array is None or array.get_dtype()[0] not in kinds or len(array.get_shape()) != dimensions:
            said = "none" if array is None else f"{array.get_dtype()} {list(array.get_shape())}"
            of = "numbers" if kinds == "F" else "whole numbers"
            raise malformed(path, f"at {name}", f"an array of {dimensions} dimensions of {of}", said)
    shape, count = found["locations"].get_shape(), found["activations"].get_shape()[0]
    if list(shape) != [count, 3]:
        raise malformed(path, "at locations", f"[{count}, 3], a row an activation", str(list(shape)))
    return found


def _parts(path: Path, arrays: Mapping[str, Any]) -> Iterator[tuple[Ints, npt.NDArray[np.float64]]]:
    count = arrays["activations"].get_shape()[0]
    for start in range(0, count, PART):
        end = min(start + PART, count)
        places = _taken(path, arrays["locations"], start, end).astype(np.int64)
        yield places, _taken(path, arrays["activations"], start, end).astype(np.float64)


def _taken(path: Path, array: Any, start: int, end: int) -> npt.NDArray[Any]:
    from safetensors import SafetensorError

    try:
        return np.asarray(array[start:end])
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise unreadable(path, error) from None


def _hook(folder: Path, source: Path) -> str:
    """A hookpoint may have slashes in its name: what lies below `latents`, or below the source."""
    parts = folder.relative_to(source).parts
    return "/".join(parts[parts.index("latents") + 1 :] if "latents" in parts else parts)


def _latents(cache: _Cache, texts: Any, options: Options, shown: int) -> Iterator[Feature]:
    wanted = [latent for latent in sorted(cache.counts) if options.wants(cache.first + latent)]
    for batch in _batches(wanted, cache.counts):
        inside = [(places[these], values[these]) for places, values in cache.parts() for these in (np.isin(places[:, 2], batch),)]
        places, values = np.concatenate([each for each, _ in inside]), np.concatenate([each for _, each in inside])
        order = np.argsort(places[:, 2], kind="stable")
        starts = np.searchsorted(places[order, 2], batch)
        for latent, mine in zip(batch, np.split(order, starts[1:]), strict=True):
            yield _latent(cache, cache.first + latent, places[mine, :2], values[mine], texts, options, shown)


def _batches(latents: Sequence[int], counts: Mapping[int, int]) -> Iterator[list[int]]:
    """Latents that have MOST_HELD activations together, or one that has more."""
    batch: list[int] = []
    held = 0
    for latent in latents:
        if batch and held + counts[latent] > MOST_HELD:
            yield batch
            batch, held = [], 0
        batch.append(latent)
        held += counts[latent]
    if batch:
        yield batch


def _latent(cache: _Cache, latent: int, places: Ints, values: npt.NDArray[np.float64], texts: Any, options: Options, shown: int) -> Feature:
    """From all of a latent's activations: places [n, 2] (context, position), values [n]."""
    contexts, tokens = cache.contexts
    length = min(WINDOW, tokens)
    per, fired = tokens // length, len(values)
    inside = places[:, 1] < per * length
    places, values = places[inside], values[inside]
    number = places[:, 0] * per + places[:, 1] // length
    windows, of = np.unique(number, return_inverse=True)
    peaks = np.zeros(len(windows))
    np.maximum.at(peaks, of, values)
    ranked = np.argsort(-peaks, kind="stable")
    taken = np.unique(np.linspace(0, len(ranked) - 1, min(MOST_RECORDS, len(ranked))).round().astype(np.int64)) if len(ranked) else ranked
    taken = np.union1d(taken, np.arange(min(shown, len(ranked))))
    rank_of = {int(windows[ranked[rank]]): rank for rank in taken.tolist()}
    rows: dict[int, npt.NDArray[np.float64]] = {window: np.zeros(length) for window in rank_of}
    kept = np.isin(of, ranked[taken])
    for window, position, value in zip(number[kept].tolist(), (places[kept, 1] % length).tolist(), values[kept].tolist(), strict=True):
        rows[window][position] = value
    silent = _silent(windows, contexts * per, np.random.default_rng([options.seed, latent]))
    rows |= {window: np.zeros(length) for window in silent}

    def record(window: int) -> Record:
        context, start = window // per, window % per * length
        rank = rank_of.get(window)
        return Record(
            texts.of(cache.window(context, start, length), cache.file),
            rows[window],
            "silent" if rank is None else "activating",
            loudest=rank is not None and rank < max(shown, MOST_RECORDS // 10),
            shown=rank is not None and rank < shown,
            document=f"context {context}",
            start=start,
        )

    return Feature(
        f"{cache.hook}_latent{latent}",
        model=cache.model,
        corpus=cache.corpus,
        index=latent,
        layer=_layer(cache.hook),
        records=[record(window) for window in rows],
        shown_known=shown > 0,
        firing=fired / (contexts * tokens),
    )


def _silent(active: Ints, windows: int, rng: np.random.Generator) -> list[int]:
    """Windows drawn at random of which none is in `active`."""
    drawn = rng.integers(windows, size=20 * SILENT_RECORDS) if windows else active[:0]
    return list(dict.fromkeys(drawn[~np.isin(drawn, active)].tolist()))[:SILENT_RECORDS]


def _layer(hook: str) -> int | None:
    match = re.search(r"\d{1,9}", hook, re.ASCII)
    return None if match is None else int(match[0])


def _written(path: Path, match: re.Match[str]) -> Feature:
    """From an explanation, or from the answers of a scorer."""
    node = json_file(path)
    hook, latent = match[1].replace("--", "/"), int(match[2])
    feature = Feature(f"{hook}_latent{latent}", index=latent, layer=_layer(hook))
    if isinstance(node.value, str):
        feature.told = [Told(node.text(), "delphi")]
    else:
        answers = list(node.items("a text, or a list of answers"))
        if all(isinstance(answer.value, dict) and "activating" in answer.value for answer in answers):
            _answered(answers, path.parent.name, feature)
    return feature


def _answered(answers: Sequence[Node], scorer: str, feature: Feature) -> None:
    counts: Mapping[bool, list[bool]] = defaultdict(list)
    failed = 0
    for answer in answers:
        activating = answer.get("activating").value
        if not isinstance(activating, bool):
            raise answer.get("activating").fail("true or false")
        tokens = answer.get("str_tokens").texts()
        values = answer.get("activations").numbers(len(tokens)) if activating else np.zeros(len(tokens))
        feature.records.append(Record(tokens, values, "scored", details=answer.some("distance", "activating", "prediction", "probability")))
        predicted = answer.maybe("prediction")
        if predicted is None:
            failed += 1
        else:
            counts[activating].append(bool(predicted.value) == activating)
    shares = [sum(right) / len(right) for right in (counts[True], counts[False]) if right]
    published = {f"{scorer} balanced accuracy": sum(shares) / 2 if len(shares) == 2 else None}
    if failed:
        feature.notes.append(
            ("failed-answers", f"{failed} of {len(answers)} answers of {scorer} could not be read and are not in its score")
        )
    feature.told = [Told("", "delphi", published, tuple(record.text for record in feature.records))]


FORMATS.add("delphi")(Format(claims, read, finish))
