"""The shell library: finding or starting an engine, and ending in order."""

import subprocess
from pathlib import Path

from tests.support.engine import LIBRARY, PrivateEngine
from tests.support.system import wait_until

SCRIPT = f"""
set -euo pipefail
. {LIBRARY}
ensure_engine "$@"
make_base_image busybox:stable
at_exit touch "$1/ended"
docker run --rm -d -p 127.0.0.1:18081:80 busybox:stable httpd -f -h /etc >/dev/null
echo "$DOCKER_HOST" >"$1/host"
"""


def _script(directory: Path, text: str = "") -> list[str]:
    file = directory / "script.sh"
    file.write_text(SCRIPT + text)
    return ["bash", str(file), str(directory)]


def _socket(directory: Path) -> Path:
    return Path((directory / "host").read_text().strip().removeprefix("unix://"))


def test_lib_uses_the_engine_that_answers(own_engine: PrivateEngine, tmp_path: Path) -> None:
    own_engine.run_inside(_script(tmp_path))
    assert _socket(tmp_path) == own_engine.socket
    assert own_engine.is_ready()


def test_lib_starts_an_engine_and_removes_it(engine: PrivateEngine, tmp_path: Path) -> None:
    fetch = 'until busybox wget -qO "$1/page" http://127.0.0.1:18081/passwd; do sleep 0.1; done'
    env = engine.env() | {"DOCKER_HOST": f"unix://{tmp_path}/none"}
    engine.run_inside(_script(tmp_path, fetch), env=env)
    assert "nobody" in (tmp_path / "page").read_text()
    assert (tmp_path / "ended").exists()
    assert not _socket(tmp_path).parent.exists()


def test_lib_interrupted_script_removes_its_engine(engine: PrivateEngine, tmp_path: Path) -> None:
    env = engine.env() | {"DOCKER_HOST": f"unix://{tmp_path}/none"}
    with subprocess.Popen(_script(tmp_path, 'sleep 600 & wait "$!"'), env=env) as script:
        wait_until((tmp_path / "host").exists, 60)
        script.terminate()
    assert script.returncode == 143
    assert (tmp_path / "ended").exists()
    assert not _socket(tmp_path).parent.exists()


def test_lib_missing_package_without_root(tmp_path: Path) -> None:
    script = f". {LIBRARY}; is_root() {{ false; }}; ensure_packages no-such-command:some-package"
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Missing: some-package" in done.stderr
