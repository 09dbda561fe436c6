"""What a sampling pass left on disk, read back one site at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzers.errors import RunFolderError, SubjectError
from analyzers.evidence import Evidence, Excerpt, Moments, Split
from analyzers.kept import Kept
from analyzers.pass_folder import RESULT, check_same, open_tensors, read_json
from analyzers.sites import Polarity, Site
from analyzers.strata import TokenText, drawn, evidence, excerpts

if TYPE_CHECKING:
    from analyzers.blocks import Blocks


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

    def evidence(self, site: Site, token_text: TokenText) -> Evidence:
        """The excerpts of a site in its splits; token_text gives the exact text of a token id.

        Within a split a block occurs once, in the first stratum that drew it, and so does a text; a window that overlaps by half or more
        with an excerpt of an earlier split is left out. A side that never fires has random excerpts only, all zeros.
        """
        self._check(site)
        return evidence(site, lambda split: self._excerpts(split, site, token_text), self.moments(site))

    def dominant(self, layer: int, index: int) -> Polarity:
        """The side with the larger peak in the explain split; the positive one if they are equal."""
        self._check(Site(layer, index))
        with open_tensors(self.folder / "explain.safetensors") as file:
            positive, negative = file.get_slice(f"{layer}.value")[:, index, 0].tolist()
        return "-" if negative > positive else "+"

    def moments(self, site: Site) -> Moments:
        """Moments of a neuron, and how often the site's side fires."""
        self._check(site)
        with open_tensors(self.folder / "moments.safetensors") as file:
            mean, variance = (file.get_slice(f"{site.layer}.{name}")[site.index].item() for name in ("mean", "variance"))
            fired = file.get_slice(f"{site.layer}.fired")[_side(site), site.index].item()
        return Moments(tokens=self.result["moments_tokens"], mean=mean, variance=variance, firing=fired / self.result["firing_tokens"])

    def _check(self, site: Site) -> None:
        if site.kind != "mlp":
            raise SubjectError(f"{str(site)!r}: the pass has neurons only, L<layer>.mlp.<neuron>")
        if not 0 <= site.layer < len(self.neurons):
            raise SubjectError(f"{str(site)!r}: the pass has layers 0-{len(self.neurons) - 1}")
        if not 0 <= site.index < self.neurons[site.layer]:
            raise SubjectError(f"{str(site)!r}: layer {site.layer} has neurons 0-{self.neurons[site.layer] - 1}")

    def _excerpts(self, split: Split, site: Site, token_text: TokenText) -> Iterator[Excerpt]:
        """All of a split, loudest stratum first, each block once."""
        kept = Kept(**self.result["settings"]["kept"][split])
        with open_tensors(self.folder / f"{split}.safetensors") as file:

            def read(kind: str) -> Any:
                return file.get_slice(f"{site.layer}.{kind}")[_side(site), site.index]

            windows = file.get_slice(f"{site.layer}.random")[site.index]
            rows = list(drawn(self.blocks, split, kept, self.result["splits"][split]["random"], read, windows))
        yield from excerpts(self.blocks, split, site, rows, token_text)


def _side(site: Site) -> int:
    return 0 if site.polarity == "+" else 1
