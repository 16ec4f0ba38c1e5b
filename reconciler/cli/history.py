"""`history`, `logs`."""

from __future__ import annotations

from typing import Any

import click

from reconciler.cli.options import (
    Options,
    common_options,
    common_options_without_f,
    find_known_app,
    readable,
)
from reconciler.cli.output import print_json, print_table
from reconciler.engine.documents import Document, history_document
from reconciler.engine.follow import follow_log, read_log
from reconciler.errors import UsageError
from reconciler.state.records import Deployment
from reconciler.state.store import Store
from reconciler.values import frozen


@click.command()
@click.argument("app", required=False)
@common_options
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How many at most.",
)
def history(options: Options, app: str | None, limit: int) -> int:
    """Show past deployments, newest first: cause, outcome, reason, stages.

    Of one APP, or of all apps of the state directory.
    """
    store = Store(options.state_dir)
    name = find_known_app(options, store, app) if app else ""
    document = history_document(store, store.list_deployments(name, limit))
    store.close()
    if options.json:
        print_json(document)
    else:
        _print(document["deployments"])
    return 0


def _print(deployments: list[Document]) -> None:
    if not deployments:
        click.echo("No deployments yet.")
        return
    rows = []
    for row in deployments:
        took = sum(stage["seconds"] or 0 for stage in row["stages"])
        why = row["cause"] or row["title"]
        rows.append(
            (
                row["queued_at"][:19].replace("T", " "),
                row["app"],
                row["id"],
                row["kind"],
                row["outcome"] or row["status"],
                f"{took:.1f}s",
                why,
            )
        )
        if row["reason"]:
            rows.append(("", "", "", "", "", "", f"└ {row['reason']}"))
    print_table(("QUEUED", "APP", "DEPLOYMENT", "KIND", "OUTCOME", "TOOK", "CAUSE"), rows)


@click.command()
@click.argument("app")
@common_options_without_f
@click.option(
    "-d", "--deployment", callback=readable, help="Id of the deployment; default: the newest."
)
@click.option("-f", "--follow", is_flag=True, help="Go on until the deployment ends.")
@click.option("-c", "--container", is_flag=True, help="The output of the app's container instead.")
@click.option("--host", help="With --container: on which of the app's hosts.")
@click.option("-n", "--lines", type=click.IntRange(1), help="Only the last lines.")
def logs(options: Options, app: str, deployment: str | None, lines: int | None, **how: Any) -> int:
    """Show the log of APP's newest deployment: clone, build, push, deploy, health.

    With --container, what the app itself writes; on a Swarm, with the task and its node in front
    of each line.
    """
    follow = how["follow"]
    if how["host"] and not how["container"]:
        raise UsageError("--host is for --container", todo="Give both.")
    store = Store(options.state_dir)
    name = find_known_app(options, store, app)
    if how["container"]:
        store.close()
        return _container_logs(options, Shown(name, how["host"] or "", lines or 100, follow))
    row = _choose(store, name, deployment)
    if options.json:
        text = read_log(store.log_path(name, row.id))
        print_json({"deployment": row.id, "lines": text.splitlines()[-(lines or 0) :]})
    else:
        _show(store, row, lines, follow=follow)
    store.close()
    return 0


@frozen
class Shown:
    """Which container's output, and how much of it."""

    app: str
    host: str
    lines: int
    follow: bool


def _choose(store: Store, app: str, deployment: str | None) -> Deployment:
    if deployment is not None:
        row = store.find_deployment(deployment)
        if row is None or row.app != app:
            raise UsageError(
                f"{app} has no deployment {deployment!r}", todo="`reconcile history` lists them."
            )
        return row
    newest = store.list_deployments(app, 1)
    if not newest:
        raise UsageError(f"{app} has never been deployed", todo="Run `reconcile apply`.")
    return newest[0]


def _show(store: Store, row: Deployment, lines: int | None, *, follow: bool) -> None:
    text = read_log(store.log_path(row.app, row.id))
    click.echo("\n".join(text.splitlines()[-(lines or 0) :]))
    if follow:
        for added in follow_log(store, row, len(text.encode("utf-8", "surrogateescape"))):
            click.echo(added, nl=False)


def _container_logs(options: Options, output: Shown) -> int:
    from reconciler.engine.output import Output
    from reconciler.engine.whereabouts import Look
    from reconciler.host.engine import Engine
    from reconciler.runtime import make_fleet

    fleet, store = make_fleet(Engine(), options.state_dir), Store(options.state_dir)
    try:
        Look(store, fleet, options.load_known()).learn_of(output.app)
        found = Output(store, fleet, output.app, output.host)
        container = found.container()
        others = [host for host in found.places().hosts if host != container.host]
        if others and container.runtime == "docker" and not options.quiet:
            note = f"{container.name} on {container.host}; --host shows {' or '.join(others)}"
            click.echo(note, err=True)
        for chunk in found.read(container, output.lines, follow=output.follow):
            click.echo(chunk, nl=False)
    finally:
        store.close()
        fleet.hosts.close()
    return 0
