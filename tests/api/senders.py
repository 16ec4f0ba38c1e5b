"""Webhooks as their senders make them: body, content type, and all headers together."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PAYLOADS = Path(__file__).parent / "payloads"
SECRET = "s3cret-of-the-hook"
UUID = "f6266f16-1bf3-46a5-9ea4-602e06ead473"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def payload(name: str, **changes: Any) -> bytes:
    """A sample body, with other top-level fields."""
    return json.dumps(json.loads((PAYLOADS / f"{name}.json").read_text()) | changes).encode()


def as_form(body: bytes) -> bytes:
    return urlencode({"payload": body.decode()}).encode()


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(body: bytes, event: str = "push", secret: str = SECRET) -> dict[str, str]:
    sha1 = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    return {
        "Content-Type": JSON,
        "User-Agent": "GitHub-Hookshot/1a2b3c4",
        "X-GitHub-Delivery": UUID,
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "42",
        "X-Hub-Signature": f"sha1={sha1}",
        "X-Hub-Signature-256": f"sha256={sign(body, secret)}",
    }


def gitea(signed: bytes, event: str = "push", secret: str = SECRET) -> dict[str, str]:
    """Without a secret the signatures are there, and empty."""
    signature = sign(signed, secret) if secret else ""
    sha1 = hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest() if secret else ""
    return {
        "Content-Type": JSON,
        "X-GitHub-Delivery": UUID,
        "X-GitHub-Event": event,
        "X-GitHub-Event-Type": event,
        "X-Gitea-Delivery": UUID,
        "X-Gitea-Event": event,
        "X-Gitea-Event-Type": event,
        "X-Gitea-Signature": signature,
        "X-Gogs-Delivery": UUID,
        "X-Gogs-Event": event,
        "X-Gogs-Event-Type": event,
        "X-Gogs-Signature": signature,
        "X-Hub-Signature": f"sha1={sha1}",
        "X-Hub-Signature-256": f"sha256={signature}",
    }


def forgejo(signed: bytes, event: str = "push", secret: str = SECRET) -> dict[str, str]:
    return gitea(signed, event, secret) | {
        "X-Forgejo-Delivery": UUID,
        "X-Forgejo-Event": event,
        "X-Forgejo-Event-Type": event,
        "X-Forgejo-Signature": sign(signed, secret) if secret else "",
    }


def gogs(body: bytes, event: str = "push", secret: str = SECRET) -> dict[str, str]:
    return {
        "Content-Type": JSON,
        "X-Gogs-Delivery": UUID,
        "X-Gogs-Event": event,
        "X-Gogs-Signature": sign(body, secret),
        "X-GitHub-Event": event,
    }


def gitlab(_body: bytes, event: str = "Push Hook", secret: str = SECRET) -> dict[str, str]:
    return {
        "Content-Type": JSON,
        "X-Gitlab-Event": event,
        "X-Gitlab-Event-UUID": UUID,
        "X-Gitlab-Instance": "https://gitlab.example.com",
        "X-Gitlab-Token": secret,
    }


def bitbucket(body: bytes, event: str = "repo:push", secret: str = SECRET) -> dict[str, str]:
    return {
        "Content-Type": JSON,
        "X-Event-Key": event,
        "X-Hook-UUID": UUID,
        "X-Hub-Signature": f"sha256={sign(body, secret)}",
        "X-Request-UUID": UUID,
    }


SENDERS = {
    "github": ("github-push", github),
    "gitea": ("gitea-push", gitea),
    "forgejo": ("gitea-push", forgejo),
    "gogs": ("gitea-push", gogs),
    "gitlab": ("gitlab-push", gitlab),
    "bitbucket": ("bitbucket-push", bitbucket),
}
"""Git hosts: a push of each, and its headers."""
