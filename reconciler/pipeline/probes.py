"""Ways to ask a container whether it works. Each asks once and says what it was told.

A container is asked at its own address. Where that can't be reached from here (an engine in a
virtual machine, or elsewhere) at the published port, and where there is none, from inside. The
published port is not the first choice: docker-proxy accepts connections for a container that
listens on nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from reconciler.host.wire import BrokenOff, Wire
from reconciler.runtime.base import Instance, InstanceState
from reconciler.spec.models import HttpCheck
from reconciler.values import frozen

CONNECT_SECONDS = 0.5
"""An address on this machine accepts or refuses within a millisecond; more means out of reach."""
ANSWER_SECONDS = 10.0
COMMAND_SECONDS = 30.0
_PROXY_SILENCE_SECONDS = 0.2
_NOT_RUNNABLE = frozenset({126, 127})
_FIRST_SIGNAL = 129
_FIRST_ERROR_STATUS = 400
_HEADERS = {"Host": "localhost", "User-Agent": "reconciler", "Accept": "*/*"}

Kind = Literal["ok", "failed", "refused", "unreachable"]


@frozen
class Answer:
    """`said` completes the sentence that the probe's name begins: `GET :80/ answered 200`."""

    kind: Kind
    said: str


class Probe(Protocol):
    """`name` begins a sentence. `port` is what it needs somebody to listen on, 0 for none."""

    name: str
    port: int

    def ask(self, state: InstanceState) -> Answer:
        """Ask once. Never raises for what the container does."""


Ask = Callable[[str, int, bool], Answer]
"""(host, port, whether docker-proxy may stand before it) → answer"""


@dataclass
class _Reach:
    """Which way leads to a container's port. Those that lead nowhere aren't tried again, until
    the container is restarted, as it may have been away."""

    ask: Ask
    inside: Callable[[], Answer]
    port: int
    _skipped: set[tuple[str, int]] = field(default_factory=set)
    _restarts: int = 0

    def try_ways(self, state: InstanceState) -> Answer:
        """The first answer by a way that isn't known to lead nowhere."""
        if state.restarts != self._restarts:
            self._restarts = state.restarts
            self._skipped.clear()
        ways = [(address, self.port, False) for address in state.addresses]
        if self.port in state.published:
            ways.append((*state.published[self.port], True))
        for host, port, proxied in ways:
            if (host, port) not in self._skipped:
                answer = self.ask(host, port, proxied)
                if answer.kind != "unreachable":
                    return answer
                self._skipped.add((host, port))
        answer = self.inside()
        if answer.kind == "unreachable":
            self._skipped.clear()
        return answer


class HttpProbe:
    """A GET that is answered with a status below 400. Redirects aren't followed."""

    def __init__(self, instance: Instance, check: HttpCheck) -> None:
        self.port = check.port
        self.name = f"GET :{check.port}{check.path}"
        self._instance = instance
        self._path = check.path
        self._reach = _Reach(self._get, self._get_inside, check.port)

    def ask(self, state: InstanceState) -> Answer:
        """One GET, with `Host: localhost`."""
        return self._reach.try_ways(state)

    def _get(self, host: str, port: int, proxied: bool) -> Answer:
        try:
            connection = self._instance.dial(host, port, CONNECT_SECONDS)
        except OSError as error:
            return _not_connected(error)
        connection.settimeout(ANSWER_SECONDS)
        wire = Wire(connection)
        try:
            head = wire.ask("GET", self._path, _HEADERS, None)
            return _judge(head.status, wire)
        except OSError as error:
            return _no_answer(error, proxied)
        finally:
            wire.close()

    def _get_inside(self) -> Answer:
        url = f"http://127.0.0.1:{self.port}{self._path}"
        limit = f"{ANSWER_SECONDS:g}"
        for argv in (
            ("wget", "-q", "-O", "/dev/null", "-T", limit, "--", url),
            ("curl", "-fsS", "-o", "/dev/null", "-m", limit, "--", url),
        ):
            code, output = self._instance.execute(argv, COMMAND_SECONDS)
            if code == 0:
                return Answer("ok", f"answered {argv[0]} inside of the container")
            if code not in _NOT_RUNNABLE and code < _FIRST_SIGNAL:
                said = _first_line(output) or f"{argv[0]} exited with {code}"
                return Answer("failed", f"failed inside of the container: {said}")
        return _out_of_reach(self.port)


