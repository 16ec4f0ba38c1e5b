"""An engine behind ssh: one `ssh` for each host, which forwards the engine's socket.

    private directory/docker.sock ──ssh──▶ the host's /var/run/docker.sock

So the light requests, the SDK and the docker client all use a socket of this machine, and open no
port. Connections to the host's containers go through the same ssh (`host.mux`). It starts at the
first use and again when it has ended. It ends with us: `setpriv --pdeathsig` sends it the signal
when the *thread* that started it ends, so a thread of its own holds each ssh for all its life.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from reconciler.host.access import Access
from reconciler.host.mux import NotOpened, open_through
from reconciler.host.private import PrivateDirectory
from reconciler.host.process import die_with_parent, signal_group
from reconciler.host.ssh_words import OPEN_FAILED, explain_socket, explain_ssh
from reconciler.host.ways import Endpoint, Unreachable, connect_unix, unsupported

CONNECT_SECONDS = 10
ALIVE_SECONDS, ALIVE_TIMES = 5, 3
START_SECONDS = 20.0
"""`ConnectTimeout` ends before the login, which may hang as well."""
DIAL_SECONDS = 2.0
"""The least time for a connection from the host: it needs a way there and back first."""
_LOOK_SECONDS, _WORD_SECONDS, _ASK_SECONDS, _END_SECONDS = 0.005, 0.2, 5.0, 1.0
_LINES = 50
_HUNG_UP = ("hung up", "closed connection", "reset by peer", "Broken pipe")
_USER = re.compile(r"\w[\w.@+-]*\$?")
_HOST = re.compile(r"[\w.:%][\w.:%-]*")
_PATH = re.compile(r"/[\w/.@+-]*", re.ASCII)


class Tunnel:
    """The `Way` by ssh. May be used from several threads."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._private: PrivateDirectory | None = None
        self._link: _Link | None = None
        self._end: weakref.finalize[[], Tunnel] | None = None

    def open(self, timeout: float | None) -> socket.socket:
        """See `Way`."""
        limit = START_SECONDS if timeout is None else timeout
        link = self._ready_link(limit)
        try:
            return connect_unix(link.socket, timeout)
        except (ConnectionRefusedError, FileNotFoundError):
            link.end()  # it ended just now
        return connect_unix(self._ready_link(limit).socket, timeout)

    def dial(self, address: str, port: int, timeout: float) -> socket.socket:
        """See `Way`: from the host."""
        timeout = max(timeout, DIAL_SECONDS)
        link = self._ready_link(timeout)
        said = len(link.failures)
        try:
            return open_through(link.control, address, port, timeout)
        except (ConnectionRefusedError, FileNotFoundError):
            link.end()  # it ended just now; nobody was asked
            raise Unreachable("ssh was ended") from None
        except NotOpened as error:
            reason = link.wait_for_failure(said) or str(error)
        if "Connection refused" in reason:
            raise ConnectionRefusedError(reason)
        raise OSError(reason)

    def endpoint(self) -> Endpoint:
        """See `Way`. ssh runs when this returns."""
        return Endpoint(f"unix://{self._ready_link(START_SECONDS).socket}")

    def explain(self, reason: str) -> Unreachable:
        """See `Way`. Asks the host when it has refused its engine's socket."""
        link = self._link
        if link is None:
            return Unreachable(reason)
        hung_up = any(words in reason for words in _HUNG_UP)
        if link.ended.wait(_WORD_SECONDS if hung_up else 0):
            return explain_ssh(link.lines, self._access)
        if not hung_up or not (said := link.wait_for_failure(0)):
            return Unreachable(reason)
        if "prohibited" not in said:
            said = link.ask_about(self._access.socket_path)
        return explain_socket(said, self._access)

    def close(self) -> None:
        """End ssh and remove its files. Returns when it is gone."""
        with self._lock:
            link, self._link = self._link, None
            private, self._private = self._private, None
        if link is not None:
            link.end()
        if private is not None:
            private.close()

    def _ready_link(self, timeout: float) -> _Link:
        deadline = time.monotonic() + timeout
        with self._lock:
            if self._link is None or self._link.ended.is_set():
                self._link = self._start()
            link = self._link
        while not link.is_ready():
            now = time.monotonic()
            if link.ended.wait(_LOOK_SECONDS):
                raise explain_ssh(link.lines, self._access)
            if now > link.began + START_SECONDS:
                link.end()
                raise Unreachable(f"ssh didn't log in within {START_SECONDS:g} s")
            if now > deadline:
                raise Unreachable(f"ssh didn't connect within {timeout:g} s")
        return link

    def _start(self) -> _Link:
        check_address(self._access)
        if shutil.which("ssh") is None:
            raise Unreachable("the program 'ssh' isn't installed", "Install openssh-client.")
        if self._private is None:
            self._private = PrivateDirectory()
        private, access = self._private, self._access
        for name, text in (("key", access.ssh_key), ("known_hosts", access.known_hosts)):
            if text:
                lines = text.replace("\r\n", "\n")
                private.write(name, lines if lines.endswith("\n") else f"{lines}\n")
        link = _Link(make_argv(access, str(private.path)), private)
        if self._end is not None:
            self._end.detach()
        self._end = weakref.finalize(self, link.end)  # for whoever forgets to close
        return link


