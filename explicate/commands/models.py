"""`explicate models`: the models and texts known by name, and bringing them into the cache."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from explicate.commands.options import Json

if TYPE_CHECKING:
    from analyzers.asset_table import Asset


def models(
    fetch: Annotated[list[str] | None, typer.Argument(help="Names to bring into the cache; none: only list.")] = None,
    json: Json = False,
) -> None:
    """List the models and texts known by name: licence, size, source, and what is cached. With names: fetch these.

    Example: explicate models smollm2-135m
    """
    from analyzers.assets import assets
    from analyzers.assets import fetch as bring
    from explicate.progress import bars
    from explicate.running import show_json

    if fetch:
        with bars() as report:
            for name in fetch:
                bring(name, report)
    known = assets()
    if json:
        show_json({"models": [_row(asset) for asset in known]})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("name", "what", "licence", "download", "source", "cached"):
        table.add_column(column, overflow="fold")
    for asset in known:
        cached = asset.cached
        where = f"Hub {asset.hub}, else " if asset.hub else ""
        have = "no" if cached is None else f"{_size(cached.bytes)} from the {cached.source}"
        table.add_row(asset.name, asset.what, asset.licence, _size(asset.download_bytes), where + asset.wheel_source, have)
    console = Console()
    console.print(table)
    console.print("Any folder with a model in it, and any model on the Hugging Face Hub, works wherever a name does.", style="dim")


def _row(asset: "Asset") -> dict[str, Any]:
    cached = asset.cached
    return {
        "name": asset.name,
        "kind": asset.kind,
        "what": asset.what,
        "licence": asset.licence,
        "hub": asset.hub,
        "wheels": [{"project": wheel.project, "version": wheel.version, "sha256": wheel.sha256} for wheel in asset.wheels],
        "download_bytes": asset.download_bytes,
        "cached": None
        if cached is None
        else {"path": str(cached.path), "source": cached.source, "revision": cached.revision, "bytes": cached.bytes},
    }


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:,.2f} GB"
