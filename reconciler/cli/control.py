"""`deploy`, `redeploy`, `rollback`, `cancel`, `kill`, `clean-queues`, `suspend`, `resume`."""

from __future__ import annotations

import contextlib
import subprocess

import click

from reconciler.cli.detach import start_worker
from reconciler.cli.options import (
    Options,
    common_options,
    find_app,
    find_known_app,
    read_length,
    readable,
)
from reconciler.cli.output import colour, print_json
from reconciler.engine import control
from reconciler.engine.control import Rebuild, Stop, Words
from reconciler.engine.documents import deployment_document, iso
from reconciler.engine.follow import follow_log
from reconciler.engine.wiring import open_tools
from reconciler.errors import ReconcilerError, SpecError, UsageError
from reconciler.pipeline.tools import Tools, learn_urls
from reconciler.queue import cancel_waiting, is_orphan
from reconciler.state.records import Deployment

title_option = click.option("--title", default="", callback=readable, help="A title for history.")
description_option = click.option(
    "--description", default="", callback=readable, help="A longer text for history."
)
no_wait_option = click.option("--no-wait", is_flag=True, help="Print the id and return.")


@click.command()
@click.argument("app")
@common_options
@click.option(
    "--revision", callback=readable, help="Deploy this branch, tag or commit, and stay there."
)
@title_option
@description_option
@no_wait_option
def deploy(
    options: Options, app: str, revision: str | None, title: str, description: str, no_wait: bool
) -> int:
    """Deploy the newest source of APP: clone, build, push, deploy, health. Always runs.

    Waits, shows the log, and exits with the result. Ctrl-C stops only the waiting.
    """
    loaded = options.load()
    with open_tools(options.state_dir) as tools:
        name = find_app(loaded, app)
        row = control.deploy(tools, loaded, name, Words(title, description), revision)
        return _follow(options, tools, row, no_wait=no_wait)


@click.command()
@click.argument("app")
@common_options
@click.option("--no-cache", is_flag=True, help="Build every step anew.")
@click.option("--pull", is_flag=True, help="Fetch newer base images.")
@title_option
@description_option
@no_wait_option
def redeploy(
    options: Options,
    app: str,
    no_cache: bool,
    pull: bool,
    title: str,
    description: str,
    no_wait: bool,
) -> int:
    """Rebuild and deploy the version of APP that is deployed now, with the current spec."""
    loaded = options.load()
    with open_tools(options.state_dir) as tools:
        name = find_app(loaded, app)
        words = Words(title, description)
        row = control.redeploy(tools, loaded, name, words, Rebuild(no_cache, pull))
        return _follow(options, tools, row, no_wait=no_wait)


@click.command()
@click.argument("app")
@common_options
@click.option(
    "--to", callback=readable, help="Id of the deployment to go back to; default: the one before."
)
@title_option
@description_option
@no_wait_option
def rollback(
    options: Options, app: str, to: str | None, title: str, description: str, no_wait: bool
) -> int:
    """Go back to an earlier successful deployment of APP: its image and its configuration.

    The loop leaves the app there until its revision or spec changes, or until `resume`.
    """
    loaded = options.load()
    with open_tools(options.state_dir) as tools:
        name = find_app(loaded, app)
        row = control.rollback(tools, loaded, name, Words(title, description), to)
        return _follow(options, tools, row, no_wait=no_wait)


def _follow(options: Options, tools: Tools, row: Deployment, *, no_wait: bool) -> int:
    """Let a worker of its own run it, and show its log until it ends."""
    worker = start_worker(options, [row.id])
    if no_wait:
        if options.json:
            print_json(deployment_document(tools.store, row))
        else:
            click.echo(row.id)
        return 0
    quiet = options.quiet or options.json
    try:
        for added in follow_log(tools.store, row):
            if not quiet:
                click.echo(added, nl=False, err=True)
            if _needs_worker(tools, row, worker):
                worker = start_worker(options, [row.id])
    except KeyboardInterrupt:
        name = row.app.partition("/")[2]
        click.echo(
            f"\nThe deployment {row.id} goes on. Watch it: reconcile logs {name} -f\n"
            f"End it: reconcile cancel {name}",
            err=True,
        )
        raise
    ended = tools.store.find_deployment(row.id) or row
    _print_end(options, tools, ended)
    return 0 if ended.outcome == "succeeded" else 1


def _needs_worker(tools: Tools, row: Deployment, worker: subprocess.Popen[bytes] | None) -> bool:
    """Whether nobody runs it any more, or ever will: its owner or, while it waits, its worker died.

    Raises `ReconcilerError` for a worker that can't even begin.
    """
    current = tools.store.find_deployment(row.id)
    if current is None or current.ended:
        return False
    code = worker.poll() if worker else None
    if code is not None and code > 0 and current.status == "queued":
        raise ReconcilerError(
            f"the worker of deployment {row.id} ended with exit code {code}",
            app=row.app,
            todo="Run `reconcile apply`, which does its work and says what is wrong.",
        )
    return code is not None or is_orphan(current, tools.clock())


