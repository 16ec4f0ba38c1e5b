"""`daemon`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from reconciler.cli.options import Length, Options, common_options
from reconciler.spec.loaded import LoadedSpec


class _File:
    """A file here."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def place(self) -> str:
        return str(self._options.file)

    @property
    def files(self) -> tuple[Path, ...]:
        return (self._options.file,)

    def load(self) -> LoadedSpec:
        return self._options.load()

    def edit(
        self, change: Callable[[Mapping[Path, bytes]], Mapping[Path, bytes]], message: str
    ) -> str:
        raise ValueError((change, message))


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
    log_format: str,
) -> int:
    """Keep the host in step with apps.yaml by itself, until it is told to stop.

    A commit, an edited file, a container that died: each is acted on within seconds, and while
    nothing happens nothing is done.

    SIGHUP asks for a pass now. SIGTERM and Ctrl-C stop it within ten seconds: what swaps
    containers just now ends, all else is handed to the next start. A second daemon on the same
    state stands by, and takes over when the first one ends. All other commands work beside it.
    """
    from reconciler.daemon.service import Settings, run_daemon
    from reconciler.engine.desired import Policy

    settings = Settings(
        state_dir=options.state_dir,
        interval=interval,
        policy=Policy(prune, allow_removals),
        log_format="json" if log_format == "json" else "text",
        verbose=options.verbose,
    )
    return run_daemon(_File(options), settings)
