"""`token create|list|revoke|hook`: who may call the HTTP API."""

from __future__ import annotations

import re
import time
from typing import Any

import click

from reconciler.cli.options import Options, common_options, find_app, read_length
from reconciler.cli.output import print_json, print_table
from reconciler.engine.documents import iso
from reconciler.errors import UsageError
from reconciler.state.store import Store
from reconciler.state.tokens import SCOPES, Token, create_token, list_tokens, revoke_token

_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}"
_APP = r"[a-z0-9][a-z0-9_.-]*(?:/[a-z0-9][a-z0-9_.-]*)?"


@click.group()
def token() -> None:
    """Tokens of the HTTP API, and the URLs of apps.

    \b
    A token is sent as `x-api-key: TOKEN` or `Authorization: Bearer TOKEN`. Its scope says what
    it may do; each may do what those before it may:
      read     look at applications, deployments and logs
      deploy   deploy, redeploy, cancel deployments, clean queues
      admin    kill builds, clear deployments, save environments
    """


@token.command()
@click.argument("name")
@common_options
@click.option(
    "--scope", type=click.Choice(SCOPES), required=True, help="What it may do, at most.",
)  # fmt: skip
@click.option("--apps", default="", help="Only for these apps: names with commas between them.")
@click.option("--expires", metavar="TIME", help="Counts no more after this time, such as 90d.")
def create(options: Options, name: str, scope: str, apps: str, expires: str | None) -> int:
    """Make a token and print it, this once: only a hash of it is kept.

    NAME says who has it. The token of that name must be revoked or expired, if there is one.
    """
    if not re.fullmatch(_NAME, name):
        raise UsageError(
            f"{name!r} is no name for a token", todo="Use letters, digits, dots and dashes."
        )
    now = time.time()
    made = Token(name, scope, _read_apps(apps), now, _read_expiry(expires, now))
    store = Store(options.state_dir)
    try:
        plain = create_token(store, made, now)
    finally:
        store.close()
    if options.json:
        print_json({"token": plain, **_document(made, now)})
        return 0
    click.echo(plain)
    if not options.quiet:
        click.echo("Keep it: it can't be shown again.", err=True)
    return 0


def _read_apps(text: str) -> tuple[str, ...]:
    names = tuple(name for name in map(str.strip, text.split(",")) if name)
    for name in names:
        if not re.fullmatch(_APP, name):
            raise UsageError(f"--apps: {name!r} is no name of an app")
    if text and not names:
        raise UsageError("--apps names no app", todo="Leave it out for all apps.")
    return names


def _read_expiry(text: str | None, now: float) -> float | None:
    return None if text is None else now + read_length("--expires", text)


@token.command("list")
@common_options
def list_(options: Options) -> int:
    """Show all tokens: scope, apps, state, and when each was used last. Never the token."""
    store = Store(options.state_dir)
    found = list_tokens(store)
    store.close()
    now = time.time()
    if options.json:
        print_json({"tokens": [_document(one, now) for one in found]})
    elif not found:
        click.echo("No tokens yet: reconcile token create NAME --scope deploy")
    else:
        head = ("NAME", "SCOPE", "APPS", "STATE", "EXPIRES", "USED", "FROM")
        print_table(head, [_row(one, now) for one in found])
    return 0


def _row(one: Token, now: float) -> tuple[str, ...]:
    return (
        one.name,
        one.scope,
        ",".join(one.apps) or "all",
        one.state(now),
        (iso(one.expires_at) or "never")[:10],
        (iso(one.used_at) or "never")[:16].replace("T", " "),
        one.used_from,
    )


def _document(one: Token, now: float) -> dict[str, Any]:
    return {
        "name": one.name,
        "scope": one.scope,
        "apps": list(one.apps),
        "state": one.state(now),
        "created_at": iso(one.created_at),
        "expires_at": iso(one.expires_at),
        "revoked_at": iso(one.revoked_at),
        "used_at": iso(one.used_at),
        "used_from": one.used_from,
    }


@token.command()
@click.argument("name")
@common_options
def revoke(options: Options, name: str) -> int:
    """Let the token NAME in no more, from now on."""
    store = Store(options.state_dir)
    now = time.time()
    try:
        found = revoke_token(store, name, now)
    finally:
        store.close()
    if options.json:
        print_json(_document(found, now))
    else:
        click.echo(f"Revoked {found.name}.")
    return 0


@token.command()
@click.argument("app")
@common_options
def hook(options: Options, app: str) -> int:
    """Print the path at which a POST asks for a look at APP, with any body or none.

    Nothing else can be done there. It stays the same as long as the state does.
    """
    from reconciler.engine.hook_tokens import hook_token

    name = find_app(options.load_known(), app)
    store = Store(options.state_dir)
    try:
        path = f"/api/deploy/{hook_token(store, name)}"
    finally:
        store.close()
    if options.json:
        print_json({"app": name, "path": path})
    else:
        click.echo(path)
    return 0
