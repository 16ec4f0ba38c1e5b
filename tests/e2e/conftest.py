"""`shop`: a directory with apps.yaml, a git repository, and the command line on the engine."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.cli import run as reconcile
from tests.support.engine import PrivateEngine
from tests.support.forked import Forked
from tests.support.gitrepo import GitRepo

DOCKERFILE = """\
FROM busybox:stable
COPY . /www/
EXPOSE 8000
STOPSIGNAL SIGKILL
CMD ["httpd", "-f", "-p", "8000", "-h", "/www"]
"""

HEALTH = {"http": {"port": 8000, "path": "/"}, "timeout": "20s"}


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Daemon:
    """A daemon's process, and what it has logged."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self, event: str = "", app: str = "") -> list[dict[str, Any]]:
        """Its log, or what it says of one kind of event or app."""
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [
            line
            for line in found
            if event in ("", line["event"]) and (not app or line["app"].endswith(f"/{app}"))
        ]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> float:
        """SIGTERM, and seconds until it has ended with 0."""
        started = time.monotonic()
        self.process.terminate()
        assert self.process.wait(20) == 0
        return time.monotonic() - started


@dataclass
class Shop:
    """One project: its spec, its repository, its state, and the command line.

    `place`: flags that say where the spec is, when it isn't in `directory`.
    """

    directory: Path
    project: str
    engine: PrivateEngine
    repo: GitRepo
    state_dir: Path
    environ: dict[str, str] = field(default_factory=dict)
    apps: dict[str, dict[str, Any]] = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)
    place: list[str] = field(default_factory=list)

    @property
    def spec(self) -> Path:
        return self.directory / "apps.yaml"

    def app(self, name: str = "api", **fields: Any) -> None:
        """Write an app into the spec: from the repository, answering on 8000."""
        base: dict[str, Any] = {"source": {"git": self.repo.url}, "health": HEALTH}
        self.apps[name] = {**base, **fields}
        self.write()

    def write(self) -> None:
        document = {"version": 1, "project": self.project, **self.top, "apps": self.apps}
        self.replace(yaml.safe_dump(document, sort_keys=False))

    def replace(self, text: str) -> None:
        """The spec's text at once, as editors do it: nobody reads half of it."""
        new = self.spec.with_name(".apps.yaml.new")
        new.write_text(text)
        new.replace(self.spec)

    def command(self, *arguments: str) -> list[str]:
        name, *rest = arguments
        flags = [] if name in ("init", "schema") else ["--state-dir", str(self.state_dir)]
        if name not in ("schema", "work"):
            flags += self.place or ["--file", str(self.spec)]
        return [sys.executable, "-m", "reconciler", *name.split(), *flags, *rest]

    def env(self) -> dict[str, str]:
        return {**os.environ, **self.engine.env(), "NO_COLOR": "1", **self.environ}

    def run(self, *arguments: str, timeout: float = 120) -> Ran:
        """Run `reconcile` to its end."""
        process = self.fork(*arguments)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return Ran(code, process.out, process.err)

    def fork(self, *arguments: str) -> Forked:
        """Start it, with all that it imports, and go on."""
        return Forked(self.command(*arguments)[3:], self.env(), self.directory)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it and go on. It hears SIGINT, also where the tests themselves don't."""
        return subprocess.Popen(
            ["env", "--default-signal=INT", *self.command(*arguments)],
            env=self.env(), cwd=self.directory, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    @contextmanager
    def daemon(self, *arguments: str) -> Iterator[Daemon]:
        """A daemon that runs for the block, and ends well at its end."""
        log = self.directory / f"daemon-{time.monotonic_ns()}.log"
        flags = ("--log-format", "json", "--interval", "1h", *arguments)
        with log.open("w") as stream:
            process = subprocess.Popen(
                self.command("daemon", *flags), env=self.env(), cwd=self.directory, stderr=stream
            )
        daemon = Daemon(process, log)
        try:
            yield daemon
            assert process.poll() in (None, 0, -signal.SIGKILL), log.read_text()
        finally:
            process.terminate()
            process.wait(20)

    def apply(self, *arguments: str, code: int = 0) -> Ran:
        """`apply`, which must end with `code`."""
        done = self.run("apply", *arguments)
        assert done.code == code, f"exit code {done.code}\n{done.out}\n{done.err}"
        return done

    def ask(self, *arguments: str) -> Any:
        """What `reconcile` prints as JSON, asked in this process: for what is asked often."""
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            for name, value in self.env().items():
                patch.setenv(name, value)
            reconcile([*self.command(*arguments)[3:], "-o", "json"])
        return json.loads(printed.getvalue())

    def status_document(self) -> Any:
        return self.ask("status")

    def status(self, name: str = "api") -> dict[str, Any]:
        document = self.status_document()
        found: dict[str, Any] = next(app for app in document["apps"] if app["name"] == name)
        return found

    def history(self, name: str = "api") -> list[dict[str, Any]]:
        document = self.ask("history", name)
        rows: list[dict[str, Any]] = document["deployments"]
        return rows

    def plan(self, *arguments: str) -> Any:
        return self.ask("plan", *arguments)

    def commit_page(self, text: str) -> str:
        return self.repo.commit({"Dockerfile": DOCKERFILE, "index.html": text})

    # -- what is really there ----------------------------------------------------------------

    def containers(self, name: str = "api") -> list[Any]:
        """All of the app's containers on the engine, running or not."""
        return self.engine.containers(f"reconciler.app={self.project}/{name}")

    def container_id(self, name: str = "api") -> str:
        """The id of the one container that the app has."""
        (one,) = self.containers(name)
        assert one["State"] == "running", one["Status"]
        identity: str = one["Id"]
        return identity

    def images(self, name: str = "api") -> set[str]:
        """Ids of the images that were built for the app."""
        filters = json.dumps({"label": [f"reconciler.image.app={self.project}/{name}"]})
        import urllib.parse

        found = self.engine.request("GET", f"/images/json?filters={urllib.parse.quote(filters)}")
        return {image["Id"] for image in found}

    def answer(self, name: str = "api", path: str = "/", port: int = 8000) -> str:
        """What the app answers now."""
        running = [one for one in self.containers(name) if one["State"] == "running"]
        assert running, f"nothing of {name} runs"
        networks = running[0]["NetworkSettings"]["Networks"]
        address = next(iter(networks.values()))["IPAddress"]
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=5) as response:
            return str(response.read().decode())

    def stages(self, row: Mapping[str, Any]) -> list[str]:
        """The stages that really did something."""
        return [stage["name"] for stage in row["stages"] if stage["status"] == "done"]


@pytest.fixture
def shop(
    engine: PrivateEngine,
    project: str,
    git_repo: Callable[[str], GitRepo],
    state_dir: Path,
    tmp_path: Path,
) -> Shop:
    directory = tmp_path / "config"
    directory.mkdir()
    repo = git_repo("app")
    repo.commit({"Dockerfile": DOCKERFILE, "index.html": "one"})
    return Shop(directory, project, engine, repo, state_dir)


def answers(shop: Shop, text: str, name: str = "api") -> bool:
    """Whether the app answers just that now."""
    try:
        return shop.answer(name) == text
    except (OSError, http.client.HTTPException, AssertionError, StopIteration):
        return False


def serves(shop: Shop, text: str, name: str = "api") -> bool:
    """Whether the app answers just that, and the deployment that brought it has ended well.

    An app answers before its deployment is done. What comes in between, such as an edit, finds
    nothing verified yet, and has another cause.
    """
    return answers(shop, text, name) and shop.status(name)["status"] == "done"


def files_below(directory: Path) -> Sequence[Path]:
    """All files, for looking whether something leaked into one."""
    return [path for path in directory.rglob("*") if path.is_file()]


def command_lines() -> str:
    """The argv of everything that runs on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(found)
