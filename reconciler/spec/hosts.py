"""The machines that apps run on, beside the one that runs reconcile."""

# No `from __future__ import annotations`: annotations are read when the class is made.

import re
from collections.abc import Iterator
from typing import Annotated

from reconciler.spec.declare import Rule, Section, Text, about, section
from reconciler.spec.fields import Line
from reconciler.spec.sources import Ref

LOCAL = "local"
"""The name of the engine that `DOCKER_HOST` means, or the one on this machine."""

_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME = r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9a-fA-F:.]+\])"
_URL = (
    rf"unix://(?:/[^\x00-\x20\x7f]+)|tcp://{_NAME}(?::\d{{1,5}})?"
    rf"|ssh://(?:{_USER}@)?{_NAME}(?::\d{{1,5}})?(?:/[^\x00-\x20\x7f]+)?"
)


def _engine_url(text: str) -> str:
    if re.match(r"[a-z]+://[^/@]*:[^/@]*@", text):
        raise ValueError("a password doesn't belong in the address", "use ssh_key, or the agent")
    if not re.fullmatch(_URL, text):
        raise ValueError("expected ssh://[user@]host[:port], tcp://host:port or unix:///socket")
    return text


EngineUrl = Annotated[
    str, Text(_engine_url, expects="an engine's address", pattern=f"^(?:{_URL})$", hidden=True)
]


@section
class Tls(Section):
    """The certificates for an engine that listens with TLS, all PEM."""

    ca: Ref = about("Who signed the engine's certificate.", {"file": "tls/ca.pem"})
    cert: Ref = about("This client's certificate.", {"file": "tls/cert.pem"})
    key: Ref = about("Its private key.", {"file": "tls/key.pem"})


@section
class Host(Section):
    """A machine with a Docker engine."""

    docker: EngineUrl = about(
        "Where its engine is: over ssh, whose user may use docker there; over tcp with tls; or a "
        "socket of this machine. ssh://…/path names another socket than /var/run/docker.sock.",
        "ssh://deploy@10.0.0.5",
        "tcp://10.0.0.6:2376",
    )
    tls: Tls | None = about(
        "For tcp://: without it the connection is neither secret nor protected.",
        {"ca": {"file": "ca.pem"}, "cert": {"file": "cert.pem"}, "key": {"file": "key.pem"}},
        default=None,
    )
    ssh_key: Ref | None = about(
        "For ssh://: the private key; default: the agent or ssh's own keys.",
        {"file": "/etc/reconciler/deploy_key"},
        default=None,
    )
    known_hosts: Ref | None = about(
        "For ssh://: the keys that the host may show, as ssh-keyscan prints them; default: "
        "ssh's own known_hosts. An unknown or changed key is refused.",
        {"file": "known_hosts"},
        default=None,
    )
    address: Line | None = about(
        "Where ports that are published there can be reached from here; default: the host of "
        "the engine's address.",
        "10.0.0.5",
        default=None,
    )

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        if self.tls and not self.docker.startswith("tcp://"):
            yield "tls", "certificates are for tcp://"
        for name in ("ssh_key", "known_hosts"):
            if getattr(self, name) and not self.docker.startswith("ssh://"):
                yield name, f"{name} is for ssh://"
