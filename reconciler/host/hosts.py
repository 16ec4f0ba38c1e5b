"""The engines by the names that the spec has for their hosts, and which of them are away.

A host that didn't answer isn't asked again before its pause is over, so that it costs the others
no time. Whoever hears from it meanwhile says so (`answered`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.errors import EngineUnavailable, ReconcilerError
from reconciler.host.access import Access
from reconciler.host.engine import Engine
from reconciler.host.secrets import Redactor, Secrets
from reconciler.spec.hosts import LOCAL, Host
from reconciler.spec.models import FileRef, Ref
from reconciler.spec.plain import from_plain, to_plain
from reconciler.values import frozen

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0


@frozen
class _Absence:
    """Why a host is away, how many times it didn't answer, and until when it isn't asked."""

    reason: str
    times: int
    until: float


@dataclass
class _Entry:
    """A host as it was declared, with paths that are absolute, and its engine once it was used."""

    section: Host
    engine: Engine | None = None
    absence: _Absence | None = None


@dataclass
class Hosts:
    """Engines by host name. `local` is the one named so. Safe to use from several threads."""

    local: Engine
    redactor: Redactor = field(default_factory=Redactor)
    clock: Callable[[], float] = time.monotonic
    build_host: str = LOCAL
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._entries[LOCAL] = _Entry(Host(docker=""), self.local)

    # -- what is declared --------------------------------------------------------------------

    def learn(self, hosts: Mapping[str, Host], base_dir: Path, build_host: str = LOCAL) -> None:
        """What the spec says now. A host that it says something else of is connected to anew."""
        self.build_host = build_host
        for name, section in hosts.items():
            self._declare(name, _absolute(section, base_dir))

    def learn_described(self, described: Mapping[str, Any]) -> None:
        """What `describe` gave; hosts that the spec declares stay as it says."""
        for name, data in described.items():
            if name not in self._entries:
                self._declare(name, from_plain(Host, data))

    def describe(self, names: Collection[str]) -> dict[str, Any]:
        """The sections of these hosts as plain data, references as references."""
        with self._lock:
            return {
                name: to_plain(entry.section)
                for name, entry in self._entries.items()
                if name in names and name != LOCAL
            }

    def _declare(self, name: str, section: Host) -> None:
        with self._lock:
            known = self._entries.get(name)
            if known and known.section == section:
                return
            self._entries[name] = _Entry(section)
        if known and known.engine:
            known.engine.close()

    def knows(self, name: str) -> bool:
        """Whether it was declared."""
        return name in self._entries

    @property
    def declared(self) -> tuple[str, ...]:
        """The names of all hosts that the spec, or a deployment, has declared: without the local
        one."""
        with self._lock:
            return tuple(name for name in self._entries if name != LOCAL)

    # -- engines -----------------------------------------------------------------------------

    def engine(self, name: str) -> Engine:
        """The engine of a host, whether it answers or not. Raises `EngineUnavailable` when it
        can't even be asked: it isn't declared any more, or a secret is out of reach."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                raise EngineUnavailable(
                    f"the host {name} isn't declared any more",
                    todo="Declare it under hosts again.",
                )
            if entry.engine is None:
                entry.engine = Engine(self._access(name, entry.section))
            return entry.engine

    def _access(self, name: str, section: Host) -> Access:
        def read(ref: Ref | None, what: str) -> str:
            return secrets.read(ref, app="", what=f"hosts.{name}.{what}") if ref else ""

        secrets, tls = Secrets(Path("/"), self.redactor), section.tls
        try:
            return Access(
                url=section.docker,
                name=name,
                address=section.address or "",
                ssh_key=read(section.ssh_key, "ssh_key"),
                known_hosts=read(section.known_hosts, "known_hosts"),
                tls_ca=read(tls.ca if tls else None, "tls.ca"),
                tls_cert=read(tls.cert if tls else None, "tls.cert"),
                tls_key=read(tls.key if tls else None, "tls.key"),
            )
        except ReconcilerError as error:
            raise EngineUnavailable(error.what, todo=error.todo) from error

    def close(self) -> None:
        """Close every connection but the local engine's, which its maker closes."""
        with self._lock:
            entries = [entry for name, entry in self._entries.items() if name != LOCAL]
        for entry in entries:
            if entry.engine:
                entry.engine.close()
                entry.engine = None

    # -- away --------------------------------------------------------------------------------

    def check(self, name: str) -> None:
        """Raises `EngineUnavailable` while a host that didn't answer isn't asked."""
        absence = self._entries[name].absence if name in self._entries else None
        if absence and self.clock() < absence.until:
            raise EngineUnavailable(absence.reason)

    def is_away(self, name: str) -> bool:
        """Whether it didn't answer, and isn't asked now."""
        absence = self._entries[name].absence if name in self._entries else None
        return absence is not None and self.clock() < absence.until

    def failed(self, name: str, error: ReconcilerError) -> None:
        """It didn't answer: a pause, which is longer each time."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return
            times = entry.absence.times + 1 if entry.absence else 1
            pause = min(FIRST_PAUSE_SECONDS * 2 ** min(times - 1, 10), LONGEST_PAUSE_SECONDS)
            entry.absence = _Absence(error.what, times, self.clock() + pause)

    def answered(self, name: str) -> None:
        """It is there."""
        entry = self._entries.get(name)
        if entry is not None and entry.absence is not None:
            entry.absence = None

    def ask_all(self) -> None:
        """Whoever is away is asked again at once."""
        with self._lock:
            for entry in self._entries.values():
                if entry.absence:
                    entry.absence = replace(entry.absence, until=0.0)

    def next_ask(self) -> float | None:
        """Seconds until a host that is away may be asked again; None when none is."""
        ends = [entry.absence.until for entry in self._entries.values() if entry.absence]
        return max(min(ends) - self.clock(), 0.0) if ends else None


def _absolute(section: Host, base_dir: Path) -> Host:
    """With the paths of files as seen from anywhere."""

    def move(ref: Ref) -> Ref:
        if not isinstance(ref, FileRef):
            return ref
        return FileRef(file=str(base_dir / Path(ref.file).expanduser()))

    tls, key, known = section.tls, section.ssh_key, section.known_hosts
    return replace(
        section,
        tls=replace(tls, ca=move(tls.ca), cert=move(tls.cert), key=move(tls.key)) if tls else None,
        ssh_key=move(key) if key else None,
        known_hosts=move(known) if known else None,
    )
