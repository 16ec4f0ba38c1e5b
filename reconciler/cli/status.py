"""`status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Options, common_options
from reconciler.cli.output import colour, print_json, print_table
from reconciler.engine.documents import (
    Document,
    configuration_document,
    hosts_document,
    status_document,
    wanted_of,
)
from reconciler.errors import EngineUnavailable, ReconcilerError, SpecError
from reconciler.spec.hosts import LOCAL
from reconciler.spec.loaded import LoadedSpec
from reconciler.values import frozen

if TYPE_CHECKING:
    from reconciler.runtime.fleet import Fleet
    from reconciler.state.store import Store


@click.command()
@common_options
@click.option("--watch", is_flag=True, help="Show it live, until Ctrl-C; or each change as a line.")
@click.option(
    "-n",
    "--every",
    type=click.FloatRange(min=1),
    default=1,
    show_default=True,
    metavar="SECONDS",
    help="With --watch: how often to look.",
)
def status(options: Options, watch: bool, every: float) -> int:
    """Show every app: status, revisions, containers, health, and the last cause.

    Reads the state and asks the engine for a list of containers; asks no git host and no
    registry. `revision` is what the spec asks for, `running` what the container was made from.
    While the spec is broken, the last valid one counts, and its mistakes go to stderr.

    A column HOST is there once an app isn't on the local engine: the hosts, or the nodes of a
    Swarm. Of apps whose host is away the health is unknown, and the others are shown as ever;
    exits with 69 only when no host answers at all.

    --watch shows stages with their times as well. Where stdout is no terminal, it prints a line
    for each app that has changed; with -o json a document in one line for each change.
    """
    from reconciler.host.engine import Engine
    from reconciler.runtime import make_fleet
    from reconciler.state.store import Store

    fleet, store = make_fleet(Engine(), options.state_dir), Store(options.state_dir)
    if watch:
        from reconciler.cli.watch import watch_status

        return watch_status(options, fleet, store, every)
    try:
        seen = look(options, fleet, store)
    finally:
        store.close()
        fleet.hosts.close()
    if options.json:
        print_json(seen.document)
    else:
        _print_configuration(seen.document["configuration"])
        for reason in away_of(seen):
            click.echo(colour(f"! {reason}", "failed"))
        _print(seen.document)
    for trouble in filter(None, (seen.away, seen.problem)):
        click.echo(f"Error: {trouble}", err=True)
    return 69 if seen.away else 78 if seen.problem else 0


@frozen
class Seen:
    """The document of `status`, and what kept it from being whole."""

    document: Document
    away: ReconcilerError | None = None
    problem: SpecError | None = None


def away_of(seen: Seen) -> list[str]:
    """Why hosts are away, where others have answered."""
    hosts = [] if seen.away else seen.document["hosts"]
    return [host["reason"] for host in hosts if host["reason"]]


def look(options: Options, fleet: Fleet, store: Store) -> Seen:
    """How everything is now. Raises `SpecError` before there is any valid spec."""
    from reconciler.engine.whereabouts import Look

    loaded, problem = _load(options)
    project = loaded.spec.project
    away: EngineUnavailable | None = None
    try:
        observed = Look(store, fleet, loaded).by_rows()
    except EngineUnavailable as error:
        observed, away = None, error
    document = status_document(store, project, wanted_of(loaded), observed)
    document["hosts"] = hosts_document(fleet.hosts, fleet.looked_at, observed)
    for entry in document["apps"]:
        short_name = entry["name"]
        if short_name in loaded.spec.apps and loaded.spec.apps[short_name].suspend:
            entry["hold"] = "suspended in the spec"
    document["configuration"] = configuration_document(store, options.place, loaded, problem)
    return Seen(document, away, problem)


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

    apps = document["apps"]
    with_hosts = are_elsewhere(apps)
    rows = [
        (
            entry["name"],
            status_of(entry),
            entry["health"],
            *((host_of(entry),) if with_hosts else ()),
            entry["revision"] or "-",
            short(entry["running_revision"]) or "-",
            note_of(entry),
        )
        for entry in apps
    ]
    if rows:
        host = ("HOST",) if with_hosts else ()
        print_table(("APP", "STATUS", "HEALTH", *host, "REVISION", "RUNNING", "CAUSE"), rows)
    else:
        click.echo("No apps.")


def are_elsewhere(apps: Sequence[Document]) -> bool:
    """Whether any isn't just on the local engine."""
    return any(entry["hosts"] != [LOCAL] or entry["runtime"] != "docker" for entry in apps)


def host_of(entry: Document) -> str:
    """Where it runs, in one cell: hosts, or the nodes of a Swarm."""
    if entry["runtime"] == "docker":
        return ", ".join(entry["hosts"])
    nodes = sorted({node for one in entry["containers"] for node in one["nodes"]})
    return f"{entry['runtime']}: {', '.join(nodes or entry['hosts'][:1])}"


def status_of(entry: Document) -> str:
    """Its status, with the stage while it is running."""
    stage = entry["stage"] if entry["status"] == "running" else ""
    return f"{entry['status']} ({stage})" if stage else str(entry["status"])


def note_of(entry: Document) -> str:
    """Why it is so, in one line."""
    if not entry["in_spec"]:
        return "gone from the spec"
    if entry["hold"]:
        return f"held: {entry['hold']}"
    if entry["status"] == "error" and entry["reason"]:
        return str(entry["reason"])
    away = next(iter(entry["away"].values()), "")
    return str(away or entry["held_back"] or entry["cause"])
