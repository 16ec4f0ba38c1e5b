"""`doctor`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import click

from reconciler.cli.options import Options, common_options
from reconciler.cli.output import print_json
from reconciler.engine.doctor import examine, examine_quickly
from reconciler.engine.findings import Finding
from reconciler.errors import ReconcilerError, SpecError, Stalled, Transient
from reconciler.spec.loaded import LoadedSpec

MARKS = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "error": ("✗", "red"),
    "unknown": ("?", "blue"),
}


@click.command()
@common_options
@click.option(
    "--quick",
    is_flag=True,
    help="Only engine and state, in a moment: for a container's HEALTHCHECK.",
)
def doctor(options: Options, quick: bool) -> int:
    """Check engine, builder, git, state directory, the spec's registries, hosts and Swarms.

    Says what works, what doesn't, what can't be seen from here, and what to do. Exits with 69 when
    something doesn't work.
    """
    findings: list[Finding] = []
    for finding in _examine_quickly(options) if quick else _examine(options):
        findings.append(finding)
        if not options.json:
            _print(finding)
    if options.json:
        print_json({"findings": [dataclasses.asdict(finding) for finding in findings]})
    return 69 if any(finding.level == "error" for finding in findings) else 0


def _examine(options: Options) -> Iterator[Finding]:
    loaded = None
    if options.repo or options.file.exists():
        name = options.path if options.repo else str(options.file)
        try:
            loaded = options.load_aside()
            yield Finding("ok", "spec", f"{name} is valid")
        except SpecError as error:
            text = f"{name}: {error.what}"
            yield Finding("error", "spec", text, "Run `reconcile validate`.")
        except (Transient, Stalled) as error:
            yield Finding("error", "spec", error.what, error.todo)
    yield from examine(options.state_dir, loaded, time.time())


def _examine_quickly(options: Options) -> Iterator[Finding]:
    return examine_quickly(options.state_dir, _known(options))


def _known(options: Options) -> LoadedSpec | None:
    """The spec in force, when it is at hand: no git host is asked."""
    try:
        if options.repo:
            from reconciler.cli.configuration import open_configuration

            return open_configuration(options).in_force()
        return options.load()
    except ReconcilerError:
        from reconciler.spec.cache import find_last

        return None if options.repo else find_last(options.file, options.cache_dir)


def _print(finding: Finding) -> None:
    mark, colour = MARKS[finding.level]
    click.echo(f"{click.style(mark, fg=colour)} {finding.subject}: {finding.text}")
    if finding.todo:
        click.echo(f"    → {finding.todo}")