def _print_end(options: Options, tools: Tools, row: Deployment) -> None:
    if options.json:
        print_json(deployment_document(tools.store, row))
        return
    click.echo(f"{row.app}: {row.kind} {colour(row.outcome or row.status)} ({row.id})")
    if row.reason:
        click.echo(f"  reason: {row.reason}")
    if row.todo:
        click.echo(f"  → {row.todo}")


@click.command()
@click.argument("app")
@common_options
def cancel(options: Options, app: str) -> int:
    """End the deployment of APP that is in progress; the old container serves on.

    Works from any terminal and in any stage. Deployments that wait in the queue stay; see
    clean-queues. The loop doesn't try the cancelled version again until it changes.
    """
    with open_tools(options.state_dir) as tools:
        name = find_known_app(options, tools.store, app)
        return _print_stop(options, tools, name, control.cancel(tools, name))


@click.command()
@click.argument("app")
@common_options
def kill(options: Options, app: str) -> int:
    """End the deployment of APP by force, for a build that hangs or ignores signals.

    Touches nothing of other apps. Says what it killed.
    """
    with open_tools(options.state_dir) as tools:
        name = find_known_app(options, tools.store, app)
        return _print_stop(options, tools, name, control.kill(tools, name))


def _print_stop(options: Options, tools: Tools, app: str, stop: Stop) -> int:
    row = stop.row
    if options.json:
        document = deployment_document(tools.store, row) if row else None
        print_json({"app": app, "deployment": document, "killed": stop.killed})
    elif row is None:
        waiting = any(one.status == "queued" for one in tools.store.unfinished(app))
        hint = f"; one waits, see `reconcile clean-queues {app}`" if waiting else ""
        click.echo(f"{app}: nothing is in progress{hint}.")
    else:
        what = f", {stop.killed} ended" if stop.killed else ""
        click.echo(f"{app}: deployment {row.id} is {row.outcome} in stage {row.stage}{what}.")
    return 0


@click.command("clean-queues")
@click.argument("app", required=False)
@common_options
@click.option("--all", "everything", is_flag=True, help="Of all apps.")
def clean_queues(options: Options, app: str | None, everything: bool) -> int:
    """Take the waiting deployments of APP out of the queue. The one in progress goes on."""
    if (app is None) == (not everything):
        raise UsageError("name one app, or say --all")
    with open_tools(options.state_dir) as tools:
        name = find_known_app(options, tools.store, app) if app else ""
        ids = cancel_waiting(tools.store, tools.clock(), app=name)
    if options.json:
        print_json({"removed": ids})
    else:
        click.echo(f"Took {len(ids)} waiting {_plural(ids)} out of the queue.")
    return 0


def _plural(ids: list[str]) -> str:
    return "deployment" if len(ids) == 1 else "deployments"


@click.command()
@click.argument("app")
@common_options
@click.option("--reason", default="", callback=readable, help="Shown by status and plan.")
@click.option("--for", "duration", help="Resume by itself after this time, such as 2h.")
def suspend(options: Options, app: str, reason: str, duration: str | None) -> int:
    """Let the loop leave APP alone. By hand it still deploys."""
    length = read_length("--for", duration) if duration else None
    loaded = options.load_known()
    with open_tools(options.state_dir) as tools:
        name = find_app(loaded, app)
        hold = control.suspend(tools, name, reason, length)
    if options.json:
        print_json({"app": name, "hold": hold.reason, "hold_until": iso(hold.until)})
        return 0
    until = f" for {duration}" if duration else " until `reconcile resume`"
    click.echo(f"{name}: suspended{until}.")
    return 0


@click.command()
@click.argument("app")
@common_options
def resume(options: Options, app: str) -> int:
    """Lift a suspension or a rollback's pin: the loop cares for APP again."""
    loaded = options.load_known()
    with open_tools(options.state_dir) as tools:
        name = find_app(loaded, app)
        held = control.resume(tools, name)
    if options.json:
        print_json({"app": name, "was_held": held})
        return 0
    click.echo(f"{name}: resumed; it was held: {held}" if held else f"{name}: was not held.")
    if loaded.spec.apps[name.partition("/")[2]].suspend:
        click.echo(f"{name}: still suspended in the spec: remove `suspend: true` there.")
    return 0


@click.command(hidden=True)
@click.argument("deployments", nargs=-1, required=True)
@common_options
def work(options: Options, deployments: tuple[str, ...]) -> int:
    """Run these deployments to their end. Started by --no-wait and by waiting commands."""
    from reconciler.engine.worker import Workers

    concurrency = 1
    with open_tools(options.state_dir) as tools:
        with contextlib.suppress(SpecError):  # it may have become invalid meanwhile
            spec = options.load_known().spec
            concurrency = spec.concurrency
            learn_urls(spec.apps.values(), tools.urls)  # with the credentials inside of them
        Workers(tools, concurrency, deployments).run_to_end()
    return 0
