"""`notify`, for our own use: sends messages, in a process that ends with its work."""

from __future__ import annotations

import json
import sys

import click


@click.command(hidden=True)
def notify() -> int:
    """Send the messages on stdin; print how that went. See `reconciler.host.messages`."""
    from reconciler.host.messages import send_messages

    click.echo(json.dumps(send_messages(json.load(sys.stdin))))
    return 0
