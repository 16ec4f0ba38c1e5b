"""Pushing to and pulling from real registries, and from what only listens."""

import base64
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.errors import (
    Cancelled,
    DeployError,
    DiskFull,
    EngineUnavailable,
    PushError,
    ReconcilerError,
    RegistryUnavailable,
    SourceError,
)
from reconciler.host.engine import Engine
from reconciler.host.images import (
    Transfer,
    _pull_error,
    _push_error,
    encode_auth,
    image_id_of,
    pull_image,
    push_image,
)
from reconciler.host.job import Job
from reconciler.host.stream import Refusal
from tests.support import system
from tests.support.engine import PrivateEngine
from tests.support.registry import PrivateRegistry


@pytest.fixture
def api(engine: PrivateEngine) -> Engine:
    return Engine(engine.url)


@pytest.fixture
def image_id(api: Engine) -> str:
    found = image_id_of(api, "busybox:stable")
    assert found
    return found


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def job(lines: list[str]) -> Job:
    return Job("shop/api", log=lines.append)


def login(registry: PrivateRegistry) -> dict[str, str]:
    return {"username": registry.user, "password": registry.password}


class Silent:
    """A registry that says who it is, and not a word when it is asked for more."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.asked = threading.Event()
        self.closing = False
        self.accepting = threading.Thread(target=self._accept)
        self.accepting.start()

    def _accept(self) -> None:
        while not self.closing:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65536):
                if request.startswith(b"GET /v2/ "):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                elif request.startswith(b"\x16"):  # TLS; the engine tries http next
                    return
                else:
                    self.asked.set()

    def close(self) -> None:
        self.closing = True
        with socket.create_connection(self.listener.getsockname()):
            self.accepting.join(10)
        self.listener.close()


def test_push_and_pull_by_digest(
    api: Engine, image_id: str, job: Job, lines: list[str], registry: PrivateRegistry, project: str
) -> None:
    repository = f"{registry.address}/{project}/api"
    digest = push_image(api, (image_id, repository, "1.0"), None, job)
    assert digest == registry.digest(f"{project}/api", "1.0")
    assert 2 <= len(lines) <= 5
    assert pull_image(api, f"{repository}@{digest}", None, job) == image_id
    assert push_image(api, (image_id, repository, "1.0"), None, job) == digest
    assert registry.tags(f"{project}/api") == ["1.0"]


def test_pull_what_is_not_here(
    api: Engine, job: Job, engine: PrivateEngine, registry: PrivateRegistry, project: str
) -> None:
    made = engine.docker("commit", engine.docker("create", "busybox:stable"), f"{project}:x")
    digest = registry.put(project, "2.0", made)
    engine.docker("rmi", f"{project}:x")
    assert image_id_of(api, made) is None
    for reference in (f"{project}:2.0", f"{project}@{digest}"):
        assert pull_image(api, f"{registry.address}/{reference}", None, job) == made


def test_pull_by_digest_of_what_is_here_asks_nobody(
    api: Engine, image_id: str, job: Job, make_registry: Callable[..., PrivateRegistry],
    engine: PrivateEngine, project: str,
) -> None:  # fmt: skip
    registry = make_registry(engine)
    digest = push_image(api, (image_id, f"{registry.address}/{project}", "1"), None, job)
    registry.stop()
    assert pull_image(api, f"{registry.address}/{project}@{digest}", None, job) == image_id
    with pytest.raises(RegistryUnavailable):
        pull_image(api, f"{registry.address}/{project}:1", None, job)


def test_push_and_pull_with_a_login(
    api: Engine, image_id: str, job: Job, registry_auth: PrivateRegistry, project: str
) -> None:
    repository = f"{registry_auth.address}/{project}"
    digest = push_image(api, (image_id, repository, "1"), login(registry_auth), job)
    assert digest == registry_auth.digest(project, "1")
    assert pull_image(api, f"{repository}:1", login(registry_auth), job) == image_id


@pytest.mark.parametrize("auth", [None, {"username": "deployer", "password": "battery-staple"}])
def test_push_and_pull_refused_credentials(
    api: Engine, image_id: str, job: Job, lines: list[str], registry_auth: PrivateRegistry,
    project: str, auth: dict[str, str] | None,
) -> None:  # fmt: skip
    repository = f"{registry_auth.address}/{project}"
    with pytest.raises(RegistryUnavailable, match="can't be pushed") as pushed:
        push_image(api, (image_id, repository, "1"), auth, job)
    with pytest.raises(RegistryUnavailable, match="can't be pulled") as pulled:
        pull_image(api, f"{repository}:2", auth, job)
    for caught in (pushed, pulled):
        assert caught.value.app == "shop/api"
        assert "credentials" in caught.value.todo
        assert "battery" not in str(caught.value)
    assert "battery" not in "\n".join(lines)


def test_push_and_pull_registry_is_down(api: Engine, image_id: str, job: Job, project: str) -> None:
    with pytest.raises(RegistryUnavailable, match="connection refused"):
        push_image(api, (image_id, f"127.0.0.1:9/{project}", "1"), None, job)
    with pytest.raises(RegistryUnavailable, match="connection refused"):
        pull_image(api, f"127.0.0.1:9/{project}:1", None, job)


def test_pull_what_the_registry_does_not_have(
    api: Engine, job: Job, registry: PrivateRegistry, project: str
) -> None:
    for reference in (f"{project}:none", f"{project}@sha256:{'0' * 64}", project):
        with pytest.raises(SourceError, match=f"{project}.* can't be pulled"):
            pull_image(api, f"{registry.address}/{reference}", None, job)


def test_push_what_is_not_here(api: Engine, job: Job, registry: PrivateRegistry) -> None:
    with pytest.raises(DeployError, match="No such image"):
        push_image(api, ("sha256:" + "0" * 64, f"{registry.address}/x", "1"), None, job)


class Slow:
    """In front of a registry: two megabytes a second, in both directions."""

    def __init__(self, registry: PrivateRegistry) -> None:
        self.target = ("127.0.0.1", registry.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets: list[socket.socket] = []
        self.passed = 0
        self.open = 0
        self.closing = False
        self.accepting = threading.Thread(target=self._accept)
        self.accepting.start()

    def _accept(self) -> None:
        while not self.closing:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            self.sockets += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        self.open += 1
        try:
            while piece := source.recv(32 << 10):
                target.sendall(piece)
                self.passed += len(piece)
                time.sleep(len(piece) / (2 << 20))
        except OSError:
            pass
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.open -= 1

    def close(self) -> None:
        self.closing = True
        with socket.create_connection(self.listener.getsockname()):
            self.accepting.join(10)
        for each in (self.listener, *self.sockets):
            each.close()


@pytest.fixture
def slow(registry: PrivateRegistry) -> Iterator[Slow]:
    proxy = Slow(registry)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_cancel_of_a_transfer(
    engine: PrivateEngine, job: Job, slow: Slow, registry: PrivateRegistry, project: str,
    tmp_path: Path, verb: str,
) -> None:  # fmt: skip
    """The engine gives it up as well, rather than moving gigabytes for nobody."""
    api = Engine(engine.url)
    (tmp_path / "large").write_bytes(os.urandom(40 << 20))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY large /\n")
    image_id = engine.docker("build", "-q", "-t", f"{project}:1", str(tmp_path))

    def call() -> str:
        if verb == "push":
            return push_image(api, (image_id, f"{slow.address}/{project}", "1"), None, job)
        return pull_image(api, f"{slow.address}/{project}:1", None, job)

    if verb == "pull":
        registry.put(project, "1", f"{project}:1")
        engine.docker("rmi", f"{project}:1")
        engine.docker("builder", "prune", "-af")
    with ThreadPoolExecutor() as pool:
        future = pool.submit(call)
        system.wait_until(lambda: slow.passed > 1 << 20 or future.done())
        asked = time.monotonic()
        job.cancel.cancel(Cancelled("enough"))
        with pytest.raises(Cancelled, match="enough"):
            future.result(10)
    assert time.monotonic() - asked < 0.5
    before = slow.passed
    system.wait_until(lambda: slow.open == 0 or slow.passed > before + (8 << 20), 10)
    assert slow.open == 0


def test_push_engine_killed_in_the_middle(own_engine: PrivateEngine, job: Job) -> None:
    api = Engine(own_engine.url)
    silent = Silent()
    image = (image_id_of(api, "busybox:stable") or "", f"{silent.address}/x", "1")
    with ThreadPoolExecutor() as pool:
        future = pool.submit(push_image, api, image, None, job)
        assert silent.asked.wait(20)
        own_engine.kill()
        with pytest.raises(EngineUnavailable):
            future.result(10)
    silent.close()


def test_pull_onto_a_full_disk(
    make_engine: Callable[..., PrivateEngine], make_registry: Callable[..., PrivateRegistry],
    job: Job, project: str, tmp_path: Path,
) -> None:  # fmt: skip
    small = make_engine()
    small.stop()
    data = small.home / "data"
    system.unmount_below(data)
    system.run("mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", data)
    small.start_once()
    large = "FROM busybox:stable\nRUN head -c 60000000 /dev/zero >/large\n"
    (tmp_path / "Dockerfile").write_text(large)
    made = small.docker("build", "-q", str(tmp_path))
    registry = make_registry(small)
    registry.put(project, "1", made)
    small.docker("builder", "prune", "-af")
    space = os.statvfs(data)
    with (data / "fill").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_bsize - 20_000_000)
    with pytest.raises(DiskFull, match="disk is full"):
        pull_image(Engine(small.url), f"{registry.address}/{project}:1", None, job)


def test_auth_header() -> None:
    assert json.loads(base64.urlsafe_b64decode(encode_auth(None))) == {}
    auth = {"username": "me", "password": "p?>~ü"}
    assert json.loads(base64.urlsafe_b64decode(encode_auth(auth))) == auth


def test_transfer_many_messages_few_lines(lines: list[str]) -> None:
    transfer = Transfer(lines.append, "pushing")
    for current in range(1000):
        detail = {"current": current, "total": 2000}
        transfer.take({"status": "Pushing", "progressDetail": detail, "id": "abc"})
    assert lines == []
    transfer._told_at -= 60
    transfer.take({"progressDetail": {"current": 9e6, "total": 8e6}, "id": "def"})
    assert lines == ["pushing: 8.0 of 8.0 MB"]
    transfer.take({"status": "Pushed", "progressDetail": {}, "id": "abc"})
    transfer.take({"status": "Waiting", "progressDetail": {}, "id": "def"})
    assert lines[1:] == ["abc: Pushed"]


@pytest.mark.parametrize(
    ("make_error", "text", "kind"),
    [
        (_push_error, "denied: requested access to the resource is denied", PushError),
        (_push_error, "unauthorized: authentication required", RegistryUnavailable),
        (_push_error, "unexpected HTTP status: 503 Service Unavailable", RegistryUnavailable),
        (_push_error, "Get https://r/v2/: x509: unknown authority", RegistryUnavailable),
        (_push_error, "server gave HTTP response to HTTPS client", RegistryUnavailable),
        (_push_error, "name invalid: invalid repository name", PushError),
        (_push_error, "write /x: no space left on device", DiskFull),
        (_pull_error, "pull access denied for x, repository does not exist", SourceError),
        (_pull_error, "no matching manifest for linux/arm64 in the manifest list", SourceError),
        (_pull_error, "toomanyrequests: You have reached your rate limit", RegistryUnavailable),
        (_pull_error, "net/http: TLS handshake timeout", RegistryUnavailable),
        (_pull_error, "failed to register layer: no space left on device", DiskFull),
    ],
)  # fmt: skip
def test_registry_errors_by_their_words(
    make_error: Callable[[Refusal, str, str], ReconcilerError], text: str, kind: type
) -> None:
    error = make_error(Refusal(text), "r.example.com/api:1", "shop/api")
    assert type(error) is kind
    assert error.app == "shop/api"
    assert error.todo
