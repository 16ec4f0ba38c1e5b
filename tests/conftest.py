"""Fixtures, and the network namespace that the whole session runs in.

The session, with its xdist workers and every process that a test starts, is in a network
namespace of its own. One private Docker engine is in it too; it's started when the first test
asks for it and shared by the workers. So a test reaches published ports on 127.0.0.1,
containers by their address, and the registry; and nothing of the host's is touched.
As tests run side by side on that engine, use names of your own: `project` gives one.

    def test_page_answers(engine, project, wait_until):
        engine.docker("run", "-d", "--name", f"{project}-web", "busybox:stable", "httpd", "-f")

    engine         PrivateEngine: .url .socket .env() .docker(*argv) -> str .request(method, path)
                   .containers(label=None) .inspect(id) .recorder() .make_base_image(name)
                   `busybox:stable` is there. Don't stop this one: others use it.
    own_engine     a PrivateEngine for this test alone, to .kill() .start() .stop() .restart() or
                   fill; the test is in *its* namespace until it ends. The function
                   `make_engine(config={"live-restore": True})` makes one with settings.
    docker_env     DOCKER_HOST and DOCKER_CONFIG are set in this process to reach `engine`
    project        a name of its own; what carries it on `engine` is removed after the test
    registry       PrivateRegistry, open: .address .url .tags(repo) .digest(repo, tag)
                   .put(repo, tag, local_image) -> digest .stop() .start()
    registry_auth  the same, wanting .user and .password; .login()
    make_registry  a registry for this test alone: make_registry(engine, user="")
    swarm          Swarm of three nodes, see tests/support/swarm.py; nothing breaks it meanwhile.
                   `broken_swarm` is the same for a test that breaks it: nobody else uses it.
    ssh_host       SshHost: another machine with an engine and sshd, at the end of a cable:
                   .access for `Engine`, .engine (a PrivateEngine), .address. Others use it, too:
                   `engine_by_ssh` is an `Engine` on it, open for the session.
                   `make_ssh_host()` makes one to .stop_sshd() or .cut(); it forwards to `engine`
    tls_engine     TlsEngine, which listens on TCP and wants certificates: .access .anonymous
                   .by(authority); the test is in its namespace
    git_repo       git_repo("name") -> GitRepo: .path .url .commit({path: text}) -> sha
                   .tag(name) .branch(name) .switch(name) .write({...}) .head .git(*argv)
    state_dir      an empty directory for the program's state
    wait_until     wait_until(condition, timeout=10, message="") -> the condition's true answer

    with engine.recorder() as recorder:      # put recorder.url into DOCKER_HOST
        ...
    assert recorder.writes == []             # .requests has "GET /v1.41/containers/json" too

`sleep`, `sh` and `httpd` as a container's first process ignore TERM, so stopping them, and stopping
or restarting an engine that runs them, takes the stop timeout: give them `--stop-timeout 1`, or
`--stop-signal KILL`.

A test that holds something to a time, which others beside it would spoil, is marked `alone`.
Tests that ask for an engine or a registry get the marker `engine`, and need root.

`--long` gives tests that do things at random, for some seconds, their full length; `--seed N`
makes them do the same again.
"""

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.host.engine import Engine
from tests.support import system
from tests.support.engine import OWNER, PrivateEngine, reap_orphans, remove_owned, why_no_engine
from tests.support.gitrepo import GitRepo
from tests.support.registry import PrivateRegistry
from tests.support.sshd import SshHost
from tests.support.swarm import Swarm, open_swarm
from tests.support.tls import TlsEngine

HOME = "RECONCILER_TEST_HOME"
OUTSIDE = "RECONCILER_TEST_OUTSIDE"
"""The namespace that the session was started in, as a path: what needs the internet runs there."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="ten minutes for the soak test; and the daemon's image"
    )
    parser.addoption("--seed", type=int, default=0, help="what the soak test does is drawn from it")


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Make the session's namespace, or enter the one that the controller made."""
    if not _is_worker(config):
        signal.signal(signal.SIGTERM, _interrupt)
        if not why_no_engine():
            reap_orphans()
            os.environ[OWNER] = str(os.getpid())
            os.environ[HOME] = str(PrivateEngine.create().home)
            before = os.open("/proc/self/ns/net", os.O_RDONLY)
            os.environ[OUTSIDE] = f"/proc/{os.getpid()}/fd/{before}"
    if HOME in os.environ:
        system.enter_namespace(PrivateEngine(Path(os.environ[HOME])).namespace)


