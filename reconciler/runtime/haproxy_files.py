"""The directory of a project's proxy: the record, and what HAProxy reads.

    record.json     what the proxy has been told to be
    haproxy.cfg     rendered from it, with the servers of this moment, so that a proxy that
                    starts again has them
    routes.map, crt-list.txt, certificates/
    run/            the sockets

Only the owner may read it. Each file is replaced as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.runtime.haproxy_config import CONFIG_FILE, Host, certificate_file, render
from reconciler.runtime.proxy_record import Record, dump_record, load_record

RECORD_FILE = "record.json"


class Files:
    """The files of one project's proxy."""

    def __init__(self, state_dir: Path, project: str) -> None:
        self.project = project
        self.directory = (state_dir / "proxy" / project).absolute()
        self._lock = state_dir / "locks" / f"proxy-{project}"

    @contextmanager
    def held(self, job: Job) -> Iterator[Record]:
        """Nobody else changes this proxy meanwhile; the record as it is."""
        with locked(self._lock, job):
            yield self.load()

    def exist(self) -> bool:
        """Whether there has been a proxy."""
        return self.directory.is_dir()

    def load(self) -> Record:
        """An empty one when there is none, or when it can't be read: it is made anew then."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return load_record(json.loads((self.directory / RECORD_FILE).read_bytes()))
        return Record(self.project)

    def save(self, record: Record, host: Host) -> None:
        """The record, and all that follows from it."""
        for directory in (self.directory, self.directory / "run"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in render(record, host).items():
            _write(self.directory / name, text)
        _write(self.directory / RECORD_FILE, json.dumps(dump_record(record), indent=1))

    def save_certificates(self, pems: Mapping[str, str]) -> None:
        """By app; before the configuration that names them is saved."""
        directory = self.directory / "certificates"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for app, pem in pems.items():
            _write(self.directory / certificate_file(app, digest(pem)), pem)

    def why_useless(self, app: str, pem: str) -> str:
        """Why this can't be used as a certificate with its key; empty when it can."""
        import ssl

        self.save_certificates({app: pem})
        path = self.directory / certificate_file(app, digest(pem))
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
        except (ssl.SSLError, OSError, ValueError) as error:
            path.unlink(missing_ok=True)
            return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
        return ""

    def drop_certificates(self, record: Record) -> None:
        """Those that nothing names any more."""
        named = {certificate_file(app, one) for app, one in record.certificates.items()}
        for path in (self.directory / "certificates").glob("*.pem"):
            if str(path.relative_to(self.directory)) not in named:
                path.unlink(missing_ok=True)

    def are_complete(self) -> bool:
        """Whether what the proxy starts from is there."""
        return (self.directory / CONFIG_FILE).is_file()

    def remove(self) -> None:
        """Take the whole directory away."""
        shutil.rmtree(self.directory, ignore_errors=True)


def digest(certificate: str) -> str:
    """Tells certificates apart."""
    return hashlib.sha256(certificate.encode()).hexdigest()[:32]


def _write(path: Path, text: str) -> None:
    """Nobody ever sees half of it, and nobody else may read it. Unchanged: not touched."""
    data = text.encode()
    with suppress(OSError):
        if path.read_bytes() == data:
            return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
