"""Private Docker engines: each with its own network namespace and directory.

    engine = PrivateEngine.create()     directory and namespace
    engine.start()                      returns when the engine answers
    engine.docker("run", "-d", "busybox:stable", "sleep", "60")
    engine.kill(); engine.start()       a crash, and the start after it
    engine.remove()                     nothing is left

From a shell: `python3 -m tests.support.engine start PID` prints the directory of a new engine
that belongs to process PID: DOCKER_HOST is `unix://DIRECTORY/docker.sock`, and `nsenter
--net=DIRECTORY/net COMMAND` reaches its containers. `… remove DIRECTORY` takes one away,
`… reap` removes the leftovers of dead owners.
"""

import fcntl
import http.client
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support import system
from tests.support.recorder import Recorder

BASE_IMAGE = "busybox:stable"
OWNER = "RECONCILER_TEST_OWNER"
PREFIX = "rt-"
CONTAINERD_PID = "exec/containerd/containerd.pid"
SBIN = "/usr/sbin:/sbin"
LIBRARY = Path(__file__).parent.parent / "lib.sh"
TOOLS = ("dockerd", "docker", "iptables", "ip", "nsenter")
TEST_TOOLS = (*TOOLS, "docker-registry", "busybox", "haproxy", "ssh", "sshd", "openssl")

