"""Printing: JSON documents, tables, colours where a terminal shows them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

COLOURS = {
    "done": "green",
    "healthy": "green",
    "succeeded": "green",
    "running": "blue",
    "queued": "blue",
    "error": "red",
    "failed": "red",
    "killed": "red",
    "interrupted": "red",
    "rolled_back": "yellow",
    "cancelled": "yellow",
}


def print_json(document: Any) -> None:
    """One document on stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def colour(text: str, word: str = "") -> str:
    """`text` in the colour of `word` (default: of itself), on a terminal that wants colours."""
    wanted = COLOURS.get(word or text)
    plain = wanted is None or "NO_COLOR" in os.environ or not sys.stdout.isatty()
    return text if plain else click.style(text, fg=wanted)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, err: bool = False) -> None:
    """Columns as wide as their widest cell; the last one is cut at the terminal's width."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for number, row in enumerate((head, *rows)):
        cells = [cell.ljust(widths[i]) for i, cell in enumerate(row)]
        line = "  ".join(cells).rstrip()
        if width and len(line) > width:
            line = line[: width - 1] + "…"
        for cell in row if number else ():
            if cell in COLOURS:
                line = line.replace(cell, colour(cell), 1)
        click.echo(line, err=err)
