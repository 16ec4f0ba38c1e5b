"""An image from one engine to another, as `docker save | docker load` does it.

    source ── GET /images/ID/get ──▶ this process, a piece at a time ──▶ POST /images/load ── target

Nothing is kept here. When either side goes away, or the job is cancelled, the target gets half an
archive, and drops it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reconciler.errors import DeployError, DiskFull, ReconcilerError
from reconciler.host.engine import Engine, Request, read_message
from reconciler.host.job import Job
from reconciler.host.labels import short_id
from reconciler.host.refusals import disk_full, is_disk_full
from reconciler.host.stream import Message, Refusal, stream
from reconciler.host.wire import Wire
from reconciler.values import frozen

_PROGRESS_SECONDS = 5.0


@frozen
class Parcel:
    """What is sent. `size` is in bytes, about; `sender` and `receiver` are names of hosts."""

    image_id: str
    size: int
    sender: str
    receiver: str


def send_image(parcel: Parcel, source: Engine, target: Engine, job: Job) -> None:
    """Copy the image. It arrives without a name.

    Raises `EngineUnavailable` or `DiskFull` of either side, which say whose it is, `DeployError`
    when one refuses, or the job's `Stopped`.
    """
    progress = _Progress(parcel, job.log)
    with _saving(parcel, source, job) as pieces:
        request = Request(
            "POST",
            "/images/load",
            {"quiet": "1"},
            {"Content-Type": "application/x-tar"},
            progress.count(pieces),
        )
        try:
            stream(target, request, job, _ignore)
        except Refusal as refusal:
            raise _refused(refusal.text, parcel.receiver, parcel, job.app) from None
    progress.tell_end()


def _ignore(_message: Message) -> None:
    """What was loaded is looked at afterwards."""


@contextmanager
def _saving(parcel: Parcel, source: Engine, job: Job) -> Iterator[Iterator[bytes]]:
    """The archive, as the source writes it. Its troubles are raised as errors of our tree, so that
    nobody takes them for the target's."""
    job.cancel.check()
    wire = source.connect(timeout=10)
    try:
        wire.wait_forever()
        with job.cancel.interrupting(wire.shut_down):
            with _blaming(source, job):
                head = wire.ask("GET", Request("GET", f"/images/{parcel.image_id}/get").target)
                words = read_message(wire.read()) if head.status >= 300 else ""
            if head.status >= 300:
                raise _refused(words, parcel.sender, parcel, job.app)
            yield _read(wire, source, job)
    finally:
        wire.close()


def _read(wire: Wire, source: Engine, job: Job) -> Iterator[bytes]:
    while True:
        with _blaming(source, job):
            piece = wire.read_piece()
        if not piece:
            return
        yield piece


@contextmanager
def _blaming(source: Engine, job: Job) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        job.cancel.check()
        reason = f"it went away while it sent an image: {error}"
        raise source.unavailable(reason, job.app) from error


def _refused(text: str, host: str, parcel: Parcel, app: str) -> ReconcilerError:
    if is_disk_full(text):
        return full_disk_of(host, disk_full(text, app))
    what = f"image {short_id(parcel.image_id)} can't be sent from {parcel.sender}"
    return DeployError(
        f"{what} to {parcel.receiver}: the engine of {host} says: {text}",
        app=app,
        todo=f"Try it by hand: `docker save` there, and `docker load` on {parcel.receiver}.",
    )


def full_disk_of(host: str, error: DiskFull) -> DiskFull:
    """The same error, saying whose disk it is."""
    error.what = f"the disk of the engine on {host} is full"
    return error


@dataclass
class _Progress:
    """Counts what passes, and says every few seconds how far it is."""

    parcel: Parcel
    log: Callable[[str], None]
    sent: int = 0
    clock: Callable[[], float] = time.monotonic
    began: float = field(default=0.0)

    def count(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces. The engine writes the archive before it sends any of it, so the time
        begins with the first."""
        to = f"{self.parcel.sender} to {self.parcel.receiver}"
        self.log(f"sending {self.parcel.size / 1e6:.1f} MB from {to}")
        told = 0.0
        for piece in pieces:
            now = self.clock()
            self.began = self.began or now
            told = told or now
            self.sent += len(piece)
            if now - told >= _PROGRESS_SECONDS:
                told = now
                total = max(self.parcel.size, self.sent)
                self.log(f"sending: {self.sent / 1e6:.1f} of {total / 1e6:.1f} MB, {self._rate()}")
            yield piece

    def tell_end(self) -> None:
        """It has arrived."""
        seconds = self.clock() - self.began
        self.log(f"sent {self.sent / 1e6:.1f} MB in {seconds:.1f} s, {self._rate()}")

    def _rate(self) -> str:
        return f"{self.sent / 1e6 / max(self.clock() - self.began, 1e-3):.1f} MB/s"