NEEDS_ROOT = """\
These tests start private Docker engines, and that needs root.
Run `sudo bash tests/run.sh`, or `sudo -E env PATH="$PATH" pytest …` for a part of the suite;
or leave out what needs an engine: `pytest -m 'not engine'`."""
NEEDS_PACKAGES = """\
These tests need {missing}.
On Debian: apt-get install --no-install-recommends docker.io iptables docker-registry \
busybox-static haproxy iproute2 util-linux openssh-client openssh-server openssl"""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class PrivateEngine:
    """A dockerd of its own. Objects are handles: many may name the same `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.name = home.name
        self.socket = home / "docker.sock"
        self.namespace = home / "net"
        self.url = f"unix://{self.socket}"
        self.flags: tuple[str, ...] = ()
        """Further ones for dockerd, such as another `-H`. Set them before `start`."""

    @classmethod
    def create(
        cls, owner: int | None = None, config: dict[str, Any] | None = None
    ) -> "PrivateEngine":
        """A new engine, not yet started, that lives no longer than the process `owner`.

        That is the test session's first process, or this one, unless told otherwise.
        `config` is what daemon.json would hold, such as {"live-restore": True}.
        """
        if why := why_no_engine(TOOLS):
            raise RuntimeError(why)
        engine = cls(_make_home(owner or int(os.environ.get(OWNER, os.getpid()))))
        (engine.home / "daemon.json").write_text(json.dumps(config or {}))
        system.make_namespace(engine.namespace)
        return engine

    # Life

    def start(self, timeout: float = 60) -> None:
        """Start the engine and return when it answers."""
        pid_file = self.home / "pid"
        # To the engine a pid file is valid as long as its process is a zombie.
        for file in (pid_file, self.home / CONTAINERD_PID):
            if _read_pid(file) == 0:
                file.unlink(missing_ok=True)
        argv: list[str | Path] = [
            *self._own_name(),
            "dockerd",
            "--config-file",
            self.home / "daemon.json",
            "--pidfile",
            pid_file,
        ]
        argv += ["--data-root", self.home / "data", "--exec-root", self.home / "exec"]
        argv += self.flags
        argv += ["-H", self.url, "--cgroup-parent", f"/{self.name}", "--shutdown-timeout", "1"]
        pid = self.spawn(argv, self.home / "log")
        system.wait_until(
            lambda: self.is_ready() or not system.is_alive(pid), timeout, f"an answer of {self.url}"
        )
        if not self.is_ready():
            raise RuntimeError(f"the engine ended at its start:\n{self.log_tail()}")

    def _own_name(self) -> list[str]:
        """What gives the engine the name of its host, where `hostname` in its home has one."""
        try:
            name = (self.home / "hostname").read_text()
        except FileNotFoundError:
            return []
        return ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]

    def start_once(self) -> None:
        """Start the engine and make its base image, unless another process did or is at it."""
        with (self.home / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.is_ready():
                self.start()
            self.make_base_image()

    def stop(self) -> None:
        """End the engine as an administrator would; its containers stop with it."""
        if pid := self.pid:
            system.kill_all([pid], 15, 30)

    def kill(self) -> None:
        """SIGKILL to the engine and its containerd; returns when both are gone.

        Containers go on running. `start` may follow at once.
        """
        system.kill_all(pid for pid in (self.pid, self._containerd_pid) if pid)

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        """Take away the engine and all that it started: processes, mounts, namespace, files."""
        remove_home(self.home)

    @property
    def pid(self) -> int:
        """The engine's process, 0 while there is none."""
        return _read_pid(self.home / "pid")

    @property
    def _containerd_pid(self) -> int:
        return _read_pid(self.home / CONTAINERD_PID)

    def is_ready(self) -> bool:
        try:
            return bool(self.request("GET", "/_ping") == "OK")
        except (OSError, http.client.HTTPException):
            return False

    def log_tail(self, lines: int = 20) -> str:
        log = self.home / "log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

    # In its namespace

    def run_inside(
        self, argv: Sequence[str | Path], *, check: bool = True, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """`subprocess.run` in the engine's network namespace; `env()` unless told otherwise."""
        inside = [*self._nsenter(), *map(str, argv)]
        env = self.env() if env is None else env
        return subprocess.run(inside, check=check, env=env, capture_output=True, text=True)

    def inside(self) -> AbstractContextManager[None]:
        """The calling thread, and what it starts, is in the engine's network namespace."""
        return system.inside_namespace(self.namespace)

    def spawn(self, argv: Sequence[str | Path], log: Path) -> int:
        """Start a server in the namespace that outlives the caller, but not the engine; its pid."""
        pid_file = log.with_suffix(".pid")
        pid_file.unlink(missing_ok=True)
        announce = ["sh", "-c", 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"', pid_file]
        with log.open("ab") as output:
            subprocess.run(
                [*self._nsenter(), "setsid", "--fork", *map(str, [*announce, *argv])],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # An engine writes what containerd says in trouble into the temporary directory.
                env=_base_environment() | _less_garbage() | {"TMPDIR": str(self.home)},
                cwd="/",
                check=True,
            )
        system.wait_until(pid_file.exists, 10, f"the start of {argv[0]}")
        return int(pid_file.read_text())

    def _nsenter(self) -> list[str]:
        return ["nsenter", f"--net={self.namespace}", "--"]

    # Speaking to it

    def env(self) -> dict[str, str]:
        """This process's environment with DOCKER_HOST and a docker config of its own.

        The config is empty at first, and each process of the test session has another.
        """
        config = self.home / f"docker-config-{os.getpid()}"
        config.mkdir(exist_ok=True)
        return _base_environment() | {"DOCKER_HOST": self.url, "DOCKER_CONFIG": str(config)}

    def docker(
        self, *argv: str | Path, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> str:
        """Run a docker CLI that has BuildKit; its standard output, stripped.

        `env` comes on top of `env()`. Raises DockerFailed, whose text is what the CLI said.
        """
        command = [docker_cli(), *map(str, argv)]
        env = self.env() | (env or {})
        done = subprocess.run(
            command, input=stdin, env=env, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise DockerFailed(done.returncode, command, done.stdout, done.stderr)
        return done.stdout.strip()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the engine's HTTP API: decoded JSON, else the text. Raises OSError.

        A body that isn't bytes is sent as JSON.
        """
        headers = {}
        if body is not None and not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise OSError(f"{method} {path}: {answer.status} {text}")
        is_json = "json" in answer.headers.get("Content-Type", "")
        return json.loads(text) if is_json and text else text

    def containers(self, label: str | None = None, *, running_only: bool = False) -> list[Any]:
        """The engine's container list, raw; `label` is `key` or `key=value`."""
        filters = quote(json.dumps({"label": [label]} if label else {}))
        return list(
            self.request("GET", f"/containers/json?all={int(not running_only)}&filters={filters}")
        )

    def inspect(self, container: str) -> Any:
        return self.request("GET", f"/containers/{quote(container)}/json")

    @contextmanager
    def recorder(self) -> Iterator[Recorder]:
        """A socket in front of the engine's that writes down each request."""
        with (
            tempfile.TemporaryDirectory(prefix="rec-", dir=self.home) as directory,
            Recorder(Path(directory) / "s", self.socket) as recorder,
        ):
            yield recorder

    def make_base_image(self, name: str = BASE_IMAGE) -> str:
        """Make `name` from busybox-static, unless it's there; see `make_base_image` in lib.sh."""
        if not self.request(
            "GET", f"/images/json?filters={quote(json.dumps({'reference': [name]}))}"
        ):
            script = '. "$1"; make_base_image "$2"'
            argv = ["bash", "-euc", script, "make_base_image", str(LIBRARY), name]
            self.run_inside(argv, env=self.env() | {"DOCKER": docker_cli()})
        return name

    def discard(self, word: str) -> None:
        """Remove containers, networks and volumes whose name begins with `word` or that carry it
        as a label's value."""
        containers = [
            f"/containers/{entry['Id']}?force=1&v=1"
            for entry in self.containers()
            if _mentions(word, [name.lstrip("/") for name in entry["Names"]], entry)
        ]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._delete, containers))
        for entry in self.request("GET", "/networks"):
            if _mentions(word, [entry["Name"]], entry):
                self._delete(f"/networks/{entry['Id']}")
        for entry in self.request("GET", "/volumes")["Volumes"] or []:
            if _mentions(word, [entry["Name"]], entry):
                self._delete(f"/volumes/{quote(entry['Name'])}?force=1")

    def _delete(self, path: str) -> None:
        """A network whose endpoints the engine has miscounted stays until the engine goes."""
        with suppress(TimeoutError):
            system.wait_until(lambda: self._is_deleted(path), 5)

    def _is_deleted(self, path: str) -> bool:
        try:
            self.request("DELETE", path)
        except OSError as error:
            if "has active endpoints" in str(error):
                self._disconnect_all(path)
                return False
            if " 404 " not in str(error):
                raise
        return True

    def _disconnect_all(self, network: str) -> None:
        """What was removed in the middle of its start may stay connected for ever."""
        for endpoint in self.request("GET", network)["Containers"].values():
            with suppress(DockerFailed):  # it has just gone by itself
                self.docker("network", "disconnect", "-f", Path(network).name, endpoint["Name"])


class DockerFailed(subprocess.CalledProcessError):
    """A docker CLI call that failed; its text carries what the CLI said."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stdout or ''}{self.stderr or ''}"


def _mentions(word: str, names: list[str], entry: Any) -> bool:
    labels = entry.get("Labels") or {}
    return any(name.startswith(word) for name in names) or word in labels.values()


def _base_environment() -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    return own | {"PATH": f"{os.environ.get('PATH', os.defpath)}:{SBIN}"}


def _less_garbage() -> dict[str, str]:
    """An engine starts itself three times for each container, and collects garbage in most of the
    time that this takes. Where many tests share two cores it needs not; what is measured has none
    beside it, and an engine as users have it."""
    return {"GOGC": "400"} if "PYTEST_XDIST_WORKER" in os.environ else {}


@cache
def docker_cli() -> str:
    """The path of a docker CLI that can use BuildKit; the first of PATH where none can."""
    found = [f"{folder}/docker" for folder in [*os.environ["PATH"].split(":"), "/usr/bin"]]
    found = [path for path in dict.fromkeys(found) if os.access(path, os.X_OK)]
    return next((path for path in found if _has_buildkit(path)), found[0])


def _has_buildkit(cli: str) -> bool:
    version = system.run(cli, "--version").split()[2]
    return int(version.split(".")[0]) < 23 or bool(
        system.run(cli, "buildx", "version", check=False)
    )


def why_no_engine(tools: Sequence[str] = TEST_TOOLS) -> str:
    """Why no private engine can be started here, and what to do; "" where one can."""
    if os.geteuid():
        return NEEDS_ROOT
    search = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    missing = [tool for tool in tools if not shutil.which(tool, path=search)]
    return NEEDS_PACKAGES.format(missing=", ".join(missing)) if missing else ""


# Homes, and what is left of them


def _homes() -> Path:
    """Where engines' directories are; short, as a unix socket's path has 107 characters."""
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) < 40 else Path("/tmp")


def _make_home(owner: int) -> Path:
    for number in itertools.count():
        home = _homes() / f"{PREFIX}{owner}-{number}"
        try:
            home.mkdir(mode=0o755)
        except FileExistsError:
            continue
        (home / "owner").write_text(system.identity(owner))
        return home
    raise AssertionError("unreachable")


def _has_owner(home: Path) -> bool:
    """Whether the process that `home` was made for still lives."""
    pid = int(home.name.removeprefix(PREFIX).split("-")[0])
    try:
        recorded = (home / "owner").read_text()
    except OSError:  # being made, or being removed
        return system.is_alive(pid)
    return system.identity(pid) == recorded or (not recorded and system.is_alive(pid))


def reap_orphans() -> list[Path]:
    """Remove all that test sessions left whose owner is dead; what was removed."""
    orphans = [home for home in _homes().glob(f"{PREFIX}[0-9]*-[0-9]*") if not _has_owner(home)]
    for home in orphans:
        remove_home(home)
    return orphans


def remove_owned(owner: int) -> None:
    """Remove all that was made for a process, those that are using it included."""
    while homes := sorted(_homes().glob(f"{PREFIX}{owner}-[0-9]*")):
        for home in homes:
            remove_home(home)


def remove_home(home: Path) -> None:
    """Remove a home, and everything that was started for it. Safe to call twice, and at once."""
    try:
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _remove_home(home)
    finally:
        os.close(descriptor)


def _remove_home(home: Path) -> None:
    shim_sockets = _shim_sockets(home)
    while doomed := _processes_of(home):
        system.kill_all(doomed)
    system.remove_control_group(home.name)
    for path in shim_sockets:
        path.unlink(missing_ok=True)
    system.remove_directory(home)


def _processes_of(home: Path) -> set[int]:
    roots = _mentioning(home) | system.pids_in_namespace(home / "net")
    roots |= system.pids_in_control_group(home.name)
    living = {pid for pid in system.with_descendants(roots) if system.is_alive(pid)}
    return living - system.own_line()


def _mentioning(home: Path) -> set[int]:
    return {pid for pid in system.pids() if f"{home}/" in system.command_line(pid)} - {os.getpid()}


def _shim_sockets(home: Path) -> list[Path]:
    """Sockets outside of `home` that containerd's shims would have removed at a peaceful end."""
    addresses = (home / "exec/containerd").glob("daemon/io.containerd.runtime.v2.task/*/*/address")
    return [Path(file.read_text().strip().removeprefix("unix://")) for file in addresses]


def _read_pid(file: Path) -> int:
    try:
        pid = int(file.read_text())
    except (OSError, ValueError):
        return 0
    return pid if system.is_alive(pid) else 0


def _start_for(owner: int) -> None:
    engine = PrivateEngine.create(owner)
    try:
        engine.start()
    except BaseException:
        engine.remove()
        raise
    print(engine.home)


def main(argv: list[str]) -> None:
    match argv:
        case ["start", owner]:
            _start_for(int(owner))
        case ["remove", home]:
            remove_home(Path(home))
        case ["reap"]:
            for home_path in reap_orphans():
                print(f"removed {home_path}, left by a process that is gone", file=sys.stderr)
        case _:
            sys.exit("usage: python3 -m tests.support.engine start PID | remove DIRECTORY | reap")


if __name__ == "__main__":
    main(sys.argv[1:])
