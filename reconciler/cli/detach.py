"""A worker of its own for `--no-wait`: it goes on when this command has returned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from reconciler.cli.options import Options


def start_worker(options: Options, deployments: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """Start `reconcile work` in a session of its own, with nothing of this terminal."""
    if not deployments:
        return None
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "reconciler", "work"),
            *("--state-dir", str(options.state_dir), "--file", str(options.file)),
            *("--", *deployments),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
