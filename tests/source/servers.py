"""Real git servers for tests, and a way to see which programs were started."""

import base64
import gzip
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from tests.support.system import run, wait_until


def record_calls(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[list[str]]]:
    """Put a program of that name in front of PATH that notes its argv and becomes the real one."""
    real = shutil.which(program)
    calls, directory = tmp_path / f"{program}-calls", tmp_path / "recording"
    directory.mkdir(exist_ok=True)
    calls.touch()
    script = directory / program
    script.write_text(
        "#!/bin/sh\n"
        f"{{ printf '%s\\037' \"$@\"; printf '\\036'; }} >> {shlex.quote(str(calls))}\n"
        f'exec {real} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def read() -> list[list[str]]:
        text = calls.read_text()
        return [one.split("\037")[:-1] for one in text.split("\036")[:-1]]

    return read


def subcommands(calls: list[list[str]]) -> list[str]:
    """`ls-remote`, `fetch` …: what each git was asked to do, without options before it."""
    found = []
    for call in calls:
        words = iter(call)
        for word in words:
            if word in ("-c", "-C", "--git-dir", "--work-tree"):
                next(words)
            elif not word.startswith("-"):
                found.append(word)
                break
    return found


class GitHttp:
    """`git http-backend` over http, or https with `certificate`, below the directory `root`.

    Wants `user` and `password` while `wants_login`. `seen` has the path of each request.
    `hold`: requests for packs wait while it's set, with `hold_questions` those for refs as well;
    `holding` tells that one does.
    """

    user, password = "deploy", "s3cret-t0ken%&"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wants_login = True
        self.seen: list[str] = []
        self.authorized: list[bool] = []
        self.hold, self.holding = threading.Event(), threading.Event()
        self.hold_questions = False
        self.redirect_to = ""
        self.scheme = "http"

    def __enter__(self) -> Self:
        self._serve(0)
        return self

    def _serve(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.hold.clear()
        self.go_away()

    def go_away(self) -> None:
        """Listen no more; `come_back` on the same port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def come_back(self) -> None:
        self._serve(self._server.server_port)

    def use_tls(self, directory: Path) -> Path:
        """Switch to https; the certificate, which nobody trusts yet."""
        certificate, key = directory / "cert.pem", directory / "key.pem"
        names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
        kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        run("openssl", "req", *kind, *names, "-keyout", key, "-out", certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        plain = self._server.socket
        self._server.socket = context.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        )
        self.scheme = "https"
        return certificate

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, name: str) -> str:
        return f"{self.scheme}://{self.host}/{name}"

    def accepts(self, header: str) -> bool:
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return not self.wants_login or header == f"Basic {expected}"


def _handler(server: GitHttp) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self.answer(body)

        def answer(self, body: bytes) -> None:
            server.seen.append(self.path)
            header = self.headers.get("Authorization", "")
            server.authorized.append(bool(header))
            if server.redirect_to:
                self.send_response(302)
                self.send_header("Location", server.redirect_to + self.path)
                self.end_headers()
                return
            if not server.accepts(header):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            is_fetch = b"command=fetch" in body
            if server.hold.is_set() and (is_fetch or server.hold_questions):
                server.holding.set()
                wait_until(lambda: not server.hold.is_set(), 60)
            self.run_backend(body)

        def run_backend(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            env = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_GLOBAL": os.environ.get("GIT_CONFIG_GLOBAL", "/dev/null"),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "REMOTE_ADDR": "127.0.0.1",
            }
            backend = "/usr/lib/git-core/git-http-backend"
            done = subprocess.run([backend], input=body, env=env, capture_output=True, check=False)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = [line.partition(": ")[::2] for line in head.decode().splitlines()]
            status = dict(fields).get("Status", "200")
            self.send_response(int(status.split()[0]))
            for name, value in fields:
                if name != "Status":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def finish(self) -> None:
            super().finish()
            if isinstance(self.connection, ssl.SSLSocket):
                with suppress(OSError):
                    self.connection.unwrap()  # gnutls wants a proper end

        def log_message(self, *_: object) -> None:
            return

    return Handler


class GitSsh:
    """An sshd for this user on 127.0.0.1 with keys of its own.

    `command` is what `GIT_SSH_COMMAND` has to be, so that nothing of the user's is used:
    `known_hosts` there has the host's key, unless a test empties it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.key, self.known_hosts = home / "it's a key", home / "known_hosts"

    def __enter__(self) -> Self:
        self.home.mkdir()
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for key in (self.key, self.home / "host"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        shutil.copy(self.key.with_suffix(".pub"), self.home / "authorized")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        public = (self.home / "host.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
        (self.home / "ssh_config").write_text(f'UserKnownHostsFile "{self.known_hosts}"\n')
        (self.home / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.home}/host\n"
            f"AuthorizedKeysFile {self.home}/authorized\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nPidFile none\nPermitRootLogin yes\n"
        )
        argv = [shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D", "-e", "-f"]
        self._log = (self.home / "log").open("w")
        self._sshd = subprocess.Popen([*argv, self.home / "sshd_config"], stderr=self._log)
        wait_until(self._answers, 10, "an answer of sshd")
        return self

    def __exit__(self, *_: object) -> None:
        self._sshd.terminate()
        self._sshd.wait()
        self._log.close()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def command(self) -> str:
        return f"ssh -F {shlex.quote(str(self.home / 'ssh_config'))}"

    def url(self, path: Path) -> str:
        return f"ssh://127.0.0.1:{self.port}{path}"
