"""Colours, where a terminal shows them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal(tmp_path: Path, environ: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    without = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "reconciler", "doctor", "--state-dir", str(tmp_path)]
    subprocess.run(
        command,
        env={**without, **environ, "DOCKER_HOST": f"unix://{tmp_path}/none"},
        cwd=tmp_path, stdout=theirs, check=False,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert (b"\x1b[" in shown) == coloured
