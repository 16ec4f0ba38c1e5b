"""`status`."""

from __future__ import annotations

import click

from reconciler.cli.options import Options, common_options
from reconciler.cli.output import print_json, print_table
from reconciler.engine.documents import Document, status_document


@click.command()
@common_options
def status(options: Options) -> int:
    """Show every app: status, revisions, containers, health, and the last cause.

    Reads the state and asks the engine for a list of containers; asks no git host and no
    registry. `revision` is what the spec asks for, `running` what the container was made from.
    """
    from reconciler.errors import EngineUnavailable
    from reconciler.host.engine import Engine
    from reconciler.runtime import RUNTIMES
    from reconciler.state.store import Store

    loaded = options.load()
    project = loaded.spec.project
    wanted = {f"{project}/{name}": app.revision or "" for name, app in loaded.spec.apps.items()}
    store = Store(options.state_dir)
    away: EngineUnavailable | None = None
    try:
        observed = RUNTIMES["docker"](Engine(), options.state_dir).observe(project)
    except EngineUnavailable as error:
        observed, away = None, error
    document = status_document(store, project, wanted, observed)
    for entry in document["apps"]:
        short_name = entry["name"]
        if short_name in loaded.spec.apps and loaded.spec.apps[short_name].suspend:
            entry["hold"] = "suspended in the spec"
    store.close()
    if options.json:
        print_json(document)
    else:
        _print(document)
    if away is not None:
        click.echo(f"Error: {away}", err=True)
        return 69
    return 0


def _print(document: Document) -> None:
    from reconciler.plan.planner import short

    rows = []
    for entry in document["apps"]:
        note = entry["reason"] if entry["status"] == "error" else entry["cause"]
        if entry["hold"]:
            note = f"held: {entry['hold']}"
        if not entry["in_spec"]:
            note = "gone from the spec"
        status = entry["status"]
        stage = f" ({entry['stage']})" if status == "running" and entry["stage"] else ""
        rows.append(
            (
                entry["name"],
                status + stage,
                entry["health"],
                entry["revision"] or "-",
                short(entry["running_revision"]) or "-",
                note,
            )
        )
    if rows:
        print_table(("APP", "STATUS", "HEALTH", "REVISION", "RUNNING", "CAUSE"), rows)
    else:
        click.echo("No apps.")
