"""Every command loads the spec: what it imports, how long it takes, and that it is linear."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

from reconciler.spec.loader import load_spec
from tests.spec.support import HEAD, load, write

APP = """\
  app{n}:
    title: Shop part {n}
    source:
      git: https://git.example.com/shop/shop.git
      subdir: services/app{n}
      watch: [libs/common]
    revision: main
    build:
      dockerfile: Dockerfile
      args: {{NODE_ENV: production}}
    image: {{repository: registry.example.com/shop/app{n}, push: true}}
    env:
      LOG_LEVEL: info
      WORKERS: 4
      DATABASE_URL: {{file: /run/secrets/database_url}}
    command: ["serve", "--port", "8000"]
    ports: ["127.0.0.1:{port}:8000"]
    volumes: ["data{n}:/var/lib/api"]
    resources: {{cpus: 1.5, memory: 512m}}
    health:
      http: {{port: 8000, path: /healthz}}
"""
HEAVY = ("docker", "git", "requests", "rich", "semantic_version", "sqlite3", "difflib")


def _file(apps: int) -> str:
    return HEAD + "apps:\n" + "".join(APP.format(n=n, port=10_000 + n) for n in range(apps))


def _seconds(work: Callable[[], object]) -> float:
    """The least of some tries: the machine has other work, too."""
    tries = []
    for _ in range(5):
        start = process_time()
        work()
        tries.append(process_time() - start)
    return min(tries)


def _imported(path: Path, cache: Path) -> list[str]:
    """The heavy modules that loading in a process of its own imports."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from reconciler.spec.loader import load_spec\n"
        f"load_spec(Path({str(path)!r}), Path({str(cache)!r}))\n"
        f"print([name for name in {(*HEAVY, 'pydantic', 'yaml')!r} if name in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ast.literal_eval(found.stdout)


def test_load_is_linear_in_apps():
    few, many = _file(100), _file(1000)
    load(few)
    assert _seconds(lambda: load(many)) < 20 * _seconds(lambda: load(few))


def test_load_of_a_hundred_apps():
    """The budget is 30 ms; five times that on a machine that is busy with other tests."""
    text = _file(100)
    assert _seconds(lambda: load(text)) < 0.15


def test_unchanged_spec_of_a_hundred_apps(tmp_path):
    """The budget is 8 ms."""
    path = write(tmp_path, {"apps.yaml": _file(100)})
    load_spec(path, tmp_path)
    assert _seconds(lambda: load_spec(path, tmp_path)) < 0.04


def test_load_imports_what_it_needs_only(tmp_path):
    path = write(tmp_path, {"apps.yaml": _file(1)})
    assert _imported(path, tmp_path / "cache") == ["pydantic", "yaml"]
    assert _imported(path, tmp_path / "cache") == []
