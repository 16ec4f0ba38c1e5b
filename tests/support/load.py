"""Clients that judge: keep-alive connections without retries, in a process of their own.

    with Load(http=["http://shop.example.com:8080/"], tcp=[5432], expect="web") as load:
        ...
    report = load.report()
    assert report.failures == []
    assert report.seen.keys() == {"web v1", "web v2"}

An HTTP client sends requests one after the other on one connection, to 127.0.0.1 with the URL's
host and port, and connects anew only when an answer said `Connection: close`. A TCP client sends
lines, each answered by a line that begins with the same word, and connects anew after some
lines. Everything else is a failure: refused or broken connections, an answer that isn't whole,
another status than 200, text that doesn't begin with `expect`. `seen` counts answers by their
text, of a TCP line without the line itself.
"""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

LINES = 10
TIMEOUT = 15.0
MOST_FAILURES = 50


@dataclass
class Report:
    """`answers` good ones; `failures` as text, the first 50; `longest` answer in seconds."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)
    failed: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    longest: float = 0.0
    reconnects: int = 0


class Load:
    """`clients` of each kind, spread over the targets; `pause` seconds between two requests.

    `lines`: how many a TCP client sends before it connects anew.
    """

    def __init__(
        self,
        *,
        http: Sequence[str] = (),
        tcp: Sequence[int] = (),
        expect: str = "",
        clients: int = 16,
        pause: float = 0.01,
        lines: int = LINES,
    ) -> None:
        task = {"http": list(http), "tcp": list(tcp), "expect": expect, "lines": lines}
        self._task = json.dumps({**task, "clients": clients, "pause": pause})
        self._final: Report | None = None

    def __enter__(self) -> "Load":
        argv = [sys.executable, "-m", "tests.support.load", self._task]
        root = Path(__file__).parent.parent.parent
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._final = self._ask("end")
        finally:
            self._process.kill()
            self._process.communicate()

    def report(self) -> Report:
        """So far, or at the end once the block has ended."""
        return self._final or self._ask("report")

    def _ask(self, word: str) -> Report:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load's process has ended by itself")
        return Report(**json.loads(line))


# -- in the process of its own ---------------------------------------------------------------


class _Clients:
    def __init__(self, task: dict[str, Any]) -> None:
        self.expect, self.pause, self.lines = task["expect"], task["pause"], task["lines"]
        self.end = threading.Event()
        self.report = Report()
        self.seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, text: str, began: float, said: str = "") -> None:
        """One answer."""
        with self._lock:
            self.report.longest = max(self.report.longest, time.monotonic() - began)
            if not text.startswith(self.expect):
                self._fail(f"{said}wrong answer {text[:200]!r}")
                return
            self.report.answers += 1
            self.seen[text] += 1

    def fail(self, text: str) -> None:
        with self._lock:
            self._fail(text)

    def _fail(self, text: str) -> None:
        self.report.failed += 1
        if self.report.failed <= MOST_FAILURES:
            self.report.failures.append(f"{time.strftime('%H:%M:%S')} {text}")

    def tell(self) -> None:
        with self._lock:
            self.report.seen = dict(self.seen)
            print(json.dumps(asdict(self.report)), flush=True)

    def run_http(self, url: str) -> None:
        while not self.end.is_set():
            try:
                self._http_connection(url)
            except (OSError, http.client.HTTPException) as error:
                self.fail(f"{url}: {type(error).__name__}: {error}")
                self.end.wait(0.05)

    def _http_connection(self, url: str) -> None:
        """One connection, until an answer announces its end."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=TIMEOUT)
        connection.connect()
        connection.auto_open = 0  # a lost connection is a failure, not a reason for another one
        try:
            while not self.end.is_set():
                began = time.monotonic()
                connection.request("GET", parts.path or "/", headers={"Host": parts.netloc})
                answer = connection.getresponse()
                body = answer.read().decode("utf-8", "replace").strip()
                said = "" if answer.status == 200 else f"{answer.status}: "
                self.take(said + body, began, f"{url}: ")
                if answer.will_close:
                    self.report.reconnects += 1
                    return
                self.end.wait(self.pause)
        finally:
            connection.close()

    def run_tcp(self, port: int) -> None:
        while not self.end.is_set():
            try:
                self._tcp_connection(port)
            except OSError as error:
                self.fail(f"tcp {port}: {type(error).__name__}: {error}")
                self.end.wait(0.05)

    def _tcp_connection(self, port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection,
            connection.makefile("r", encoding="utf-8") as lines,
        ):
            for number in range(self.lines):
                if self.end.is_set():
                    return
                began = time.monotonic()
                connection.sendall(f"{number}\n".encode())
                answer = lines.readline()
                if answer.endswith(f" {number}\n"):
                    self.take(answer.rpartition(" ")[0], began, f"tcp {port}: ")
                else:
                    self.fail(f"tcp {port}: answered {answer!r} to {number}")
                    return
                self.end.wait(self.pause)


def main(task: dict[str, Any]) -> None:
    clients = _Clients(task)
    threads = [
        threading.Thread(target=run, args=(targets[number % len(targets)],), daemon=True)
        for run, targets in ((clients.run_http, task["http"]), (clients.run_tcp, task["tcp"]))
        if targets
        for number in range(task["clients"])
    ]
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        if line.strip() == "end":
            clients.end.set()
            for thread in threads:
                thread.join(TIMEOUT)
            clients.tell()
            return
        clients.tell()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
