"""Who may call by webhook: how each proves itself, and how its bodies are read. Pure.

A new one is an entry of `PROVIDERS`, and a field of `spec.sections.Webhooks` for its secret.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from reconciler.api.hints import Hint, read_bitbucket, read_github, read_gitlab, read_registry
from reconciler.values import frozen

_HEX = re.compile(r"[0-9a-f]{64}")
_FORM = "application/x-www-form-urlencoded"


@frozen
class Delivery:
    """One request. `headers`: by name in lower case; `url_secret`: what the URL ends in."""

    headers: Mapping[str, str]
    body: bytes
    url_secret: str = ""

    @property
    def payload(self) -> bytes:
        """The JSON in the body; hosts can be told to send it as the form field `payload`."""
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return self.body
        try:
            fields = parse_qs(self.body, max_num_fields=20)
        except ValueError:
            return b""
        return fields.get(b"payload", [b""])[0]

    def read(self) -> Any:
        """The payload. Raises ValueError for what isn't JSON."""
        try:
            return json.loads(self.payload)
        except RecursionError:
            raise ValueError("nested too deeply") from None


Proof = Callable[[Delivery, bytes], bytes | None]
"""From a request and the secret, which isn't empty, to what was signed; None for a stranger."""


def by_hmac(header: str, prefix: str = "", *, signs_payload: bool = False) -> Proof:
    """An HMAC-SHA256 in hex over the body as it came.

    `signs_payload`: of a form, the host signs the field's value and not the form.
    """

    def prove(delivery: Delivery, secret: bytes) -> bytes | None:
        given = delivery.headers.get(header, "")
        digits = given.removeprefix(prefix).lower()
        if not given.startswith(prefix) or not _HEX.fullmatch(digits):
            return None
        candidates = (delivery.body, delivery.payload) if signs_payload else (delivery.body,)
        for signed in candidates:
            if hmac.compare_digest(hmac.digest(secret, signed, "sha256").hex(), digits):
                return signed
        return None

    return prove


def by_token(header: str) -> Proof:
    """The secret itself in a header."""

    def prove(delivery: Delivery, secret: bytes) -> bytes | None:
        return delivery.body if _same(_sent(delivery, header), secret) else None

    return prove


def by_url(delivery: Delivery, secret: bytes) -> bytes | None:
    """The secret itself at the end of the URL."""
    return delivery.body if _same(delivery.url_secret.encode(), secret) else None


def by_url_or_authorization(delivery: Delivery, secret: bytes) -> bytes | None:
    """At the end of the URL, or as the Authorization header, with or without `Bearer`."""
    header = _sent(delivery, "authorization")
    scheme, _, token = header.partition(b" ")
    bearer = token if scheme.lower() == b"bearer" else b""
    proofs = [_same(given, secret) for given in (delivery.url_secret.encode(), header, bearer)]
    return delivery.body if any(proofs) else None


def _sent(delivery: Delivery, header: str) -> bytes:
    """A header's bytes: on the wire they are Latin-1, whatever was put into them."""
    return delivery.headers.get(header, "").encode("latin-1", "replace")


def _same(given: bytes, secret: bytes) -> bool:
    return bool(given) and hmac.compare_digest(given, secret)


@frozen
class Provider:
    """`event_header`: has the event's name, and tells this provider from others; empty where
    there is none. `at_url`: the secret may end the URL.
    """

    prove: Proof
    read: Callable[[str, Any], list[Hint]]
    event_header: str = ""
    at_url: bool = False

    def event(self, delivery: Delivery) -> str:
        """The event's name; empty where it isn't in a header."""
        return delivery.headers.get(self.event_header, "")


PROVIDERS: Mapping[str, Provider] = {
    # Forgejo sends Gitea's headers, Gitea those of Gogs, and all of them GitHub's.
    "forgejo": Provider(
        by_hmac("x-forgejo-signature", signs_payload=True), read_github, "x-forgejo-event"
    ),
    "gitea": Provider(
        by_hmac("x-gitea-signature", signs_payload=True), read_github, "x-gitea-event"
    ),
    "gogs": Provider(by_hmac("x-gogs-signature", signs_payload=True), read_github, "x-gogs-event"),
    "gitlab": Provider(by_token("x-gitlab-token"), read_gitlab, "x-gitlab-event"),
    "bitbucket": Provider(by_hmac("x-hub-signature", "sha256="), read_bitbucket, "x-event-key"),
    "github": Provider(by_hmac("x-hub-signature-256", "sha256="), read_github, "x-github-event"),
    "registry": Provider(by_url_or_authorization, read_registry, at_url=True),
    "dockerhub": Provider(by_url, read_registry, at_url=True),
}
"""By name, the most specific header first."""


def detect(headers: Mapping[str, str]) -> str:
    """Who sent these headers, empty when nobody known did."""
    return next(_detected(headers), "")


def _detected(headers: Mapping[str, str]) -> Iterator[str]:
    for name, provider in PROVIDERS.items():
        if provider.event_header and provider.event_header in headers:
            yield name
