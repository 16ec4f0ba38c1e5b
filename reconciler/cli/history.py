"""`history`, `logs`."""

from __future__ import annotations

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
@click.option("-n", "--lines", type=click.IntRange(1), help="Only the last lines.")
def logs(
    options: Options,
    app: str,
    deployment: str | None,
    follow: bool,
    container: bool,
    lines: int | None,
) -> int:
    """Show the log of APP's newest deployment: clone, build, push, deploy, health.

    With --container, what the app itself writes.
    """
    store = Store(options.state_dir)
    name = find_known_app(options, store, app)
    if container:
        store.close()
        return _container_logs(options, name, lines or 100, follow=follow)
    row = _choose(store, name, deployment)
    if options.json:
        text = read_log(store.log_path(name, row.id))
        print_json({"deployment": row.id, "lines": text.splitlines()[-(lines or 0) :]})
    else:
        _show(store, row, lines, follow=follow)
    store.close()
    return 0


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


def _container_logs(options: Options, app: str, lines: int, *, follow: bool) -> int:
    from reconciler.engine.whereabouts import Look
    from reconciler.host.engine import Engine
    from reconciler.runtime import make_fleet

    fleet, store = make_fleet(Engine(), options.state_dir), Store(options.state_dir)
    observed = Look(store, fleet, options.load_known()).by_rows()
    store.close()
    containers = observed.apps.get(app, ())
    if not containers:
        raise UsageError(f"{app} has no container", todo="`reconcile explain` says why.")
    running = next((c for c in containers if c.state == "running"), containers[0])
    engine = fleet.hosts.engine(running.host)
    with engine.errors(app):
        stream = engine.client.api.logs(running.id, stream=True, follow=follow, tail=lines)
        for chunk in stream:
            click.echo(chunk, nl=False)
    fleet.hosts.close()
    return 0