class _Link:
    """One ssh, from its start to its end."""

    def __init__(self, argv: Sequence[str], private: PrivateDirectory) -> None:
        self.socket = str(private.path / "docker.sock")
        self.control = str(private.path / "control")
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.failures: list[str] = []
        self.ended = threading.Event()
        self.began = time.monotonic()
        self._argv = argv
        self._secrets = (private.path / "key", private.path / "known_hosts")
        self._ready = False
        self._started = threading.Event()
        self._pid = 0
        for path in (self.socket, self.control):
            Path(path).unlink(missing_ok=True)
        threading.Thread(target=self._live, name="ssh", daemon=True).start()
        self._started.wait()

    def _live(self) -> None:
        try:
            with subprocess.Popen(
                [*die_with_parent(), *self._argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            ) as process:
                self._pid = process.pid
                self._started.set()
                assert process.stderr is not None  # noqa: S101 - told to Popen above
                for line in process.stderr:
                    self._hear(line.decode("utf-8", "replace").strip())
        except OSError as error:
            self._hear(error.strerror or str(error))
        finally:
            self.ended.set()
            self._started.set()

    def _hear(self, line: str) -> None:
        if found := OPEN_FAILED.search(line):
            self.failures = [*self.failures[-_LINES:], found[1]]
        else:
            self.lines.append(line)

    def is_ready(self) -> bool:
        """Whether it has logged in and forwards. Its keys aren't needed as files from then on."""
        if not self._ready and Path(self.control).exists():
            self._ready = True
            for path in self._secrets:
                path.unlink(missing_ok=True)
        return self._ready

    def wait_for_failure(self, before: int) -> str:
        """What ssh said last of a connection that the host didn't open, when that was more than
        `before`; it may arrive a moment later."""
        deadline = time.monotonic() + _WORD_SECONDS
        while len(self.failures) <= before and time.monotonic() < deadline:
            if self.ended.wait(_LOOK_SECONDS):
                break
        return self.failures[-1] if len(self.failures) > before else ""

    def ask_about(self, path: str) -> str:
        """`missing`, `denied` or `refused` for a socket on the host, as its shell sees it."""
        script = f"test -e {path} || echo missing; test -w {path} || echo denied; echo refused"
        # Without any way to connect by itself when the one at the control socket has ended.
        argv = ["ssh", "-F", "none", "-o", "ProxyCommand=false", "-o", "BatchMode=yes"]
        argv += ["-T", "-S", self.control, "--"]
        try:
            done = subprocess.run(
                [*argv, "the-host-of-the-control-socket", script],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ASK_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        words = done.stdout.decode("utf-8", "replace").split()
        return words[0] if words and words[-1] == "refused" else ""

    def end(self) -> None:
        """End it, and return when it is gone."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._pid and not self.ended.is_set():
                signal_group(self._pid, number)
            if self.ended.wait(_END_SECONDS):
                return


def check_address(access: Access) -> None:
    """Raises `Unreachable` for what ssh could take for an option, or for something else."""
    try:
        port_is_fine = access.port < 1 << 16
    except ValueError:
        port_is_fine = False
    if not (port_is_fine and _HOST.fullmatch(access.hostname)):
        raise unsupported()
    if ":" in access.url.partition("://")[2].rpartition("@")[0]:
        raise Unreachable(
            "its address has a password, and ssh takes none", "Log in with a key: see `ssh_key`."
        )
    if access.user and not _USER.fullmatch(access.user):
        raise Unreachable("its address has a user name that ssh doesn't take", "Correct it.")
    if not _PATH.fullmatch(access.socket_path):
        raise Unreachable(
            "its address has a socket's path with other characters than letters, digits and /._@+-",
            "Correct the path behind the host, or leave it out for /var/run/docker.sock.",
        )


def make_argv(access: Access, directory: str) -> list[str]:
    """The call of ssh; `directory` holds its files. What the spec doesn't say is ssh's own choice.

    Options given here win over the user's configuration (ssh_config(5)). Pure.
    """
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "ExitOnForwardFailure": "yes",
        "ConnectTimeout": str(CONNECT_SECONDS),
        "ServerAliveInterval": str(ALIVE_SECONDS),
        "ServerAliveCountMax": str(ALIVE_TIMES),
        "StreamLocalBindUnlink": "yes",
        "ControlMaster": "yes",
        "ControlPersist": "no",
        "ControlPath": f"{directory}/control",
        "PermitLocalCommand": "no",
        "RemoteCommand": "none",
        "LogLevel": "INFO",
    }
    if access.ssh_key:
        options |= {"IdentityFile": f"{directory}/key", "IdentitiesOnly": "yes"}
    if access.known_hosts:
        options["UserKnownHostsFile"] = f"{directory}/known_hosts"
        options["GlobalKnownHostsFile"] = "/dev/null"
    argv = ["ssh", "-N", "-T", "-a", "-x"]
    argv += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    argv += ["-L", f"{directory}/docker.sock:{access.socket_path}"]
    argv += ["-p", str(access.port)] if access.port else []
    argv += ["-l", access.user] if access.user else []
    return [*argv, "--", access.hostname]
