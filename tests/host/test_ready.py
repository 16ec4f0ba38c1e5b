"""Whether the daemon of a container is ready, seen from another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reconciler.host.ready import VARIABLE, is_ready

HOLD = "from reconciler.host.ready import hold_ready; hold_ready(); print(flush=True); input()"


def test_ready_from_the_word_to_the_end_of_the_process(tmp_path: Path) -> None:
    environ = {VARIABLE: str(tmp_path / "ready")}
    assert is_ready({}) is None
    assert is_ready(environ) is False
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={**environ, "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        assert is_ready(environ) is True
        child.kill()
    assert is_ready(environ) is False
