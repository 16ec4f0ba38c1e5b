"""Every command explains itself, and README names every command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli import COMMANDS, cli

README = (Path(__file__).parents[2] / "README.md").read_text()
SHOWN = [name for name, (_, text) in COMMANDS.items() if text]


@pytest.mark.parametrize("name", SHOWN)
def test_help_of_a_command_says_what_it_does(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0
    assert len(done.output.split()) > 20
    assert re.search(rf"`{name}\b", README), f"README doesn't name {name}"


def test_help_lists_every_command() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    assert [name for name in SHOWN if name not in output] == []


def test_readme_names_no_command_that_is_not_there() -> None:
    used = set(re.findall(r"reconcile ([a-z][a-z-]+)", README))
    assert used - set(COMMANDS) == set()


def test_readme_links_lead_somewhere() -> None:
    root = Path(__file__).parents[2]
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (root / link).exists()] == []
