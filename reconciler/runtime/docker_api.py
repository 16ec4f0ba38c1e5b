"""The calls of the engine's API that running containers needs, over its socket.

Without the SDK, whose import alone takes as long as half a deployment. Paths carry no version,
so each engine's own is used; what is sent is the same from 1.41 to 1.50.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from reconciler.errors import DeployError
from reconciler.host.engine import Answer, Engine, Request, read_message
from reconciler.host.refusals import disk_full, is_disk_full

Document = Mapping[str, Any]

CALL_SECONDS = 120.0
LIST_SECONDS = 10.0
"""How long a list may take. Passes wait for it, and so does whatever is on other hosts."""
"""For one call; the engine may have to copy a volume's first content, or be short of CPU."""
_NOT_FOUND = 404
_SWARM_TASK = "com.docker.swarm.task.id"
_UPDATE_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)


class Refused(Exception):  # noqa: N818 - what happened, said by `text`, in the engine's words
    """The engine answered a call with a status of 400 or more."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text

    @property
    def is_conflict(self) -> bool:
        """A name that is taken."""
        return self.status == 409


class DockerApi:
    """Each method is one call. Raises `Refused` and `EngineUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def version(self) -> tuple[int, int]:
        """The engine's API version."""
        major, _, minor = self._send("GET", "/version").json()["ApiVersion"].partition(".")
        return int(major), int(minor)

    # -- containers --------------------------------------------------------------------------

    def list(self, label: str) -> Sequence[Document]:
        """Every container that carries `label`, running or not; newest first. Those of a Swarm's
        tasks are left out: they belong to their service."""
        filters = json.dumps({"label": [label]})
        query = {"all": "1", "filters": filters}
        answer = self._send("GET", "/containers/json", query, timeout=LIST_SECONDS)
        return [one for one in _documents(answer) if _SWARM_TASK not in one["Labels"]]

    def list_running(self, label: str = "") -> Sequence[Document]:
        """Everything that runs on the engine, or what carries `label`."""
        query = {"filters": json.dumps({"label": [label]})} if label else {}
        found = _documents(self._send("GET", "/containers/json", query))
        return [one for one in found if not label or _SWARM_TASK not in one["Labels"]]

    def inspect(self, container: str) -> Document | None:
        """All about it; None when there is none of this id or name."""
        return self._find(f"/containers/{container}/json")

    def create(self, name: str, body: Document) -> str:
        """The new container's id."""
        answer = self._send("POST", "/containers/create", {"name": name}, body)
        return str(answer.json()["Id"])

    def start(self, container: str) -> None:
        """Also when it runs already."""
        self._send("POST", f"/containers/{container}/start")

    def stop(self, container: str, grace: int) -> None:
        """Returns when it has ended: on SIGTERM, or by SIGKILL after `grace` seconds."""
        seconds = {"t": str(grace)}
        self._send("POST", f"/containers/{container}/stop", seconds, timeout=grace + CALL_SECONDS)

    def restart(self, container: str) -> None:
        """At once, without any grace."""
        self._send("POST", f"/containers/{container}/restart", {"t": "0"})

    def kill(self, container: str, signal: str) -> None:
        """Send a signal to its first process."""
        self._send("POST", f"/containers/{container}/kill", {"signal": signal})

    def rename(self, container: str, name: str) -> None:
        """Works on a running one, too."""
        self._send("POST", f"/containers/{container}/rename", {"name": name})

    def set_restart_policy(self, container: str, policy: Document) -> None:
        """`policy` as the engine's RestartPolicy document.

        Works on a running and on a stopped one; in the moment between, the engine fails.
        """
        for pause in _UPDATE_PAUSES:
            try:
                return self._update(container, policy)
            except Refused as error:
                if error.status < 500:
                    raise
            time.sleep(pause)
        return self._update(container, policy)

    def _update(self, container: str, policy: Document) -> None:
        self._send("POST", f"/containers/{container}/update", body={"RestartPolicy": policy})

    def remove(self, container: str, *, volumes: bool) -> None:
        """By force, with its anonymous volumes or without. Fine when it is gone already."""
        query = {"force": "1", "v": "1" if volumes else "0"}
        try:
            self._send("DELETE", f"/containers/{container}", query)
        except Refused as error:
            if error.status != _NOT_FOUND and "already in progress" not in error.text:
                raise

    def logs(self, container: str, count: int) -> bytes:
        """Its last `count` lines."""
        query = {"stdout": "1", "stderr": "1", "tail": str(count)}
        return demultiplex(self._send("GET", f"/containers/{container}/logs", query).body)

    def follow(self, container: str, take: Callable[[bytes], None]) -> None:
        """Give `take` what it writes to stdout and stderr, from the beginning to its end."""
        follow_output(self.engine, f"/containers/{container}/logs", take)

    def wait(self, container: str) -> int:
        """Its exit code, when it has ended. Takes as long as it takes."""
        answer = self._send("POST", f"/containers/{container}/wait", timeout=None)
        return int(answer.json()["StatusCode"])

    def execute(self, container: str, argv: Sequence[str]) -> tuple[int | None, bytes]:
        """Exit code and output of a command inside. Three calls; waits for its end."""
        wanted = {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True}
        made = self._send("POST", f"/containers/{container}/exec", body=wanted).json()["Id"]
        start = {"Detach": False, "Tty": False}
        output = self._send("POST", f"/exec/{made}/start", body=start).body
        return self._send("GET", f"/exec/{made}/json").json()["ExitCode"], demultiplex(output)

    # -- volumes -----------------------------------------------------------------------------

    def volume(self, name: str) -> Document | None:
        """All about a named volume; None when there is none."""
        return self._find(f"/volumes/{name}")

    # -- networks ----------------------------------------------------------------------------

    def networks(self, name: str) -> Sequence[Document]:
        """Those of exactly this name, oldest first; before engine 25 there may be several."""
        filters = json.dumps({"name": [name]})
        found = _documents(self._send("GET", "/networks", {"filters": filters}))
        return sorted((n for n in found if n["Name"] == name), key=lambda n: str(n["Created"]))

    def remove_network(self, network: str) -> None:
        """Refused while a container uses it."""
        self._send("DELETE", f"/networks/{network}")

    def create_network(self, name: str, labels: Mapping[str, str]) -> None:
        """A bridge. Fine when somebody else just made it."""
        body = {"Name": name, "Driver": "bridge", "CheckDuplicate": True, "Labels": dict(labels)}
        try:
            self._send("POST", "/networks/create", body=body)
        except Refused as error:
            if not error.is_conflict:
                raise

    def connect(self, network: str, container: str, endpoint: Document) -> None:
        """Join a network, started or not."""
        body = {"Container": container, "EndpointConfig": endpoint}
        self._send("POST", f"/networks/{network}/connect", body=body)

    # -- within ------------------------------------------------------------------------------

    def _find(self, path: str) -> Document | None:
        try:
            document: Document = self._send("GET", path).json()
        except Refused as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return document

    def _send(  # noqa: PLR0913, PLR0917 - what a request has
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        timeout: float | None = CALL_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        fields = {"Content-Type": "application/json"} if body is not None else {}
        fields.update(headers or {})
        data = json.dumps(body).encode() if body is not None else None
        request = Request(method, path, query or {}, fields, data)
        return self._judge(self.engine.send(request, timeout))

    def _judge(self, answer: Answer) -> Answer:
        if answer.status >= 400:
            raise Refused(answer.status, answer.message)
        return answer


def _documents(answer: Answer) -> Sequence[Document]:
    documents: Sequence[Document] = answer.json()
    return documents


def follow_output(
    engine: Engine,
    path: str,
    take: Callable[[bytes], None],
    opened: Callable[[Callable[[], None]], None] = lambda _end: None,
) -> None:
    """Give `take` what is written to the log at `path`, from the beginning to its end.

    `opened` is given what ends it before, from another thread. Raises `Refused` and
    `EngineUnavailable`.
    """
    query = {"stdout": "1", "stderr": "1", "follow": "1"}
    wire = engine.connect(CALL_SECONDS)
    try:
        wire.wait_forever()
        opened(wire.shut_down)
        head = wire.ask("GET", Request("GET", path, query).target)
        if head.status >= 400:
            raise Refused(head.status, read_message(wire.read()))
        rest = b""
        while piece := wire.read_piece():
            rest = take_frames(rest + piece, take)
    except OSError as error:
        raise engine.unavailable(str(error)) from error
    finally:
        wire.close()


def demultiplex(data: bytes) -> bytes:
    """stdout and stderr as they came. Frames: one byte stream, three zero, four length."""
    return b"".join(_frames(data))


def _frames(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        yield data[at + 8 : at + 8 + length]
        at += 8 + length


def take_frames(data: bytes, take: Callable[[bytes], None]) -> bytes:
    """Give `take` the frames that are whole; the rest, which is not."""
    while len(data) >= 8 and len(data) >= (end := 8 + int.from_bytes(data[4:8], "big")):
        take(data[8:end])
        data = data[end:]
    return data


@contextmanager
def refusals(app: str) -> Iterator[None]:
    """Nothing but errors of our tree comes out of the block: `DeployError`, `DiskFull`."""
    try:
        yield
    except Refused as error:
        if is_disk_full(error.text):
            raise disk_full(error.text, app) from error
        raise DeployError(f"the engine refused: {error.text}", app=app) from error
