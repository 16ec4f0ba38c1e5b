"""`status`."""

from __future__ import annotations

import click

from reconciler.cli.options import Options, common_options
from reconciler.cli.output import colour, print_json, print_table
from reconciler.engine.documents import Document, configuration_document, status_document
from reconciler.errors import SpecError
from reconciler.spec.loaded import LoadedSpec


@click.command()
@common_options
def status(options: Options) -> int:
    """Show every app: status, revisions, containers, health, and the last cause.

    Reads the state and asks the engine for a list of containers; asks no git host and no
    registry. `revision` is what the spec asks for, `running` what the container was made from.
    While the spec is broken, the last valid one counts, and its mistakes go to stderr.
    """
    from reconciler.errors import EngineUnavailable
    from reconciler.host.engine import Engine
    from reconciler.runtime import RUNTIMES
    from reconciler.state.store import Store

    loaded, problem = _load(options)
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
    document["configuration"] = configuration_document(store, options.place, loaded, problem)
    store.close()
    if options.json:
        print_json(document)
    else:
        _print_configuration(document["configuration"])
        _print(document)
    for trouble in filter(None, (away, problem)):
        click.echo(f"Error: {trouble}", err=True)
    return 69 if away else 78 if problem else 0


def _load(options: Options) -> tuple[LoadedSpec, SpecError | None]:
    """The spec in force, and what is wrong with the file just now. Raises `SpecError` before there
    is any valid one.
    """
    try:
        return options.load_known(), None
    except SpecError as error:
        from reconciler.spec.cache import find_last

        last = None if options.repo else find_last(options.file, options.cache_dir)
        if last is None:
            raise
        return last, error


def _print_configuration(entry: Document) -> None:
    """What is in force of a repository, and why nothing newer is."""
    if not entry["revision"]:
        return
    from reconciler.plan.changing import short

    click.echo(f"{entry['place']} at {short(entry['revision'])}")
    if entry["problem"]:
        since = f" since {entry['problem_since'][:19].replace('T', ' ')} UTC"
        click.echo(colour(f"! not up to date{since}: {entry['problem']}", "failed"))


def _print(document: Document) -> None:
    from reconciler.plan.changing import short

    rows = []
    for entry in document["apps"]:
        note = entry["reason"] if entry["status"] == "error" else entry["cause"]
        if entry["held_back"]:
            note = entry["held_back"]
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
