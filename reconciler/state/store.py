"""Opens the state and reads it. Transitions of deployments are in `reconciler.queue`."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import DiskFull, Locked, ReconcilerError
from reconciler.events import Event
from reconciler.state.records import AppRow, Deployment, Stage

if TYPE_CHECKING:
    from reconciler.plan.states import Serving

BUSY_SECONDS = 15
LEAST_FREE_BYTES = 1 << 17
SCHEMA_VERSION = 2
"""Equal to `migrations.VERSION`, kept here so that opening doesn't import sqlite_utils."""


class Store:
    """One state directory. Safe to use from several threads, each with a connection of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "state.db"
        self._local = threading.local()
        self._lock = threading.Lock()
        self._key = b""
        self.served: Mapping[str, tuple[tuple[Any, ...], Serving]] = {}
        """By app what serves, and what its row said of it: `recorded` read it last."""
        self._opened: weakref.WeakSet[_Opened] = weakref.WeakSet()
        with _state_errors(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._prepare()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for opened in list(self._opened):
                opened.connection.close()
            self._local = threading.local()

    # -- places ------------------------------------------------------------------------------

    def log_path(self, app: str, deployment: str) -> Path:
        """Where a deployment's log is written."""
        return self.directory / "logs" / app / f"{deployment}.log"

    def checkout_path(self, deployment: str) -> Path:
        """Where a deployment's files are checked out."""
        return self.directory / "checkouts" / deployment

    def fingerprint_key(self) -> bytes:
        """A random key of this state: fingerprints of secrets mean nothing elsewhere."""
        if not self._key:
            self._key = self._read_key()
        return self._key

    def _read_key(self) -> bytes:
        path = self.directory / "key"
        with _state_errors(self.directory):
            if not path.exists() or path.stat().st_size == 0:
                temporary = path.with_name(f"key.{os.getpid()}")
                temporary.touch(mode=0o600)
                temporary.write_bytes(os.urandom(32))
                try:
                    os.link(temporary, path)  # the first process wins, and no key is half written
                except FileExistsError:
                    pass
                temporary.unlink()
            return path.read_bytes()

    def move_logs(self, app: str, to: str) -> None:
        """The logs of an app that has another name now. Safe to repeat."""
        old, new = self.directory / "logs" / app, self.directory / "logs" / to
        with _state_errors(self.directory):
            if not old.is_dir():
                return
            new.mkdir(parents=True, exist_ok=True)
            for path in old.iterdir():
                path.replace(new / path.name)
            old.rmdir()

    # -- connections -------------------------------------------------------------------------

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode; closed when the thread ends."""
        found: _Opened | None = getattr(self._local, "opened", None)
        if found is None:
            found = _Opened(self._connect())
            self._local.opened = found
            with self._lock:
                self._opened.add(found)
        return found.connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction; takes the write lock at once, so that reads in it stay true."""
        connection = self.connection
        with _state_errors(self.directory):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def version(self) -> int:
        """Another number, for this thread, whenever another one or another process has written."""
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """A read transaction: what is read inside belongs together. Keeps nobody from writing."""
        connection = self.connection
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("COMMIT")

    def _prepare(self) -> None:
        if self._version() == SCHEMA_VERSION:
            return
        with (self.directory / "migrate.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            version = self._version()
            if version > SCHEMA_VERSION:
                raise ReconcilerError(
                    f"the state in {self.directory} was written by a newer version",
                    todo="Upgrade reconciler, or use another --state-dir.",
                )
            if version < SCHEMA_VERSION:
                from reconciler.state.migrations import migrate

                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
                migrate(str(self.path))

    def _version(self) -> int:
        if not self.path.exists():
            return 0
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    # -- reading -----------------------------------------------------------------------------

    def find_deployment(self, deployment: str) -> Deployment | None:
        """By id."""
        row = self.connection.execute(
            "SELECT * FROM deployments WHERE id = ?", (deployment,)
        ).fetchone()
        return Deployment.from_row(row) if row else None

    def list_deployments(self, app: str = "", limit: int = 20) -> list[Deployment]:
        """Newest first, of one app or of all."""
        where, values = ("WHERE app = ?", (app,)) if app else ("", ())
        rows = self.connection.execute(
            f"SELECT * FROM deployments {where} ORDER BY seq DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        )
        return [Deployment.from_row(row) for row in rows]

    def unfinished(self, app: str = "") -> list[Deployment]:
        """Queued and running ones, oldest first, of one app or of all."""
        rows = self.connection.execute(
            "SELECT * FROM deployments WHERE status IN ('queued', 'running') "
            "AND (? = '' OR app = ?) ORDER BY seq",
            (app, app),
        )
        return [Deployment.from_row(row) for row in rows]

    def latest_of(self, apps: Sequence[str]) -> dict[str, Deployment]:
        """The last deployment of each app that wasn't superseded."""
        rows = self.connection.execute(
            "SELECT d.* FROM json_each(?) AS names JOIN deployments d ON d.seq = ("
            "SELECT seq FROM deployments WHERE app = names.value "
            "AND outcome IS NOT 'superseded' ORDER BY seq DESC LIMIT 1)",
            (json.dumps(list(apps)),),
        )
        return {row["app"]: Deployment.from_row(row) for row in rows}

    def list_succeeded(self, app: str, limit: int = 200) -> list[Deployment]:
        """Successful deployments that ran a container, newest first."""
        rows = self.connection.execute(
            "SELECT * FROM deployments WHERE app = ? AND outcome = 'succeeded' "
            "AND kind NOT IN ('push', 'remove') ORDER BY seq DESC LIMIT ?",
            (app, limit),
        )
        return [Deployment.from_row(row) for row in rows]

    def list_pushed(self, app: str, image_id: str) -> list[tuple[str, str]]:
        """`(name, digest)` of each registry that an image of the app went to or came from, as
        deployments recorded it, newest first."""
        rows = self.connection.execute(
            "SELECT image, digest FROM deployments "
            "WHERE app = ? AND image_id = ? AND digest != '' ORDER BY seq DESC",
            (app, image_id),
        )
        return [(row["image"], row["digest"]) for row in rows]

    def list_stages(self, deployment: str) -> list[Stage]:
        """In the order in which they started."""
        rows = self.connection.execute(
            "SELECT * FROM stages WHERE deployment = ? ORDER BY started_at", (deployment,)
        )
        return [Stage.from_row(row) for row in rows]

    def find_app(self, app: str) -> AppRow | None:
        """By `<project>/<name>`."""
        row = self.connection.execute("SELECT * FROM apps WHERE app = ?", (app,)).fetchone()
        return AppRow.from_row(row) if row else None

    def former_names(self, app: str) -> tuple[str, ...]:
        """Names that the app's containers may still carry."""
        row = self.find_app(app)
        return row.former if row else ()

    def list_apps(self, project: str) -> list[AppRow]:
        """All apps of a project that were ever recorded, by name."""
        rows = self.connection.execute(
            "SELECT * FROM apps WHERE app >= ? AND app < ? ORDER BY app",
            (f"{project}/", f"{project}0"),
        )
        return [AppRow.from_row(row) for row in rows]

    def app_names(self) -> set[str]:
        """All apps that were ever recorded, of every project."""
        return {row["app"] for row in self.connection.execute("SELECT app FROM apps")}

    def count_failures(self, app: str, target: str) -> int:
        """How often in a row this target has failed."""
        row = self.connection.execute(
            "SELECT attempts FROM failures WHERE app = ? AND target = ?", (app, target)
        ).fetchone()
        return int(row["attempts"]) if row else 0

    def list_events(self, app: str, limit: int = 50) -> list[tuple[float, Event]]:
        """`(time, event)`, newest first."""
        rows = self.connection.execute(
            "SELECT * FROM events WHERE app = ? ORDER BY seq DESC LIMIT ?", (app, limit)
        )
        return [
            (row["at"], Event(row["kind"], row["app"], row["deployment"], json.loads(row["data"])))
            for row in rows
        ]


class _Opened:
    """A thread's connection. Nobody but the thread holds it, so it is closed with the thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


def add_events(connection: sqlite3.Connection, now: float, events: Sequence[Event]) -> None:
    """Write events inside a transaction of the caller's."""
    connection.executemany(
        "INSERT INTO events (at, app, deployment, kind, data) VALUES (?, ?, ?, ?, ?)",
        [
            (now, e.app, e.deployment, e.kind, json.dumps(dict(e.data), ensure_ascii=False))
            for e in events
        ],
    )


@contextmanager
def _state_errors(directory: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into our tree."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise Locked(
                f"the state in {directory} is locked by another process",
                todo="Try again; if it stays, `reconcile doctor` shows who holds it.",
            ) from error
        if "full" in text or _has_no_room(directory):
            raise _disk_full(directory) from error
        raise ReconcilerError(
            f"the state in {directory} can't be used: {text}",
            todo="Check that the directory is writable and its disk works.",
        ) from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        raise ReconcilerError(
            f"the state in {directory} is damaged: {error}",
            todo="Move state.db away; running containers are recognised by their labels.",
        ) from error
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise _disk_full(directory) from error
        raise ReconcilerError(
            f"the state directory {directory} can't be used: {error.strerror}",
            todo="Choose another with --state-dir, or correct its permissions.",
        ) from error


def _has_no_room(directory: Path) -> bool:
    """SQLite calls it a disk I/O error when its shared memory file can't grow."""
    try:
        return shutil.disk_usage(directory).free < LEAST_FREE_BYTES
    except OSError:
        return False


def _disk_full(directory: Path) -> DiskFull:
    return DiskFull(
        f"no room left for the state in {directory}",
        todo="Free space there; `reconcile gc --dry-run` shows what could go.",
    )