def _interrupt(number: int, frame: object) -> None:
    """End the session in order; once, as signals often come to the process and to its group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config) and HOME in os.environ:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        del os.environ[HOME]
        os.close(int(os.environ.pop(OUTSIDE).rpartition("/")[2]))
        remove_owned(int(os.environ.pop(OWNER)))
        reap_orphans()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.long:
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    for item in items:
        if {"shared_home", "make_engine"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("engine")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse the whole session where it can't run, rather than fail each test.

    xdist's workers have no way to say so: there, each test fails.
    """
    if session.config.option.collectonly or _is_worker(session.config):
        return
    if (why := why_no_engine()) and any(i.get_closest_marker("engine") for i in session.items):
        pytest.exit(why, returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def shared_home() -> Path:
    if HOME not in os.environ:
        pytest.fail(why_no_engine(), pytrace=False)
    return Path(os.environ[HOME])


@pytest.fixture(scope="session")
def engine(shared_home: Path) -> PrivateEngine:
    shared = PrivateEngine(shared_home)
    shared.start_once()
    return shared


@pytest.fixture
def docker_env(engine: PrivateEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("DOCKER_HOST", "DOCKER_CONFIG"):
        monkeypatch.setenv(key, engine.env()[key])


@pytest.fixture
def make_engine() -> Iterator[Callable[..., PrivateEngine]]:
    made: list[PrivateEngine] = []

    def make(**settings: Any) -> PrivateEngine:
        made.append(PrivateEngine.create(**settings))
        made[-1].start_once()
        return made[-1]

    yield make
    for each in made:
        each.remove()


@pytest.fixture
def own_engine(make_engine: Callable[..., PrivateEngine]) -> Iterator[PrivateEngine]:
    own = make_engine()
    with own.inside():
        yield own


@pytest.fixture
def project(engine: PrivateEngine) -> Iterator[str]:
    name = f"t{secrets.token_hex(4)}"
    yield name
    engine.discard(name)


@pytest.fixture(scope="session")
def registry(engine: PrivateEngine) -> PrivateRegistry:
    return PrivateRegistry(engine).start()


@pytest.fixture(scope="session")
def registry_auth(engine: PrivateEngine) -> PrivateRegistry:
    return PrivateRegistry(engine, user="deployer").start()


@pytest.fixture
def make_registry() -> Iterator[Callable[..., PrivateRegistry]]:
    made: list[PrivateRegistry] = []

    def make(engine: PrivateEngine, user: str = "", host: str = "127.0.0.1") -> PrivateRegistry:
        made.append(PrivateRegistry(engine, user, host).start())
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture(scope="session")
def any_swarm(shared_home: Path) -> Swarm:
    return open_swarm(shared_home)


@pytest.fixture
def swarm(any_swarm: Swarm) -> Iterator[Swarm]:
    with any_swarm.shared():
        yield any_swarm


@pytest.fixture
def broken_swarm(any_swarm: Swarm) -> Iterator[Swarm]:
    with any_swarm.alone():
        yield any_swarm


@pytest.fixture(scope="session")
def ssh_host(shared_home: Path) -> SshHost:
    return SshHost.shared(shared_home)


@pytest.fixture(scope="session")
def engine_by_ssh(ssh_host: SshHost) -> Iterator[Engine]:
    with closing(Engine(ssh_host.access)) as engine:
        yield engine


@pytest.fixture
def make_ssh_host(engine: PrivateEngine) -> Iterator[Callable[..., SshHost]]:
    made: list[SshHost] = []

    def make() -> SshHost:
        made.append(SshHost.create(engine))
        return made[-1]

    yield make
    for each in made:
        each.remove()


@pytest.fixture(scope="session")
def tls_home(shared_home: Path) -> Iterator[TlsEngine]:
    made = TlsEngine()
    yield made
    made.engine.remove()


@pytest.fixture
def tls_engine(tls_home: TlsEngine) -> Iterator[TlsEngine]:
    with tls_home.engine.inside():
        yield tls_home


@pytest.fixture
def git_repo(tmp_path: Path) -> Callable[[str], GitRepo]:
    def make(name: str = "repo") -> GitRepo:
        return GitRepo(tmp_path / "git" / name)

    return make


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return system.wait_until
