"""Another machine: a network namespace at the end of a cable, with sshd and an engine.

    host = SshHost.shared(home)       one for the session, with an engine of its own
    host = SshHost.create(engine)     one to break, in front of an engine that is there already
    Engine(host.access).get("/info")

`deploy` may use the engine's socket, `guest` may not. The sshd is Debian's; it has users, host
key and /run of its own.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from reconciler.host.access import Access
from tests.support import system
from tests.support.engine import PrivateEngine

PORT = 2222
_START = """\
mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/sshd
mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/shadow" /etc/shadow
exec "$1" -D -e -f "$0/sshd_config"
"""
_CONFIG = """\
Port {port}
HostKey {home}/host_key
AuthorizedKeysFile {home}/key.pub
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
PerSourceMaxStartups none
MaxStartups 100
"""


class SshHost:
    """`machine` is the namespace, `engine` what its socket leads to; often the same."""

    def __init__(self, machine: PrivateEngine, engine: PrivateEngine) -> None:
        self.machine = machine
        self.engine = engine
        self.home = machine.home
        number = int(machine.name.rpartition("-")[2])
        network = f"10.{77 + number // 250}.{number % 250}"
        self.address, self._here = f"{network}.2", f"{network}.1"
        self._cable = f"cable{number}"

    @classmethod
    def shared(cls, session: Path) -> "SshHost":
        """The session's own, started by the first process that asks."""
        with (session / "ssh-host.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            if text := lock.read():
                machine = PrivateEngine(Path(text))
                return cls(machine, machine)
            machine = PrivateEngine.create()
            host = cls(machine, machine)
            machine.start_once()
            host._set_up()
            lock.write(str(machine.home))
        return host

    @classmethod
    def create(cls, engine: PrivateEngine) -> "SshHost":
        """A new one in front of `engine`."""
        host = cls(PrivateEngine.create(), engine)
        host._set_up()
        return host

    def _set_up(self) -> None:
        system.run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "cable",
                   "netns", self.machine.namespace)  # fmt: skip
        system.run("ip", "address", "add", f"{self._here}/30", "dev", self._cable)
        self.restore()
        self._inside("ip", "address", "add", f"{self.address}/30", "dev", "cable")
        self._inside("ip", "link", "set", "cable", "up")
        for name in ("host_key", "key", "stranger"):
            make_key(self.home / name)
        group = self.engine.socket.stat().st_gid
        self.home.chmod(0o755)
        users = [("deploy", 54321, group), ("guest", 54322, 54322)]
        self._add_users("passwd", [f"{name}:x:{uid}:{gid}::/:/bin/sh" for name, uid, gid in users])
        self._add_users("shadow", [f"{name}:*:20000:0:99999:7:::" for name, *_ in users])
        (self.home / "sshd_config").write_text(_CONFIG.format(port=PORT, home=self.home))
        self.start_sshd()

    def _inside(self, *argv: str) -> None:
        self.machine.run_inside(argv)

    def _add_users(self, file: str, lines: list[str]) -> None:
        text = (Path("/etc") / file).read_text()
        (self.home / file).write_text("\n".join([*lines, text]))

    @cached_property
    def access(self) -> Access:
        """How `deploy` gets at the engine."""
        return Access(
            f"ssh://deploy@{self.address}:{PORT}{self.engine.socket}",
            ssh_key=(self.home / "key").read_text(),
            known_hosts=self.known_hosts("host_key"),
        )

    @property
    def as_guest(self) -> Access:
        return replace(self.access, url=self.access.url.replace("deploy@", "guest@"))

    def known_hosts(self, key: str) -> str:
        """The line for this host with that key."""
        kind, text, *_ = (self.home / f"{key}.pub").read_text().split()
        return f"[{self.address}]:{PORT} {kind} {text}\n"

    def start_sshd(self) -> None:
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "sshd"
        argv: list[str | Path] = ["unshare", "--mount", "sh", "-c", _START, self.home, sshd]
        log = self.home / "sshd.log"
        log.unlink(missing_ok=True)
        self.machine.spawn(argv, log)
        system.wait_until(lambda: "Server listening" in log.read_text(), 10, f"sshd: see {log}")

    def stop_sshd(self) -> None:
        """By force, with every connection."""
        pid = int((self.home / "sshd.pid").read_text())
        system.kill_all(system.with_descendants([pid]))

    def cut(self) -> None:
        """Pull the cable: what is sent to the host is lost without a word."""
        self._inside("ip", "link", "set", "cable", "down")

    def restore(self) -> None:
        system.run("ip", "link", "set", self._cable, "up")

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """While the block runs the cable is pulled at the host's end."""
        self.cut()
        try:
            yield
        finally:
            self._inside("ip", "link", "set", "cable", "up")

    def remove(self) -> None:
        # The namespace would take it along, but only some time later.
        system.run("ip", "link", "delete", self._cable)
        self.machine.remove()


def make_key(path: Path) -> None:
    """`path` and `path`.pub, without a passphrase."""
    system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path)
