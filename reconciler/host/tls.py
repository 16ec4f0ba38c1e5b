"""TLS to an engine: its certificate is checked against the CA and the host's name, ours is shown.

Imported when there is such an engine only, as `ssl` takes its time.
"""

from __future__ import annotations

import functools
import socket
import ssl
from pathlib import Path

from reconciler.host.access import Access
from reconciler.host.private import PrivateDirectory
from reconciler.host.ways import Unreachable

_HUNG_UP = "it hung up, as it does when it ends or refuses a client certificate"
"""Its refusal comes after the handshake, and is lost when we have written something meanwhile."""
_WORDS = (
    (
        "hostname mismatch",
        "the certificate is for another name",
        "Use a name that is in the engine's certificate, or make one with this name or address.",
    ),
    (
        "ip address mismatch",
        "the certificate is for another address",
        "Use a name that is in the engine's certificate, or make one with this name or address.",
    ),
    (
        "certificate has expired",
        "the certificate has expired",
        "Renew the engine's certificate, or set this machine's clock.",
    ),
    (
        "certificate verify failed",
        "its certificate isn't signed by the CA in `tls.ca`",
        "Give the CA that signed the engine's certificate.",
    ),
    (
        "certificate required",
        "it wants a client certificate",
        "Give `tls.cert` and `tls.key`, signed by the CA that the engine trusts.",
    ),
    (
        "unknown ca",
        "it doesn't trust the CA of our client certificate",
        "Give a `tls.cert` that is signed by the CA that the engine trusts.",
    ),
    (
        "bad certificate",
        "it refuses our client certificate",
        "Give a `tls.cert` that is signed by the CA that the engine trusts, for client use.",
    ),
    (
        "eof occurred in violation",
        _HUNG_UP,
        "Check that `tls.cert` is signed by the CA that the engine trusts; else its log tells.",
    ),
    (
        "connection reset",
        _HUNG_UP,
        "Check that `tls.cert` is signed by the CA that the engine trusts; else its log tells.",
    ),
    (
        "wrong version number",
        "it doesn't speak TLS on this port",
        "Start the engine with --tlsverify, or correct the port (2376 is usual for TLS).",
    ),
)


class Certificates:
    """The access's keys, as private files and as a context of `ssl`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._private = PrivateDirectory()
        self.directory: Path = self._private.path
        for name, text in (
            ("ca.pem", access.tls_ca),
            ("cert.pem", access.tls_cert),
            ("key.pem", access.tls_key),
        ):
            if text:
                self._private.write(name, text if text.endswith("\n") else f"{text}\n")

    @functools.cached_property
    def _context(self) -> ssl.SSLContext:
        access = self._access
        try:
            context = ssl.create_default_context(cadata=access.tls_ca or None)
        except ssl.SSLError:
            raise Unreachable("`tls.ca` isn't a certificate", "Give it in PEM form.") from None
        if access.tls_cert or access.tls_key:
            try:
                context.load_cert_chain(self.directory / "cert.pem", self.directory / "key.pem")
            except (ssl.SSLError, OSError):
                raise Unreachable(
                    "`tls.cert` and `tls.key` don't belong together, or aren't in PEM form",
                    "Give a certificate and its own key, without a passphrase.",
                ) from None
        return context

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """The handshake. Raises `OSError`."""
        try:
            return self._context.wrap_socket(connection, server_hostname=self._access.hostname)
        except ssl.SSLError as error:
            raise explain_tls(str(error), self._access) from None

    def close(self) -> None:
        """Remove the files."""
        self._private.close()


def explain_tls(text: str, access: Access) -> Unreachable:
    """What `ssl` says, in words for people. Pure."""
    plain = text.lower().replace("_", " ")
    if not access.tls_cert:  # what engines before 25 say when there is none
        plain = plain.replace("alert bad certificate", "certificate required")
    for words, reason, todo in _WORDS:
        if words in plain:
            return Unreachable(reason, todo)
    return Unreachable(text)
