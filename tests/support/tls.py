"""An engine that listens on TCP and wants certificates, and those who make them."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from reconciler.host.access import Access
from tests.support import system
from tests.support.engine import PrivateEngine

PORT = 2376


class Authority:
    """A CA. Its files are in `directory`, which it makes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "config").write_text("[req]\ndistinguished_name = name\n[name]\n")
        self._request("ca", "/CN=test CA", "basicConstraints=critical,CA:TRUE")

    def sign(self, name: str, *extensions: str) -> None:
        """Make `name`.pem and `name`-key.pem."""
        issuer: list[str | Path] = [
            "-CA",
            self.directory / "ca.pem",
            "-CAkey",
            self.directory / "ca-key.pem",
        ]
        self._request(name, f"/CN={name}", "basicConstraints=CA:FALSE", *extensions, issuer=issuer)

    def _request(
        self, name: str, subject: str, *extensions: str, issuer: list[str | Path] | None = None
    ) -> None:
        argv: list[str | Path] = ["openssl", "req", "-x509", "-config", self.directory / "config"]
        argv += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        argv += ["-keyout", self.directory / f"{name}-key.pem", "-subj", subject, *(issuer or [])]
        argv += ["-out", self.directory / f"{name}.pem"]
        argv += [word for extension in extensions for word in ("-addext", extension)]
        system.run(*argv)

    def text(self, name: str) -> str:
        return (self.directory / f"{name}.pem").read_text()


class TlsEngine:
    """`engine` answers on 127.0.0.1 in its own namespace; `stranger` is a CA that it ignores."""

    def __init__(self) -> None:
        self.engine = PrivateEngine.create()
        self.authority = Authority(self.engine.home / "tls")
        self.stranger = Authority(self.engine.home / "stranger")
        self.authority.sign("server", "subjectAltName=IP:127.0.0.1,DNS:docker.test")
        for authority in (self.authority, self.stranger):
            authority.sign("client", "extendedKeyUsage=clientAuth")
        self.url = f"tcp://127.0.0.1:{PORT}"
        files = self.authority.directory
        self.engine.flags = (
            *("-H", self.url, "--tlsverify", "--tlscacert", str(files / "ca.pem")),
            *("--tlscert", str(files / "server.pem"), "--tlskey", str(files / "server-key.pem")),
        )
        self.engine.start_once()

    @cached_property
    def access(self) -> Access:
        return self.by(self.authority)

    def by(self, authority: Authority) -> Access:
        """With this CA's client certificate; the engine's own is checked against the right one."""
        return Access(
            self.url,
            tls_ca=self.authority.text("ca"),
            tls_cert=authority.text("client"),
            tls_key=authority.text("client-key"),
        )

    @property
    def anonymous(self) -> Access:
        return replace(self.access, tls_cert="", tls_key="")
