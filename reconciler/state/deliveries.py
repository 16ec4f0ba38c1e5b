"""Webhooks that were heard, so that one that is sent again does nothing."""

from __future__ import annotations

from reconciler.state.store import Store

KEPT = 5000
"""The newest ones; an older one that comes again asks for one look, and no more."""


def hear(store: Store, digest: str, now: float) -> bool:
    """Whether this one is new; it isn't the next time. `digest`: hash of who sent what."""
    with store.transaction() as connection:
        new = connection.execute(
            "INSERT OR IGNORE INTO deliveries (digest, at) VALUES (?, ?)", (digest, now)
        ).rowcount
        if new:
            connection.execute(
                "DELETE FROM deliveries WHERE digest IN ("
                "SELECT digest FROM deliveries ORDER BY at DESC LIMIT -1 OFFSET ?)",
                (KEPT,),
            )
    return bool(new)