class TcpProbe:
    """A connection that is accepted."""

    def __init__(self, instance: Instance, port: int) -> None:
        self.port = port
        self.name = f"TCP :{port}"
        self._instance = instance
        self._reach = _Reach(self._connect, self._look_inside, port)

    def ask(self, state: InstanceState) -> Answer:
        """One connection, closed at once."""
        return self._reach.try_ways(state)

    def _connect(self, host: str, port: int, proxied: bool) -> Answer:
        try:
            connection = self._instance.dial(host, port, CONNECT_SECONDS)
        except OSError as error:
            return _not_connected(error)
        with connection:
            if proxied and _is_hung_up(connection):
                return Answer("refused", "refused the connection")
        return Answer("ok", "accepted a connection")

    def _look_inside(self) -> Answer:
        listening = self._instance.listening()
        if not listening:
            return _out_of_reach(self.port)
        if any(port == self.port for _, port in listening):
            return Answer("ok", "is listened on")
        return Answer("refused", "refused the connection")


class CommandProbe:
    """A command in the container that exits with 0."""

    port = 0

    def __init__(self, instance: Instance, argv: tuple[str, ...], name: str) -> None:
        self.name = name
        self._instance = instance
        self._argv = argv

    def ask(self, state: InstanceState) -> Answer:
        """Run it once."""
        if state.status != "running":
            return Answer("failed", f"could not run: the container is {state.status}")
        code, output = self._instance.execute(self._argv, COMMAND_SECONDS)
        if code == 0:
            return Answer("ok", "exited with 0")
        said = f": {_last_line(output)}" if output.strip() else ""
        return Answer("failed", f"exited with {code}{said}")


# -- what was heard --------------------------------------------------------------------------


def _judge(status: int, wire: Wire) -> Answer:
    if status < _FIRST_ERROR_STATUS:
        return Answer("ok", f"answered {status}")
    line = _first_line(wire.read_piece()[:1000].decode("utf-8", "replace"))
    return Answer("failed", f"answered {status}{f': {line}' if line else ''}")


def _not_connected(error: OSError) -> Answer:
    if isinstance(error, ConnectionRefusedError):
        return Answer("refused", "refused the connection")
    reason = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
    return Answer("unreachable", f"could not be reached: {reason}")


def _no_answer(error: OSError, proxied: bool) -> Answer:
    if isinstance(error, TimeoutError):
        return Answer("failed", f"did not answer within {ANSWER_SECONDS:g} s")
    if isinstance(error, BrokenOff) and "hung up" not in str(error):
        return Answer("failed", "answered something that isn't HTTP")
    kind: Kind = "refused" if proxied else "failed"
    return Answer(kind, "closed the connection without an answer")


def _is_hung_up(connection: socket.socket) -> bool:
    """docker-proxy accepts first, and closes when nobody listens behind it."""
    connection.settimeout(_PROXY_SILENCE_SECONDS)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False  # a server that waits for us to speak
    except OSError:
        return True


def _out_of_reach(port: int) -> Answer:
    return Answer("unreachable", f"could not be reached: port {port} isn't published")


def _first_line(text: str) -> str:
    lines = [_printable(line) for line in text.splitlines() if line.strip()]
    return lines[0] if lines else ""


def _last_line(text: str) -> str:
    lines = [_printable(line) for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _printable(line: str) -> str:
    text = "".join(character if character.isprintable() else " " for character in line).strip()
    return f"{text[:199]}…" if len(text) > 200 else text
