"""`reconcile env` edits the spec, and keeps secrets out of it where it can."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli import run
from reconciler.spec.loader import load_spec
from reconciler.spec.models import EnvRef, FileRef

SPEC = """\
version: 1
project: shop
apps:
  api:
    source: {path: .}
    env: {A: one}   # the first
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "apps.yaml"
    path.write_text(SPEC)
    monkeypatch.setenv("RECONCILE_FILE", str(path))
    monkeypatch.setenv("RECONCILE_STATE_DIR", str(tmp_path / "state"))
    return path


def _env(path: Path) -> object:
    return load_spec(path).spec.apps["api"].env


def test_env_set_list_and_unset(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env", "set", "api", "A=1 # 'x'", "B=", "C=a=b"]) == 0
    assert run(["env", "set", "shop/api", "T", "--from-env", "TOKEN"]) == 0
    assert run(["env", "set", "api", "F", "--from-file", "secrets/f"]) == 0
    values = {"A": "1 # 'x'", "B": "", "C": "a=b"}
    references = {"T": EnvRef(env="TOKEN"), "F": FileRef(file="secrets/f")}
    assert _env(spec) == values | references
    assert spec.read_text().endswith("}   # the first\n")
    capsys.readouterr()

    assert run(["env", "list", "api"]) == 0
    listed = capsys.readouterr().out
    assert "T=${{env.TOKEN}}\n" in listed
    assert run(["env", "list", "api", "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["references"] == ["T", "F"]

    assert run(["env", "unset", "api", "A", "B", "C", "T", "F"]) == 0
    spec.with_name(".env").write_text(listed)
    assert run(["env", "set", "api", "--dotenv", str(spec.with_name(".env"))]) == 0
    assert _env(spec) == values | references


def test_env_set_takes_a_value_from_stdin_and_warns_of_secrets(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é\n b\r\n\n".encode())))
    assert run(["env", "set", "api", "DB_PASSWORD=-", "MONKEYS=2", "-o", "json"]) == 0
    assert _env(spec) == {"A": "one", "DB_PASSWORD": "é\n b\r\n", "MONKEYS": "2"}
    printed = capsys.readouterr()
    assert json.loads(printed.out)["set"] == ["DB_PASSWORD", "MONKEYS"]
    assert "DB_PASSWORD looks like a secret" in printed.err
    assert "MONKEYS" not in printed.err


@pytest.mark.parametrize(
    "words",
    [
        ["api"],
        ["api", "A"],
        ["api", "A=-", "B=-"],
        ["api", "A=1", "--from-env", "X"],
        ["api", "A", "--from-env", "X", "--from-file", "x"],
        ["nope", "A=1"],
        ["api", "A=\udcff"],
    ],
)
def test_env_set_that_makes_no_sense_changes_nothing(words: list[str], spec: Path) -> None:
    assert run(["env", "set", *words]) == 64
    assert spec.read_text() == SPEC


def test_env_set_of_a_file_that_is_read_only(spec: Path) -> None:
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    command = [sys.executable, "-m", "reconciler", "env", "set", "api", "A=2"]
    argv = ["unshare", "--mount", "sh", "-ec", script, "sh", str(spec), *command]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "read-only" in done.stderr
    assert spec.read_text() == SPEC
