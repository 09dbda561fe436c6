"""What a pass over single sites left on disk: every activation, and the evidence that a sampling pass would have kept of it."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.errors import RunFolderError, SubjectError
from analyzers.evidence import SPLITS, Evidence, Excerpt, FloatArray, Moments, Split, Stratum
from analyzers.kept import Kept, SampleSettings
from analyzers.pass_folder import check_same, open_tensors, read_json
from analyzers.sites import Polarity, Site
from analyzers.strata import TokenText, drawn, evidence, excerpt, excerpts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from analyzers.blocks import Blocks

SITES = "sites.json"
ACTIVATIONS = "activations"


class SiteStore:
    """A finished pass: all activations of some sites, both sides, on all blocks of a corpus."""

    def __init__(self, folder: Path, result: dict[str, Any], blocks: "Blocks") -> None:
        self.folder = folder
        self.result = result
        """Content of sites.json: configuration."""
        self.blocks = blocks
        self.sites: tuple[Site, ...] = tuple(map(Site.parse, result["sites"]))
        """In the order of the files; the positive side stands for both."""
        self.tokens: int = blocks.tokens
        kept = {split: Kept(**counts) for split, counts in result["settings"]["kept"].items()}
        self._rules = SampleSettings(**{**result["settings"], "kept": kept})
        self._rows = {site.name: row for row, site in enumerate(self.sites)}
        self._moments = lru_cache(maxsize=None)(self._computed_moments)

    def __repr__(self) -> str:
        corpus = self.blocks.info
        return (
            f"SiteStore: {len(self.sites):,} sites, both sides, on {self.tokens:,} tokens ({corpus['documents']:,} documents) of "
            f"{corpus['source']}; in {str(self.folder)!r}"
        )

    @classmethod
    def open(cls, folder: Path) -> "SiteStore":
        """Open the folder of a finished pass; RunFolderError where there is none, or one of another version."""
        from analyzers.blocks import Blocks

        if not (folder / SITES).exists():
            raise RunFolderError(f"{str(folder)!r} holds no finished pass over single sites; read them first")
        result = read_json(folder / SITES)
        blocks = Blocks.open(folder / result["blocks_folder"])
        check_same(folder, result, {"blocks": blocks.fingerprint})
        return cls(folder, result, blocks)

    def evidence(self, site: Site, token_text: TokenText) -> Evidence:
        """The excerpts of a site in its splits, drawn as `ActivationStore.evidence` draws them of a neuron."""
        self._row(site)
        return evidence(site, lambda split: self._excerpts(split, site, token_text), self.moments(site))

    def dominant(self, site: Site) -> Polarity:
        """The side with the larger peak in the explain split; the positive one if they are equal."""
        positive, negative = self._finished("explain", site)["0.value"][:, 0, 0].tolist()
        return "-" if negative > positive else "+"

    def moments(self, site: Site) -> Moments:
        """Moments of a site, and how often its side fires, on the tokens a sampling pass takes them from."""
        self._row(site)
        tokens, mean, variance, firing = self._moments(site.name)
        return Moments(tokens=tokens, mean=mean, variance=variance, firing=firing[0 if site.polarity == "+" else 1])

    def raw(self, site: Site, split: Split) -> FloatArray:
        """[block, pos] float32 raw signed activations on all blocks of a split, 0 behind the end of a block (`blocks.lengths`)."""
        row = self._row(site)
        with open_tensors(self.folder / f"{split}.safetensors") as file:
            found: FloatArray = file.get_slice(ACTIVATIONS)[row].numpy()
        return found

    def windows(self, site: Site, split: Split) -> FloatArray:
        """[block, pos] float32 activations of the site's side, >= 0, on all blocks of a split, 0 behind the end of a block."""
        return np.maximum(site.sign * self.raw(site, split), 0)

    def excerpt(self, site: Site, split: Split, block: int, start: int, token_text: TokenText, stratum: Stratum) -> Excerpt:
        """The excerpt of a block from a token on, `blocks.excerpt_tokens` long; SubjectError where the block does not hold it."""
        row, length = self._row(site), self.blocks.excerpt_tokens
        last = int(self.blocks.lengths(split, block, block + 1)[0]) - length if 0 <= block < self.blocks.count(split) else -1
        if not 0 <= start <= last:
            raise SubjectError(f"block {block} of split {split!r} has no excerpt of {length} tokens from token {start} on")
        with open_tensors(self.folder / f"{split}.safetensors") as file:
            window = file.get_slice(ACTIVATIONS)[row, block, start : start + length].numpy()
        return excerpt(self.blocks, split, block, start, np.maximum(site.sign * window, 0), stratum, token_text)

    def _row(self, site: Site) -> int:
        site.check_side()
        if site.name not in self._rows:
            raise SubjectError(f"{str(site)!r}: the pass has the sites {', '.join(list(self._rows)[:20])}")
        return self._rows[site.name]

    def _excerpts(self, split: Split, site: Site, token_text: TokenText) -> "Iterator[Excerpt]":
        """All of a split, loudest stratum first, each block once."""
        finished, kept = self._finished(split, site), self._rules.kept[split]
        side = 0 if site.polarity == "+" else 1
        random = min(kept.random, self.blocks.count(split))
        rows = drawn(self.blocks, split, kept, random, lambda kind: finished[f"0.{kind}"][side, 0], finished["0.random"][0])
        return excerpts(self.blocks, split, site, rows, token_text)

    def _finished(self, split: Split, site: Site) -> "dict[str, Tensor]":
        """What a sampling pass keeps of a split (`KeptSplit.finish`), of a model whose only neuron is the site."""
        import torch

        from analyzers.kept import Batch, KeptSplit

        raw, count, cpu = torch.from_numpy(self.raw(site, split)), self.blocks.count(split), torch.device("cpu")
        kept = KeptSplit((1,), self._rules.kept[split], count, self.blocks.excerpt_tokens, torch.float32, cpu)
        for first, stop in self._rules.cuts(count, count):
            batch = Batch.of(self.blocks, split, first, stop, prefix=0, margin=self._rules.margin, device=cpu)
            kept.absorb(0, raw[first:stop, :, None], batch)
            if stop == min(self._rules.q95_blocks, count):
                kept.snapshot_q95()
            if stop == min(self._rules.q75_blocks, count):
                kept.snapshot_q75()
        return kept.finish()

    def _computed_moments(self, name: str) -> tuple[int, float, float, tuple[float, float]]:
        """Tokens, mean, variance, and the share of tokens on which either side fires."""
        import torch

        from analyzers.moments import RunningMoments

        running = RunningMoments((1,), torch.device("cpu"))
        for split in SPLITS:
            raw = torch.from_numpy(self.raw(Site.parse(name), split))
            lengths = self.blocks.lengths(split, 0, len(raw)).tolist()
            for block in range(0, len(raw), self._rules.moments_every):
                running.count(lengths[block])
                running.add(0, raw[block, : lengths[block], None])
            if split == SPLITS[0]:
                running.freeze()
        positive, negative = (running.fired[0][:, 0] / running.firing_tokens).tolist()
        return running.tokens, running.mean(0).item(), running.variance(0).item(), (positive, negative)
