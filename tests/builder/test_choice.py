"""Which backend is chosen. CLIs are scripts that answer as docker's do; the engine is real."""

import os
import time
from pathlib import Path

import pytest

from reconciler.builder import backend as backends
from reconciler.builder.backend import choose_backend, find_clis, probe_cli, start_choosing
from reconciler.builder.buildkit import BuildKit
from reconciler.builder.classic import Classic
from reconciler.errors import BuildError, EngineUnavailable, UsageError
from reconciler.host.engine import Engine
from tests.support import system
from tests.support.engine import PrivateEngine

PLUGIN = "github.com/docker/buildx v0.23.0 28c90ea"


def make_cli(folder: Path, version: str, plugin: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "docker"
    script = f"""\
        #!/bin/sh
        case "$1" in
            --version) echo 'Docker version {version}, build 1234567' ;;
            buildx) [ -n '{plugin}' ] || exit 1; echo '{plugin}' ;;
        esac
    """
    path.write_text("\n".join(line.strip() for line in script.splitlines()) + "\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def api(engine: PrivateEngine) -> Engine:
    return Engine(engine.url)


@pytest.fixture
def only_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder in which a docker CLI is looked for."""
    monkeypatch.setattr(backends, "_USUAL_FOLDERS", ())
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.delenv("RECONCILE_BUILDER", raising=False)
    return tmp_path / "bin"


@pytest.mark.parametrize(
    ("version", "plugin", "lacks"),
    [
        ("20.10.24+dfsg1", "", ""),
        ("18.09.1", "", ""),
        ("22.06.0-beta.0", "", ""),
        ("28.2.2", PLUGIN, ""),
        ("28.2.2", "", "has no buildx plugin"),
        ("23.0.0", "", "has no buildx plugin"),
        ("18.06.1-ce", "", "is too old"),
        ("17.12", "", "is no docker CLI"),
    ],
)
def test_cli_by_its_version(tmp_path: Path, version: str, plugin: str, lacks: str) -> None:
    cli = probe_cli(str(make_cli(tmp_path, version, plugin)))
    assert lacks in cli.lacks
    assert bool(lacks) == bool(cli.lacks)
    assert lacks.startswith("is no") or cli.version == version


def test_cli_that_cannot_be_run(tmp_path: Path) -> None:
    path = make_cli(tmp_path, "20.10.24")
    path.write_text("#!/nowhere\n")
    assert probe_cli(str(path)).lacks


def test_choice_takes_the_cli_that_can(api: Engine, only_path: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    make_cli(only_path, "28.2.2")
    second = make_cli(tmp_path / "more", "20.10.24+dfsg1")
    monkeypatch.setenv("PATH", f"{only_path}:{tmp_path}/more")
    choice = choose_backend(api)
    assert isinstance(choice.backend, BuildKit)
    assert choice.backend.cli == str(second)
    assert choice.reason == f"BuildKit by {second} 20.10.24+dfsg1"


def test_choice_without_any_cli(api: Engine, only_path: Path) -> None:
    choice = choose_backend(api)
    assert isinstance(choice.backend, Classic)
    assert "no docker CLI is installed" in choice.reason


def test_choice_without_the_plugin(api: Engine, only_path: Path) -> None:
    make_cli(only_path, "28.2.2")
    choice = choose_backend(api)
    assert choice.backend.name == "classic"
    assert "28.2.2 has no buildx plugin" in choice.reason


def test_choice_is_kept_until_a_cli_changes(api: Engine, only_path: Path) -> None:
    path = make_cli(only_path, "28.2.2")
    first = choose_backend(api)
    assert choose_backend(api) is first
    make_cli(only_path, "28.2.2", PLUGIN)
    os.utime(path, ns=(1, 1))
    assert choose_backend(api).backend.name == "buildkit"


def test_choice_by_the_environment(
    api: Engine, only_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cli(only_path, "20.10.24")
    assert choose_backend(api).backend.name == "buildkit"
    monkeypatch.setenv("RECONCILE_BUILDER", "classic")
    assert choose_backend(api).backend.name == "classic"
    monkeypatch.setenv("RECONCILE_BUILDER", "kaniko")
    with pytest.raises(UsageError, match="RECONCILE_BUILDER is 'kaniko'"):
        choose_backend(api)


def test_choice_buildkit_demanded_and_not_there(
    api: Engine, only_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cli(only_path, "28.2.2")
    monkeypatch.setenv("RECONCILE_BUILDER", "buildkit")
    with pytest.raises(BuildError, match="has no buildx plugin") as caught:
        choose_backend(api)
    assert "buildx" in caught.value.todo


def test_choice_while_the_engine_is_away(only_path: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        choose_backend(Engine(f"unix://{tmp_path}/none.sock"))
    start_choosing(Engine(f"unix://{tmp_path}/none.sock")).join(10)


def test_choice_in_the_background(api: Engine, only_path: Path) -> None:
    make_cli(only_path, "20.10.24")
    start_choosing(api).join(10)
    asked = time.monotonic()
    assert choose_backend(api).backend.name == "buildkit"
    assert time.monotonic() - asked < 0.01


def test_clis_in_order_and_once(tmp_path: Path) -> None:
    first = make_cli(tmp_path / "a", "20.10.24")
    second = make_cli(tmp_path / "b", "28.2.2")
    (tmp_path / "c").symlink_to("b")
    (tmp_path / "d/docker").mkdir(parents=True)
    make_cli(tmp_path / "e", "1.0.0").chmod(0o644)
    path = ":".join(str(tmp_path / name) for name in "abcde")
    found = [cli for cli, _ in find_clis({"PATH": path}) if cli.startswith(str(tmp_path))]
    assert found == [str(first), str(second)]


def test_choice_of_this_machine_builds(
    engine: PrivateEngine, docker_env: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is installed here: the reason names it, and the engine isn't asked to work."""
    monkeypatch.delenv("RECONCILE_BUILDER", raising=False)
    with engine.recorder() as recorder:
        assert choose_backend(Engine(recorder.url)).reason
        assert recorder.requests == ["GET /_ping"]
    assert system.is_alive(engine.pid)
