"""The files of `examples/service` are what systemd and cron take."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from cronsim import CronSim

from reconciler.cli import cli

SERVICE = Path(__file__).parents[2] / "examples" / "service"
INSTALLED = "/opt/reconciler/bin/reconcile"


def parse(command: str) -> click.Context:
    """What the command line makes of it. Raises `UsageError`."""
    program, name, *arguments = shlex.split(command)
    assert program == INSTALLED
    context = click.Context(cli)
    found = cli.get_command(context, name)
    assert found is not None
    return found.make_context(name, arguments, parent=context)


def test_unit_is_right(tmp_path: Path) -> None:
    unit = (SERVICE / "reconciler.service").read_text()
    path = tmp_path / "reconciler.service"
    path.write_text(unit.replace(INSTALLED, sys.executable))
    argv = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout + done.stderr == ""
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    assert parse(start).params["interval"] == 60.0


def test_environment_names_what_the_daemon_reads() -> None:
    named = set(
        re.findall(r"^(?:# )?(RECONCILE_\w+)=", (SERVICE / "environment").read_text(), re.M)
    )
    options = parse(f"{INSTALLED} daemon").command.params
    known = {str(option.envvar) for option in options} | {"RECONCILE_REPO_TOKEN"}
    assert named
    assert named - known == set()


def test_crontab_line_is_right() -> None:
    lines = (SERVICE / "reconciler.cron").read_text().splitlines()
    (line,) = [line for line in lines if re.match(r"[*\d]", line)]
    *when, user, command = line.split(None, 6)
    assert user == "root"
    CronSim(" ".join(when), datetime(2026, 1, 1, tzinfo=UTC))
    assert parse(command).params["quiet"] is True
