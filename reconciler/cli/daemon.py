"""`daemon`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import (
    Length,
    Options,
    author_option,
    common_options,
    protect_history_option,
)

if TYPE_CHECKING:
    from reconciler.engine.configuration import Lasting
    from reconciler.host.job import Job
    from reconciler.host.secrets import Redactor


@click.command()
@common_options
@click.option(
    "--interval",
    type=Length(),
    default="60s",
    show_default=True,
    help="How often git hosts and registries are asked; give or take a tenth.",
)
@click.option("--prune/--no-prune", default=None, help="Override `prune` of the spec.")
@click.option("--allow-removals", type=int, help="Let this many apps be removed at once, one time.")
@click.option(
    "--listen",
    metavar="ADDRESS",
    default="",
    envvar="RECONCILE_LISTEN",
    show_envvar=True,
    help="Serve the HTTP API there: 127.0.0.1:8080, or unix:/run/reconciler.sock. Beyond this "
    "machine only once there is a token (`reconcile token create`).",
)
@protect_history_option
@author_option
@click.option("--read-only", is_flag=True, help="The API changes nothing in the spec.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What is written to stderr; one line for each thing that happens.",
)
def daemon(
    options: Options,
    interval: float,
    prune: bool | None,
    allow_removals: int | None,
    listen: str,
    read_only: bool,
    log_format: str,
) -> int:
    """Keep the host in step with apps.yaml by itself, until it is told to stop.

    A commit, an edited file, a container that died: each is acted on within seconds, and while
    nothing happens nothing is done.

    SIGHUP asks for a pass now. SIGTERM and Ctrl-C stop it within ten seconds: what swaps
    containers just now ends, all else is handed to the next start. A second daemon on the same
    state stands by, and takes over when the first one ends. All other commands work beside it.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload before there is anything to reload
    from reconciler.cli.configuration import open_configuration
    from reconciler.daemon.service import Settings, run_daemon
    from reconciler.engine.configuration import Unchangeable
    from reconciler.engine.desired import Policy

    def open_it(job: Job, redactor: Redactor) -> Lasting:
        opened = open_configuration(options, job=job, redactor=redactor)
        return Unchangeable(opened, "the daemon runs with --read-only") if read_only else opened

    settings = Settings(
        state_dir=options.state_dir,
        interval=interval,
        policy=Policy(prune, allow_removals),
        listen=listen,
        log_format="json" if log_format == "json" else "text",
        verbose=options.verbose,
    )
    return run_daemon(open_it, settings)
