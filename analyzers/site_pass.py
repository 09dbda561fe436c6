"""All activations of a few sites on all blocks of a corpus, for sites of any kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.evidence import SPLITS, Split
from analyzers.kept import SampleSettings, prefixed
from analyzers.pass_folder import FORMAT, alone, beside, content_key, write_json, write_tensors
from analyzers.progress import Report, quiet
from analyzers.sampling import check_enough
from analyzers.settings import settings
from analyzers.site_store import ACTIVATIONS, SITES, SiteStore
from analyzers.sites import Site

if TYPE_CHECKING:
    from analyzers.blocks import Blocks
    from analyzers.subject import Subject


def read_sites(
    subject: "Subject",
    blocks: "Blocks",
    sites: Sequence[Site],
    *,
    splits: Sequence[Split] = SPLITS,
    batch: int = 16,
    report: Report = quiet,
) -> SiteStore:
    """Run the subject once over all blocks and keep every activation of the sites, both sides of each; opened where that was done before.

    splits: those that are read; of a store without all of them there is no evidence, only `raw`, `windows` and `excerpt`. batch:
    blocks a forward pass. Killed at any moment, the same call goes on at the split where it was and ends with the same bytes.
    Raises SubjectError for a site that the model does not have, for none, and for activations that are not finite; CorpusError and
    RunFolderError as `sampling.sample` does.
    """
    for site in sites:
        subject.check(site)
    if not sites:
        raise SubjectError("no site is named; write some, such as L7.mlp.1306,L4.attn.3")
    both = sorted({Site(site.layer, site.index, kind=site.kind) for site in sites}, key=lambda site: (site.kind, site))
    rules = SampleSettings()
    check_enough(blocks, rules)
    configuration = {
        "format": FORMAT,
        "subject": dict(subject.identity),
        "blocks": blocks.fingerprint,
        "batch": batch,
        "sites": [site.name for site in both],
        **({} if tuple(splits) == SPLITS else {"splits": list(splits)}),
        "settings": rules.as_json(),
    }
    folder = settings().passes / "sites" / content_key(configuration)
    with alone(folder, report):
        if not (folder / SITES).exists():
            _run(subject, blocks, both, splits, folder, batch, rules, report)
            write_json(folder / SITES, {**configuration, "blocks_folder": beside(blocks.folder, folder)})
    return SiteStore.open(folder)


def _run(
    subject: "Subject",
    blocks: "Blocks",
    sites: Sequence[Site],
    splits: Sequence[Split],
    folder: Path,
    batch: int,
    rules: SampleSettings,
    report: Report,
) -> None:
    total = sum(int(blocks.lengths(split, 0, blocks.count(split)).sum()) for split in splits)
    done = 0
    for split in splits:
        path = folder / f"{split}.safetensors"
        tokens = int(blocks.lengths(split, 0, blocks.count(split)).sum())
        if not path.exists():
            found = _read(subject, blocks, sites, split, batch, rules, lambda here, done=done: report("sample", done + here, total))
            for site, activations in zip(sites, found, strict=True):
                if not activations.isfinite().all():
                    dtype = subject.identity["dtype"]
                    raise SubjectError(f"{subject.name!r}: activations of {site} are not finite in {dtype!r}; load it with dtype float32")
            write_tensors(path, {ACTIVATIONS: found})
        done += tokens


def _read(
    subject: "Subject", blocks: "Blocks", sites: Sequence[Site], split: Split, batch: int, rules: SampleSettings, tell: Any
) -> Tensor:
    """float32 [site, block, pos], 0 where there is padding."""
    count, first_pos = blocks.count(split), len(subject.prefix)
    out = torch.zeros(len(sites), count, blocks.block_tokens)
    first, stop = 0, 0

    def keep(columns: Sequence[int], found: Tensor) -> None:
        out[list(columns), first:stop] = found[:, first_pos:].float().cpu().movedim(-1, 0)

    with subject.reading(sites, keep):
        for first, stop in rules.cuts(count, batch):
            # Without a mask: padding stands on the right, where a causal model does not look.
            subject.forward(prefixed(blocks, split, first, stop, subject.prefix))
            tell(int(blocks.lengths(split, 0, stop).sum()))
    lengths = torch.from_numpy(blocks.lengths(split, 0, count).astype("int64"))
    return out.masked_fill(torch.arange(blocks.block_tokens) >= lengths[:, None], 0)
