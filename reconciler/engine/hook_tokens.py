"""The secret end of an app's own URL, `/api/deploy/TOKEN`: whoever knows it may ask for a look.

It follows from the app's name and the state's key, so it is stored nowhere, stays the same as
long as the state does, and means nothing elsewhere.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable

from reconciler.state.store import Store


def hook_token(store: Store, app: str) -> str:
    """The token of an app (`<project>/<name>`): 32 lower case letters and digits."""
    return _derive(store.fingerprint_key(), app)


def find_hook_app(store: Store, apps: Iterable[str], token: str) -> str:
    """Whose token it is, compared in constant time; empty for nobody's."""
    key, given, found = store.fingerprint_key(), token.encode("utf-8", "replace"), ""
    for app in apps:
        if hmac.compare_digest(_derive(key, app).encode(), given):
            found = app
    return found


def _derive(key: bytes, app: str) -> str:
    digest = hmac.digest(key, b"deploy hook\0" + app.encode(), "sha256")
    return base64.b32encode(digest[:20]).decode().lower()
