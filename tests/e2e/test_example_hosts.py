"""`examples/hosts`: one apps.yaml from one host to two, and to a Swarm of three nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import PrivateEngine
from tests.support.swarm import Swarm

EXAMPLE = Path(__file__).parents[2] / "examples" / "hosts"


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A directory with `reconcile`, for the PATH."""
    command = tmp_path / "bin" / "reconcile"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n')
    command.chmod(0o755)
    return command.parent


@pytest.fixture
def hosts(swarm: Swarm, project: str) -> Iterator[tuple[PrivateEngine, PrivateEngine]]:
    web1, web2 = swarm.manager, swarm.workers[0]
    yield web1, web2
    swarm.discard(project)
    for engine in (web1, web2):
        engine.discard(project)


def test_example_goes_from_one_host_to_a_swarm(
    hosts: tuple[PrivateEngine, PrivateEngine],
    swarm: Swarm,
    project: str,
    commands: Path,
    tmp_path: Path,
) -> None:
    registry = f"{swarm.registry.address}/{project}"
    done = subprocess.run(
        ["bash", str(EXAMPLE / "run.sh"), *(host.url for host in hosts), registry],
        env={
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PROJECT": project,
            "RECONCILE_STATE_DIR": str(tmp_path / "state"),
            "DOCKER_HOST": f"unix://{tmp_path}/none",  # nothing needs the local engine
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    one, two, three, logs, end = re.split(r"^── ", done.stdout, flags=re.MULTILINE)[1:]
    assert "web1" in one.split("HOST", 1)[1]
    assert "host: web1 → web1, web2" in two
    assert "web1, web2" in two.split("HOST", 1)[1]
    assert "\npage starts\n" in two  # on web2
    assert "runtime: docker → swarm" in three
    assert "swarm: node1, node2, node3" in three
    assert sorted(re.findall(r"^\d@(\w+) \| page starts$", logs, re.MULTILINE)) == [
        "node1",
        "node2",
        "node3",
    ]
    assert "page" in end
    for host in hosts:
        assert host.containers(f"reconciler.project={project}") == []
    assert swarm.services(f"reconciler.project={project}") == []
