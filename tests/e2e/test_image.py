"""The Dockerfile: built from Debian's and Python's packages, it deploys itself.

Only with `--long`: there is no registry, so a Debian with Python is made first, by `debootstrap`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OUTSIDE
from tests.e2e.conftest import Shop
from tests.support.engine import PrivateEngine

TREE = Path(__file__).parents[2]
PACKAGES = "python3,python3-venv,git,openssh-client,tini"
WITHOUT = ("./proc/*", "./sys/*", "./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*")

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def fetch(*argv: str | Path) -> None:
    """Run what needs the internet, which the tests' network namespace hasn't."""
    outside = ("nsenter", f"--net={os.environ[OUTSIDE]}", "--")
    done = subprocess.run([*outside, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def import_directory(engine: PrivateEngine, directory: Path, image: str) -> None:
    options = [f"--exclude={pattern}" for pattern in WITHOUT]
    with subprocess.Popen(
        ["tar", "-C", str(directory), *options, "-c", "."], stdout=subprocess.PIPE
    ) as tar:
        argv = ["docker", "-H", engine.url, "import", "-", image]
        subprocess.run(argv, stdin=tar.stdout, stdout=subprocess.DEVNULL, check=True)


def make_debian(directory: Path) -> None:
    sources = "\n".join(
        path.read_text()
        for path in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").iterdir())
        if path.is_file()
    )
    mirror = re.search(r"https?://\S+/debian/?(?=\s)", sources)
    assert mirror, "no Debian mirror in /etc/apt"
    fetch(
        "debootstrap",
        "--variant=minbase",
        f"--include={PACKAGES}",
        "bookworm",
        directory,
        mirror[0],
    )


def make_docker(directory: Path) -> None:
    """As in the image `docker:28-cli`; a client of Debian's has BuildKit inside."""
    plugin = directory / "usr/local/libexec/docker/cli-plugins/docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("#!/bin/sh\nexit 1\n")
    (directory / "usr/local/bin").mkdir(parents=True)
    shutil.copy(shutil.which("docker", path="/usr/bin") or "", directory / "usr/local/bin/docker")


def make_source(shop: Shop) -> None:
    """This tree, with the wheels of what it needs, as the app's repository."""
    files = (
        "Dockerfile",
        ".dockerignore",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
    )
    for name in files:
        shutil.copy(TREE / name, shop.repo.path / name)
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TREE / "reconciler", shop.repo.path / "reconciler", ignore=caches)
    needs = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["dependencies"]
    wheels = ("-d", shop.repo.path / "wheels", "-c", TREE / "constraints.txt")
    fetch(sys.executable, "-m", "pip", "download", "-q", *wheels, *needs, "setuptools>=77", "wheel")
    shop.repo.git("add", "-A", "-f")
    shop.repo.git("commit", "-q", "-m", "the tree")


def write_spec(shop: Shop, **env: str) -> None:
    images = {"PYTHON": "test/debian:1", "DOCKER": "test/docker:1"}
    home, directory = shop.engine.home, shop.directory
    shop.app(
        "daemon",
        build={"args": {**images, "PIP_OPTIONS": "--no-index --find-links ."}},
        networks=["host"],
        health={},
        command=["daemon", "--interval", "2s", "--file", str(shop.spec)],
        env={"DOCKER_HOST": shop.engine.url, **env},
        volumes=[
            f"{home}:{home}",
            f"{directory}:{directory}",
            f"{shop.repo.path}:{shop.repo.path}",
            f"{shop.state_dir}:/var/lib/reconciler",
        ],
        stop_grace_period="20s",
    )


def test_image_deploys_itself_and_never_a_broken_version(
    shop: Shop, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    make_debian(tmp_path / "debian")
    make_docker(tmp_path / "docker")
    import_directory(shop.engine, tmp_path / "debian", "test/debian:1")
    import_directory(shop.engine, tmp_path / "docker", "test/docker:1")
    make_source(shop)
    write_spec(shop)
    shop.apply()
    first = shop.container_id("daemon")

    def replaced() -> str:
        found = shop.containers("daemon")
        return str(found[0]["Id"]) if len(found) == 1 and found[0]["Id"] != first else ""

    program = shop.repo.path / "reconciler" / "__init__.py"
    shop.repo.commit({"reconciler/__init__.py": program.read_text() + "# changed\n"})
    second = wait_until(replaced, timeout=180)
    wait_until(lambda: shop.history("daemon")[0]["status"] == "done")

    service = shop.repo.path / "reconciler" / "daemon" / "service.py"
    shop.repo.commit(
        {"reconciler/daemon/service.py": service.read_text() + "raise SystemExit(3)\n"}
    )
    wait_until(lambda: shop.history("daemon")[0]["status"] == "error", timeout=180)
    assert shop.container_id("daemon") == second
