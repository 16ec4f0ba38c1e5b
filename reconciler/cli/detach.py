"""A worker of its own for `--no-wait`: it goes on when this command has returned."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from reconciler.cli.options import Options


def start_worker(options: Options, deployments: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """Start `reconcile work` in a session of its own, with nothing of this terminal."""
    if not deployments:
        return None
    place = {"RECONCILE_FILE": str(options.file)}
    if options.repo:  # the URL may have a password: not in argv
        place = {
            "RECONCILE_REPO": options.repo,
            "RECONCILE_BRANCH": options.branch,
            "RECONCILE_PATH": options.path,
        }
    others = {k: v for k, v in os.environ.items() if k not in ("RECONCILE_FILE", "RECONCILE_REPO")}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "reconciler", "work"),
            *("--state-dir", str(options.state_dir), "--", *deployments),
        ],
        env={**others, **place},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
