"""The engines by the names that the spec has for their hosts, and which of them are away.

A host that didn't answer isn't asked again before its pause is over, so that it costs the others
no time. Whoever hears from it meanwhile says so (`answered`). One that somebody watches, as the
daemon does by the engine's events, isn't asked at all until the watcher has heard from it.

Each kind of runtime is away by itself: a Swarm without a leader leaves its engines usable.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.errors import EngineUnavailable, ReconcilerError
from reconciler.host.access import Access
from reconciler.host.engine import Engine
from reconciler.host.secrets import Redactor, Secrets
from reconciler.host.ways import Unreachable
from reconciler.spec.hosts import LOCAL, Host
from reconciler.spec.models import FileRef, Ref
from reconciler.spec.plain import from_plain, to_plain
from reconciler.values import frozen

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
ENGINE = "docker"
"""The kind of what needs nothing but the engine."""


@frozen
class _Absence:
    """Why a host is away, how many times it didn't answer, and until when it isn't asked."""

    reason: str
    todo: str = ""
    times: int = 0
    until: float = 0.0


class _Entry:
    """A host as it was declared, with paths that are absolute, and its engine once it was used.

    `absences`: by kind of runtime. `watcher`: is told that the engine didn't answer somebody.
    """

    def __init__(self, section: Host, watcher: Callable[[], None] | None = None) -> None:
        self.section = section
        self.watcher = watcher
        self.engine: Engine | None = None
        self.absences: dict[str, _Absence] = {}


class Hosts:
    """Engines by host name. `local` is the one named so. Safe to use from several threads."""

    def __init__(
        self,
        local: Engine,
        redactor: Redactor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.local = local
        self.redactor = redactor or Redactor()
        self.clock = clock
        self.build_host = LOCAL
        self._entries = {LOCAL: _Entry(Host(docker=""))}
        self._entries[LOCAL].engine = local
        self._declared: frozenset[str] | None = None
        self._lock = threading.RLock()

    # -- what is declared --------------------------------------------------------------------

    def learn(self, hosts: Mapping[str, Host], base_dir: Path, build_host: str = LOCAL) -> None:
        """What the spec says now. A host that it says something else of is connected to anew."""
        self.build_host = build_host
        self._declared = frozenset(hosts)
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
            self._entries[name] = _Entry(section, watcher=known.watcher if known else None)
        if known and known.engine:
            known.engine.close()
        if known and known.watcher:
            known.watcher()

    def knows(self, name: str) -> bool:
        """Whether it is declared, or was."""
        return name in self._entries

    @property
    def declared(self) -> tuple[str, ...]:
        """The names of all hosts that the spec, or a deployment, has declared: without the local
        one."""
        with self._lock:
            return tuple(name for name in self._entries if name != LOCAL)

    def declares(self, name: str) -> bool:
        """Whether the spec has it now, as far as this process has read the spec."""
        return name == LOCAL or self._declared is None or name in self._declared

    # -- engines -----------------------------------------------------------------------------

    def engine(self, name: str) -> Engine:
        """The engine of a host, whether it answers or not; one whose keys can't be read says so
        when it is asked. Raises `EngineUnavailable` when it isn't declared any more."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                raise EngineUnavailable(
                    f"the host {name} isn't declared any more",
                    todo="Declare it under hosts again.",
                )
            if name == LOCAL:
                return self.local
            if entry.engine and not entry.absences and not entry.engine.trouble:
                return entry.engine
            before, entry.engine = entry.engine, self._renewed(name, entry)
        if before is not None and before is not entry.engine:
            before.close()
        return entry.engine

    def _renewed(self, name: str, entry: _Entry) -> Engine:
        """What keeps a host away may be a key that somebody has put right meanwhile."""
        trouble: Unreachable | None = None
        try:
            access = self._access(name, entry.section)
        except ReconcilerError as error:
            access = Access(entry.section.docker, name)
            trouble = Unreachable(error.what, error.todo)
        known = entry.engine
        if known is not None and known.access == access and not trouble and not known.trouble:
            return known
        return Engine(access, trouble)

    def _access(self, name: str, section: Host) -> Access:
        def read(ref: Ref | None, what: str) -> str:
            return secrets.read(ref, app="", what=f"hosts.{name}.{what}") if ref else ""

        secrets, tls = Secrets(Path("/"), self.redactor), section.tls
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

    def close(self) -> None:
        """Close every connection but the local engine's, which its maker closes."""
        with self._lock:
            entries = [entry for name, entry in self._entries.items() if name != LOCAL]
        for entry in entries:
            if entry.engine:
                entry.engine.close()
                entry.engine = None

    # -- away --------------------------------------------------------------------------------

    def check(self, name: str, kind: str = ENGINE) -> None:
        """Raises `EngineUnavailable` while a host that didn't answer isn't asked."""
        with self._lock:
            entry = self._entries.get(name)
            absence = entry.absences.get(kind) if entry else None
        if absence and self.clock() < absence.until:
            raise EngineUnavailable(absence.reason, todo=absence.todo)

    def is_away(self, name: str, kind: str = ENGINE) -> bool:
        """Whether it didn't answer, and isn't asked now."""
        try:
            self.check(name, kind)
        except EngineUnavailable:
            return True
        return False

    def failed(self, name: str, error: ReconcilerError, kind: str = ENGINE) -> None:
        """It didn't answer: a pause, which is longer each time, or until its watcher hears of it.

        The reason stays the first one, so that the same absence isn't news again and again.
        """
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return
            known, now = entry.absences.get(kind), self.clock()
            if known and now < known.until:
                return  # others have met it at the same time
            times = known.times + 1 if known else 1
            pause = min(FIRST_PAUSE_SECONDS * 2 ** min(times - 1, 10), LONGEST_PAUSE_SECONDS)
            watcher = entry.watcher if kind == ENGINE else None
            first = known or _Absence(error.what, error.todo)
            until = math.inf if watcher else now + pause
            entry.absences[kind] = replace(first, times=times, until=until)
        if watcher:
            watcher()

    def answered(self, name: str, kind: str = ENGINE) -> None:
        """It is there."""
        entry = self._entries.get(name)
        if entry is not None and entry.absences:
            with self._lock:
                entry.absences.pop(kind, None)

    def watch(self, name: str, watcher: Callable[[], None] | None) -> None:
        """From now on this one asks whether the host is there, and tells `answered`. It is called,
        from any thread, when the host didn't answer somebody. None: nobody any more."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None:
                entry.watcher = watcher
                self._ask_soon(entry)

    def ask_all(self) -> None:
        """Whoever is away is asked again at once."""
        with self._lock:
            for entry in self._entries.values():
                self._ask_soon(entry)

    def _ask_soon(self, entry: _Entry) -> None:
        for kind, absence in entry.absences.items():
            entry.absences[kind] = replace(absence, until=0.0)

    def away(self) -> dict[str, str]:
        """Hosts whose engine doesn't answer, and why."""
        with self._lock:
            found = [(name, entry.absences.get(ENGINE)) for name, entry in self._entries.items()]
        return {name: absence.reason for name, absence in found if absence}

    def next_ask(self, names: Collection[str], kind: str) -> float | None:
        """Seconds until one of these may be asked again that is away and that nobody watches."""
        with self._lock:
            found = [self._entries[name].absences.get(kind) for name in names if self.knows(name)]
            ends = [absence.until for absence in found if absence and absence.until < math.inf]
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
