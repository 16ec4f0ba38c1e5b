"""`clear`, `gc`."""

from __future__ import annotations

import click

from reconciler.cli.options import Options, common_options, find_known_app
from reconciler.cli.output import print_json
from reconciler.engine.cleanup import Freed, Keep, clear_app, collect_garbage
from reconciler.engine.wiring import open_tools

dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would go.")


@click.command()
@click.argument("app")
@common_options
@click.option(
    "--keep", type=click.IntRange(0), default=0, show_default=True,
    help="How many ended deployments and images stay, beside what always stays.",
)  # fmt: skip
@dry_run_option
def clear(options: Options, app: str, keep: int, dry_run: bool) -> int:
    """Remove APP's old deployments, their logs and their images.

    What runs, waits, serves, or was the last to succeed always stays.
    """
    with open_tools(options.state_dir) as tools:
        name = find_known_app(options, tools.store, app)
        freed = clear_app(tools, name, Keep(keep, keep), dry_run=dry_run)
    return _print(options, freed, dry_run=dry_run)


@click.command()
@common_options
@dry_run_option
def gc(options: Options, dry_run: bool) -> int:
    """Remove what `retention` of each app doesn't keep, and leftovers on the disk.

    Never what runs, waits, or can be rolled back to within `retention.images`.
    """
    loaded = options.load_known()
    with open_tools(options.state_dir) as tools:
        freed = collect_garbage(tools, loaded, dry_run=dry_run)
    return _print(options, freed, dry_run=dry_run)


def _print(options: Options, freed: Freed, *, dry_run: bool) -> int:
    if options.json:
        print_json(
            {
                "dry_run": dry_run,
                "deployments": freed.deployments,
                "images": freed.images,
                "kept": freed.kept,
                "log_bytes": freed.log_bytes,
                "image_bytes": freed.image_bytes,
                "checkout_bytes": freed.checkout_bytes,
                "bytes": freed.size,
            }
        )
        return 0
    if options.verbose:
        for name in (*freed.images, *freed.deployments):
            click.echo(f"  {name}")
    for reason in freed.kept:
        click.echo(f"kept {reason}", err=True)
    verb = "Would free" if dry_run else "Freed"
    if freed.size or freed.deployments or not options.quiet:
        click.echo(
            f"{verb} {_size(freed.size)}: {len(freed.deployments)} deployments "
            f"({_size(freed.log_bytes)} of logs), {len(freed.images)} images "
            f"({_size(freed.image_bytes)}), checkouts ({_size(freed.checkout_bytes)})."
        )
    return 0


def _size(count: int) -> str:
    """For people: bytes, KiB, MiB or GiB."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
