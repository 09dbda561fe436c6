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
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{'ok ' if check.ok else 'FIX'}  {check.name:<{width}}  {check.found}{'' if check.ok else ': ' + check.remedy}")
        wrong = sum(not check.ok for check in checks)
        print(f"{wrong} to fix, see the lines that begin with FIX" if wrong else "Everything is in order; try: explicate demo")
    if not all(check.ok for check in checks):
        raise typer.Exit(2)
