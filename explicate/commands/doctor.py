"""`explicate doctor`: what this machine and installation look like, and what is wrong with them."""

import typer

from explicate.commands.options import Json


def doctor(json: Json = False) -> None:
    """Check the installation: versions, device, folders, free disk and memory, the Hub, keys (only whether they are set).

    Example: explicate doctor
    """
    from explicate.checks import run_checks
    from explicate.running import show_json

    checks = run_checks()
    if json:
        show_json({"ok": all(check.ok for check in checks), "checks": [check.__dict__ for check in checks]})
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'MIND'} {check.name}: {check.found}{'' if check.ok else '; ' + check.remedy}")
    if not all(check.ok for check in checks):
        raise typer.Exit(2)
