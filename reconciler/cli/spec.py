"""`init`, `validate`, `schema`."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.options import Options, common_options
from reconciler.cli.output import print_json
from reconciler.errors import SpecError, UsageError


@click.command()
@click.option(
    "-f", "--file", default="apps.yaml", envvar="RECONCILE_FILE", show_default=True,
    help="The file to write.",
)  # fmt: skip
def init(file: str) -> int:
    """Write a commented apps.yaml to start from. Never overwrites a file."""
    from reconciler.spec.starter import STARTER

    path = Path(file)
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(STARTER)
    except FileExistsError:
        raise UsageError(
            f"{path} exists already, and init never overwrites",
            todo="Edit it, or choose another name with --file.",
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {error.strerror}",
            todo="Choose another place with --file.",
        ) from error
    click.echo(f"Wrote {path}. Edit it, then: reconcile plan")
    return 0


@click.command()
@common_options
def validate(options: Options) -> int:
    """Check the spec, and show every mistake with file, line, column and field.

    Contacts nothing: neither the engine nor a git host nor a registry. Exits with 78 when the
    spec is invalid.
    """
    try:
        loaded = options.load_aside()
    except SpecError as error:
        if options.json:
            print_json({"valid": False, "problems": [_problem(p) for p in error.problems]})
            return 78
        raise
    if options.json:
        print_json({"valid": True, "problems": []})
    elif not options.quiet:
        count = len(loaded.spec.apps)
        name = options.path if options.repo else options.file.name
        click.echo(f"{name} is valid: {count} {'app' if count == 1 else 'apps'}.")
    return 0


def _problem(problem: object) -> dict[str, object]:
    import dataclasses

    return dataclasses.asdict(problem)  # type: ignore[call-overload,no-any-return]


@click.command()
def schema() -> int:
    """Print the JSON Schema of apps.yaml.

    Editors with a YAML language server explain and complete every field with it:

    \b
        reconcile schema > apps.schema.json

    and, as the first line of apps.yaml beside it:

    \b
        # yaml-language-server: $schema=apps.schema.json
    """
    from reconciler.spec.schema import schema_text

    click.echo(schema_text(), nl=False)
    return 0
