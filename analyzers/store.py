"""What a sampling pass left on disk, read back one site at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.duplicates import overlap
from analyzers.errors import RunFolderError, SubjectError
from analyzers.evidence import SPLITS, Evidence, Excerpt, FloatArray, Moments, Split, Stratum
from analyzers.kept import Kept, first_random, random_start
from analyzers.pass_folder import RESULT, check_same, read_json
from analyzers.sites import Polarity, Site

if TYPE_CHECKING:
    from analyzers.blocks import Blocks

NEAR_DUPLICATE = 0.5
"""From this overlap with an excerpt of an earlier split on (explain, select, calibrate, test), a window is left out."""


class ActivationStore:
    """A finished pass: for every neuron of every layer, both sides, its excerpts and moments."""

    def __init__(self, folder: Path, result: dict[str, Any], blocks: "Blocks") -> None:
        self.folder = folder
        self.result = result
        """Content of activations.json: configuration, counts, tokens."""
        self.blocks = blocks
        self.neurons: tuple[int, ...] = tuple(result["neurons"])
        """[layer] how many neurons there are."""
        self.tokens: int = result["tokens"]

    def __repr__(self) -> str:
        corpus = self.blocks.info
        return (
            f"ActivationStore: {sum(self.neurons):,} neurons in {len(self.neurons)} layers, both sides, on {self.tokens:,} tokens "
            f"({corpus['documents']:,} documents) of {corpus['source']}; in {str(self.folder)!r}"
        )

    @classmethod
    def open(cls, folder: Path) -> "ActivationStore":
        """Open the folder of a finished pass; RunFolderError where there is none, or one of another version."""
        from analyzers.blocks import Blocks

        if not (folder / RESULT).exists():
            raise RunFolderError(f"{str(folder)!r} holds no finished pass; run `explicate sample` first")
        result = read_json(folder / RESULT)
        blocks = Blocks.open(folder / result["blocks_folder"])
        check_same(folder, result, {"blocks": blocks.fingerprint})
        return cls(folder, result, blocks)

    def evidence(self, site: Site, token_text: Callable[[int], str]) -> Evidence:
        """The excerpts of a site in its splits; token_text gives the exact text of a token id.

        Within a split a block occurs once, in the first stratum that drew it, and so does a text; a window that overlaps by half or more
        with an excerpt of an earlier split is left out. A side that never fires has random excerpts only, all zeros.
        """
        self._check(site)
        splits: dict[Split, tuple[Excerpt, ...]] = {}
        for split in SPLITS:
            texts: set[str] = set()
            excerpts = []
            for excerpt in self._excerpts(split, site, token_text):
                near = any(overlap(excerpt.text, shown.text) >= NEAR_DUPLICATE for earlier in splits.values() for shown in earlier)
                if excerpt.text not in texts and not near:
                    texts.add(excerpt.text)
                    excerpts.append(excerpt)
            splits[split] = tuple(excerpts)
        return Evidence(site, splits, self.moments(site))

    def dominant(self, layer: int, index: int) -> Polarity:
        """The side with the larger peak in the explain split; the positive one if they are equal."""
        self._check(Site(layer, index))
        with _open(self.folder / "explain.safetensors") as file:
            positive, negative = file.get_slice(f"{layer}.value")[:, index, 0].tolist()
        return "-" if negative > positive else "+"

    def moments(self, site: Site) -> Moments:
        """Moments of a neuron, and how often the site's side fires."""
        self._check(site)
        with _open(self.folder / "moments.safetensors") as file:
            mean, variance = (file.get_slice(f"{site.layer}.{name}")[site.index].item() for name in ("mean", "variance"))
            fired = file.get_slice(f"{site.layer}.fired")[_side(site), site.index].item()
        return Moments(tokens=self.result["moments_tokens"], mean=mean, variance=variance, firing=fired / self.result["firing_tokens"])

    def _check(self, site: Site) -> None:
        if not 0 <= site.layer < len(self.neurons):
            raise SubjectError(f"{str(site)!r}: the pass has layers 0-{len(self.neurons) - 1}")
        if not 0 <= site.index < self.neurons[site.layer]:
            raise SubjectError(f"{str(site)!r}: layer {site.layer} has neurons 0-{self.neurons[site.layer] - 1}")

    def _excerpts(self, split: Split, site: Site, token_text: Callable[[int], str]) -> Iterator[Excerpt]:
        """All of a split, loudest stratum first, each block once."""
        sampled = self.result["splits"][split]
        kept = Kept(**self.result["settings"]["kept"][split])
        seen: set[int] = set()
        with _open(self.folder / f"{split}.safetensors") as file:

            def read(kind: str) -> Any:
                return file.get_slice(f"{site.layer}.{kind}")[_side(site), site.index]

            kinds: list[tuple[Stratum, int]] = [("top", kept.top), ("q95", kept.q95), ("q75", kept.q75)]
            names = [stratum for stratum, count in kinds for _ in range(count)]
            rows = list(zip(names, read("block").tolist(), read("start").tolist(), read("window").float().numpy(), strict=True))
            drawn = file.get_slice(f"{site.layer}.random")[site.index].float().numpy()
        begin = first_random(sampled["blocks"], kept.random)
        for block in range(begin, begin + sampled["random"]):
            length = int(self.blocks.lengths(split, block, block + 1)[0])
            rows.append(("random", block, random_start(length, self.blocks.excerpt_tokens), drawn[block - begin]))
        for stratum, block, start, window in rows:
            if block >= 0 and block not in seen:
                seen.add(block)
                yield self._excerpt(split, block, start, np.maximum(site.sign * window, 0), stratum, token_text)

    def _excerpt(
        self, split: Split, block: int, start: int, activations: FloatArray, stratum: Stratum, token_text: Callable[[int], str]
    ) -> Excerpt:
        ids = self.blocks.ids(split, block, block + 1)[0, start : start + len(activations)]
        return Excerpt(
            document=self.blocks.document(split, block),
            start=self.blocks.start(split, block) + start,
            tokens=tuple(token_text(int(token)) for token in ids),
            activations=activations,
            stratum=stratum,
        )


def _side(site: Site) -> int:
    return 0 if site.polarity == "+" else 1


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"{str(path)!r} is missing or damaged; remove its folder and sample again") from error
