"""A project whose app `web` is reached through the proxy, by HTTP and by TCP.

Version VERSION answers `web VERSION`. Its health check is a file that the tests can take away, and
MODE says how it is broken: `exit` ends at once, `port` listens elsewhere, `errors` answers 500.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from reconciler.engine.desired import Policy
from reconciler.engine.reconcile import run_pass
from reconciler.engine.wiring import open_tools
from reconciler.engine.worker import Workers
from reconciler.events import Event
from reconciler.host.labels import LABEL_PROXY
from reconciler.spec.loader import load_spec
from reconciler.state.records import Deployment
from tests.e2e.conftest import Shop
from tests.runtime.proxying import free_ports
from tests.support.haproxy import make_haproxy_image
from tests.support.load import Load

DOMAIN = "shop.example.com"
FILES = {
    "Dockerfile": 'FROM busybox:stable\nCOPY start lines errors /bin/\nCMD ["start"]\n',
    "start": """\
#!/bin/sh
trap 'exit 0' TERM
[ "$MODE" = exit ] && exit 3
[ "$MODE" = port ] && HTTP=9999
mkdir -p /www/$VERSION
printf 'web %s' $VERSION >/www/$VERSION/index.html
touch /www/$VERSION/healthz
nc -ll -p 9000 -e /bin/lines &
if [ "$MODE" = errors ]; then
    nc -ll -p 8000 -e /bin/errors &
else
    httpd -p ${HTTP:-8000} -h /www/$VERSION
fi
while :; do sleep 1 & wait $!; done
""",
    "lines": '#!/bin/sh\nwhile read -r line; do echo "web $VERSION $line"; done\n',
    "errors": """\
#!/bin/sh
while read -r line && [ "${#line}" -gt 1 ]; do :; done
printf 'HTTP/1.1 500 Oops\\r\\nConnection: close\\r\\nContent-Length: 4\\r\\n\\r\\noops'
""",
}
HEALTH = {"http": {"port": 8000, "path": "/healthz"}}
QUICK = {"drain": "3s", "watch": "0.2s"}


class Front:
    """The project: `declare` a version, `apply` it in this process, look at it."""

    def __init__(self, shop: Shop) -> None:
        make_haproxy_image(shop.engine)
        self.shop = shop
        self.http, self.tcp = free_ports(2)
        shop.repo.commit(FILES)
        for name in ("start", "lines", "errors"):
            (shop.repo.path / name).chmod(0o755)
        shop.repo.commit(FILES)
        shop.top = {"proxy": {"http": self.http, "address": "127.0.0.1"}}
        self.www = shop.directory / "www"
        self.www.mkdir()
        self.events: list[Callable[[Event], None]] = []

    def declare(self, version: str, mode: str = "", rollout: Any = None, **fields: Any) -> None:
        self.shop.app(
            "web",
            env={"VERSION": version, "MODE": mode},
            expose={
                "http": {"domains": [DOMAIN], "port": 8000},
                "tcp": {"listen": self.tcp, "port": 9000},
            },
            volumes=["./www:/www"],
            rollout={**QUICK, **(rollout or {})},
            restart="no",
            **{"health": {**HEALTH, "timeout": "1s" if mode else "20s"}, **fields},
        )

    def apply(self) -> Deployment:
        """A pass and what it asks for; the deployment's row."""
        loaded = load_spec(self.shop.spec)
        with open_tools(self.shop.state_dir, self._hear) as tools:
            (row,) = run_pass(tools, loaded, Policy(), "apply").queued
            (ended,) = Workers(tools, 1, [row.id]).run_to_end()
        return ended

    def resume(self) -> None:
        """What the next `apply` does: it finishes what is on its way."""
        loaded = load_spec(self.shop.spec)
        with open_tools(self.shop.state_dir) as tools:
            waiting = run_pass(tools, loaded, Policy(), "apply").on_their_way
            for row in Workers(tools, 1, waiting, ()).run_to_end():
                assert row.outcome == "succeeded", row.reason

    def _hear(self, event: Event) -> None:
        for listener in self.events:
            listener(event)

    def fall_ill(self, version: str) -> None:
        """The check of this version fails from now on; it goes on answering."""
        (self.www / version / "healthz").unlink()

    def fall_ill_when_watched(self, version: str) -> None:
        def hear(event: Event) -> None:
            if (event.kind, event.data.get("stage"), event.data.get("status")) == (
                "stage", "watch", "running",
            ):  # fmt: skip
                self.fall_ill(version)

        self.events = [hear]

    def killed(self, where: str) -> None:
        """`apply` by the command line, which kills itself when it calls the function `where`, such
        as `reconciler.pipeline.traffic:drain_old`, or comes to the edge of a stage: `begin watch`.
        """
        edge, _, stage = where.partition(" ")
        module, _, path = (f"reconciler.queue:{edge}_stage" if stage else where).partition(":")
        code = (
            "import functools, importlib, os, signal, sys\n"
            f"*way, name = {path.split('.')!r}\n"
            f"owner = functools.reduce(getattr, way, importlib.import_module({module!r}))\n"
            "real = getattr(owner, name)\n"
            "def deadly(*arguments):\n"
            f"    if not {stage!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    answer = real(*arguments)\n"
            f"    if {stage!r} in arguments: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return answer\n"
            "setattr(owner, name, deadly)\n"
            "from reconciler.cli import run\n"
            "sys.exit(run(sys.argv[1:]))\n"
        )
        command = [*self.shop.command("apply")]
        command[1:3] = ["-c", code]
        done = subprocess.run(
            command, env=self.shop.env(), cwd=self.shop.directory, capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    @contextmanager
    def load(self, **settings: Any) -> Iterator[Load]:
        """HTTP and TCP clients that judge."""
        settings = {"pause": 0.1, "lines": 3, **settings}
        url = f"http://{DOMAIN}:{self.http}/"
        with Load(http=[url], tcp=[self.tcp], expect="web v", **settings) as load:
            yield load

    def answer(self) -> str:
        """What the domain answers now; how it fails, if it does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=5)
        try:
            connection.request("GET", "/", headers={"Host": DOMAIN})
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            connection.close()

    def kill_proxy(self) -> None:
        """-9, as the kernel does when memory runs out."""
        (proxy,) = self.shop.engine.containers(f"{LABEL_PROXY}={self.shop.project}")
        os.kill(self.shop.engine.inspect(proxy["Id"])["State"]["Pid"], signal.SIGKILL)

    @property
    def versions(self) -> list[str]:
        """Of the containers that are there, running or not."""
        found = []
        for container in self.shop.containers("web"):
            environment = self.shop.engine.inspect(container["Id"])["Config"]["Env"]
            found += [v.partition("=")[2] for v in environment if v.startswith("VERSION=")]
        return sorted(found)
