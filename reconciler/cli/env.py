"""`env list`, `env set`, `env unset`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import BinaryIO

import click

from reconciler.cli.configuration import open_configuration
from reconciler.cli.options import (
    Options,
    author_option,
    common_options,
    find_app,
    readable,
)
from reconciler.cli.output import print_json
from reconciler.engine import environment
from reconciler.engine.configuration import Configuration
from reconciler.errors import UsageError
from reconciler.spec import dotenv
from reconciler.spec.editing import Value
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.models import EnvRef, FileRef
from reconciler.values import frozen

_SECRET = re.compile(
    r"pass(?!ive)|secret|token|credential|private|(?<![a-z])(?:api)?key(?![a-z])", re.IGNORECASE
)

message_option = click.option(
    "--message", callback=readable, help="Why, for the commit in a configuration repository."
)


@click.group()
def env() -> None:
    """Show and edit the environment of an app, in the spec itself.

    An edit keeps comments, order and quotes of the file, and replaces it at once; with --repo it
    is a commit, pushed. What runs changes with the next pass; at once: reconcile apply.

    \b
        reconcile env list api
        reconcile env set api LOG_LEVEL=debug WORKERS=4
        reconcile env set api DB_PASSWORD --from-file /run/secrets/db_password
        reconcile env unset api WORKERS
    """


@env.command("list")
@click.argument("app")
@common_options
def list_variables(options: Options, app: str) -> int:
    """Print the environment of APP as KEY=VALUE lines, which dotenv readers understand.

    What `defaults` give is included. A secret by reference is shown as ${{env.NAME}} or
    ${{file.PATH}}, never as what it stands for; `set --dotenv` takes that back.
    """
    loaded = options.load_known()
    name = find_app(loaded, app)
    section = loaded.spec.apps[name.partition("/")[2]]
    if options.json:
        shown = {key: environment.show_value(value) for key, value in section.env.items()}
        references = [key for key, value in section.env.items() if not isinstance(value, str)]
        print_json({"app": name, "env": shown, "references": references})
    else:
        click.echo(environment.show_environment(section), nl=False)
    return 0


@env.command("set")
@click.argument("app")
@click.argument("variables", nargs=-1, metavar="[KEY=VALUE | KEY]...")
@common_options
@click.option(
    "--dotenv", "lines", type=click.File("rb"), help="Set all variables of a .env file; - is stdin."
)
@click.option(
    "--from-env", metavar="NAME",
    help="KEY refers to this variable of the environment in which reconcile runs.",
)  # fmt: skip
@click.option(
    "--from-file", metavar="PATH",
    help="KEY refers to this file, absolute or relative to the file that declares APP.",
)  # fmt: skip
@author_option
@message_option
def set_variables(
    options: Options,
    app: str,
    variables: tuple[str, ...],
    lines: BinaryIO | None,
    from_env: str | None,
    from_file: str | None,
    message: str | None,
) -> int:
    """Set variables of APP. Those that aren't named stay.

    A value is taken exactly as it is written. KEY=- reads it from stdin, so that no list of
    processes shows it. Better keep a password out of the spec: put it into a file, or into the
    environment of reconcile, and let KEY refer to that.

    \b
        reconcile env set api LOG_LEVEL=debug GREETING="Hello, you"
        reconcile env set api DATABASE_URL --from-file /run/secrets/database_url
        reconcile env set api SMTP_TOKEN --from-env SMTP_TOKEN
        reconcile env set api CERTIFICATE=- < certificate.pem
        reconcile env set api --dotenv .env
    """
    values = _read_values(variables, lines, _reference(from_env, from_file))
    for key, value in values.items():
        if isinstance(value, str) and value and _SECRET.search(key):
            click.echo(
                f"Warning: {key} looks like a secret, and whoever reads the spec reads it.\n"
                f"  → Better: reconcile env set {app} {key} --from-file PATH",
                err=True,
            )

    def change(configuration: Configuration, loaded: LoadedSpec, name: str, why: str) -> str:
        return environment.set_variables(configuration, loaded, name, values, why)

    return _edit(options, app, _Edit("set", [*values], message, change))


@env.command("unset")
@click.argument("app")
@click.argument("names", nargs=-1, required=True, metavar="KEY...")
@common_options
@author_option
@message_option
def unset_variables(options: Options, app: str, names: tuple[str, ...], message: str | None) -> int:
    """Take variables from APP.

    What `defaults` give can't be taken from one app alone: give the app a value of its own.
    """

    def change(configuration: Configuration, loaded: LoadedSpec, name: str, why: str) -> str:
        return environment.unset_variables(configuration, loaded, name, names, why)

    return _edit(options, app, _Edit("unset", names, message, change))


@frozen
class _Edit:
    """`verb` and `names` of variables, for people. `change` does it, and returns the revision."""

    verb: str
    names: Sequence[str]
    message: str | None
    change: Callable[[Configuration, LoadedSpec, str, str], str]


def _edit(options: Options, app: str, edit: _Edit) -> int:
    configuration = open_configuration(options)
    loaded = configuration.load()
    name = find_app(loaded, app)
    listed = ", ".join(edit.names)
    why = edit.message or f"{name}: {edit.verb} {listed}"
    revision = edit.change(configuration, loaded, name, why)
    if revision:
        changed = revision != loaded.revision
    else:
        changed = configuration.load().digest != loaded.digest
    if options.json:
        print_json(
            {"app": name, edit.verb: [*edit.names], "changed": changed, "revision": revision}
        )
    elif not changed:
        click.echo(f"{name}: nothing to change.")
    else:
        where = f" in {revision[:7]}" if revision else ""
        click.echo(f"{name}: {edit.verb} {listed}{where}. What runs changes with the next pass.")
    return 0


def _reference(from_env: str | None, from_file: str | None) -> EnvRef | FileRef | None:
    if from_env is not None and from_file is not None:
        raise UsageError("--from-env and --from-file exclude each other")
    if from_env is not None:
        return EnvRef(env=from_env)
    return None if from_file is None else FileRef(file=from_file)


def _read_values(
    variables: tuple[str, ...], lines: BinaryIO | None, ref: EnvRef | FileRef | None
) -> dict[str, Value]:
    if ref is not None:
        if len(variables) != 1 or "=" in variables[0] or lines is not None:
            raise UsageError("a reference is for one KEY, without a value")
        return {variables[0]: ref}
    pairs = [_split(variable) for variable in variables]
    from_stdin = [key for key, value in pairs if value == "-"]
    if len(from_stdin) > 1 or (from_stdin and lines is not None):
        raise UsageError("only one value can come from stdin")
    values = _read_dotenv(lines) if lines is not None else {}
    for key, value in pairs:
        values[key] = _read_stdin(key) if value == "-" else value
    if not values:
        raise UsageError("nothing to set", todo="Say KEY=VALUE, or see `reconcile env set --help`.")
    return values


def _split(variable: str) -> tuple[str, str]:
    key, equals, value = variable.partition("=")
    if not equals:
        raise UsageError(
            f"{key}: this is a name without a value",
            todo="Say KEY=VALUE, KEY=- for stdin, or KEY with --from-file or --from-env.",
        )
    return key, _decode(os.fsencode(value), key)


def _read_stdin(key: str) -> str:
    """All of it, but for one line break at the end, which `echo` and editors add."""
    text = _decode(sys.stdin.buffer.read(), key)
    return text.removesuffix("\n").removesuffix("\r")


def _read_dotenv(lines: BinaryIO) -> dict[str, Value]:
    read = dotenv.parse(_decode(lines.read(), "the .env file"))
    return {key: environment.find_reference(value) or value for key, value in read.items()}


def _decode(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            f"{what} is not UTF-8 text", todo="Encode it, such as in base64."
        ) from None
