"""Sending an image from one real engine to another, and what may come in between."""

from __future__ import annotations

import random
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from reconciler.errors import Cancelled, DeployError, EngineUnavailable, ReconcilerError
from reconciler.host.engine import Engine
from reconciler.host.images import image_id_of
from reconciler.host.job import Cancellation, Job
from reconciler.host.travel import Parcel, send_image
from tests.support import system
from tests.support.engine import PrivateEngine
from tests.support.sshd import SshHost

SIZE = 24_000_000


@pytest.fixture
def image_id(engine: PrivateEngine, tmp_path: Path, project: str) -> Iterator[str]:
    """An image of its own, of one layer that can't be made smaller."""
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(f"{project}.bin")
        member.size = SIZE
        archive.addfile(member, BytesIO(random.Random(project).randbytes(SIZE)))
    found = engine.docker("import", str(path), f"{project}/big:1")
    yield found
    engine.docker("rmi", f"{project}/big:1")


@pytest.fixture
def source(engine: PrivateEngine) -> Engine:
    return Engine(engine.url)


class Narrow:
    """A socket in front of another that lets only some bytes through, then none until it ends."""

    def __init__(self, path: Path, upstream: Path, most: int) -> None:
        self.url = f"unix://{path}"
        self.full = threading.Event()
        self._upstream = upstream
        self._most = most
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._upstream))
            self._open += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        passed = 0
        try:
            while piece := source.recv(65536):
                passed += len(piece)
                if passed > self._most:
                    self.full.set()
                    return
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def end(self) -> None:
        """Hang up, on both sides."""
        for one in self._open:
            with one:
                _shut(one)
        _shut(self._listener)
        self._listener.close()


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def start(parcel: Parcel, source: Engine, target: Engine, job: Job) -> list[ReconcilerError]:
    """Send it in another thread; what was raised appears in the list."""
    raised: list[ReconcilerError] = []

    def send() -> None:
        try:
            send_image(parcel, source, target, job)
        except ReconcilerError as error:
            raised.append(error)

    threading.Thread(target=send, daemon=True).start()
    return raised


def test_image_arrives_over_ssh_under_its_id(
    source: Engine, image_id: str, ssh_host: SshHost
) -> None:
    lines: list[str] = []
    target = Engine(ssh_host.access)
    try:
        parcel = Parcel(image_id, SIZE, "local", "web1")
        send_image(parcel, source, target, Job("shop/api", log=lines.append))
        assert image_id_of(target, image_id) == image_id
    finally:
        ssh_host.engine.docker("rmi", image_id)
        target.close()
    assert lines[0] == "sending 24.0 MB from local to web1"
    assert lines[-1].startswith("sent 24.")
    assert lines[-1].endswith("MB/s")


def test_cancel_in_the_middle(
    source: Engine, image_id: str, ssh_host: SshHost, tmp_path: Path
) -> None:
    narrow = Narrow(tmp_path / "s", ssh_host.engine.socket, SIZE // 2)
    cancel = Cancellation()
    parcel = Parcel(image_id, SIZE, "local", "web1")
    raised = start(parcel, source, Engine(narrow.url), Job("shop/api", cancel=cancel))
    assert narrow.full.wait(30)
    asked = time.monotonic()
    cancel.cancel(Cancelled("cancelled by hand"))
    system.wait_until(lambda: raised, 5)
    assert time.monotonic() - asked < 1.0
    assert isinstance(raised[0], Cancelled)
    narrow.end()
    assert image_id_of(Engine(ssh_host.engine.url), image_id) is None


@pytest.mark.parametrize("side", ["sends", "gets"])
def test_one_side_goes_away_in_the_middle(
    source: Engine, image_id: str, ssh_host: SshHost, tmp_path: Path, side: str
) -> None:
    upstream = Path(source.access.socket_path) if side == "sends" else ssh_host.engine.socket
    narrow = Narrow(tmp_path / "s", upstream, SIZE // 2)
    target = Engine(ssh_host.engine.url)
    ends = (Engine(narrow.url), target) if side == "sends" else (source, Engine(narrow.url))
    raised = start(Parcel(image_id, SIZE, "local", "web1"), *ends, Job("shop/api"))
    assert narrow.full.wait(30)
    narrow.end()
    system.wait_until(lambda: raised, 10)
    (error,) = raised
    assert isinstance(error, EngineUnavailable)
    assert narrow.url in error.what
    assert ("while it sent" in error.what) == (side == "sends")
    assert image_id_of(target, image_id) is None


def test_image_that_the_sender_does_not_have(source: Engine, ssh_host: SshHost) -> None:
    parcel = Parcel("sha256:" + "0" * 64, SIZE, "local", "web1")
    with pytest.raises(DeployError, match="the engine of local says: "):
        send_image(parcel, source, Engine(ssh_host.engine.url), Job("shop/api"))
