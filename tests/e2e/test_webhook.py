"""A push at a git host, from the webhook to the container and its log."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx

from reconciler.state.store import Store
from reconciler.state.tokens import Token, create_token
from tests.api.senders import SECRET, forgejo, payload
from tests.e2e.conftest import Shop, answers


def test_push_that_a_host_tells_of_is_served_and_its_log_followed(
    shop: Shop, wait_until: Callable[..., Any]
) -> None:
    shop.environ["HOOK_SECRET"] = SECRET
    shop.top["webhooks"] = {"forgejo": {"env": "HOOK_SECRET"}}
    shop.app(revision="main")
    store = Store(shop.state_dir)
    key = create_token(store, Token("watcher", "read"), time.time())
    with socket.create_server(("127.0.0.1", 0)) as found:
        listen = f"127.0.0.1:{found.getsockname()[1]}"
    headers = {"Authorization": f"Bearer {key}"}
    client = httpx.Client(base_url=f"http://{listen}", headers=headers, timeout=20)
    with client, shop.daemon("--listen", listen):
        wait_until(lambda: answers(shop, "one") and not store.unfinished(), timeout=30)
        commit = shop.commit_page("two")
        repository = {"full_name": "shop/api", "clone_url": shop.repo.url, "default_branch": "main"}
        body = payload("gitea-push", after=commit, repository=repository)
        heard = client.post("/hooks", content=body, headers=forgejo(body)).json()
        assert heard["apps"] == [f"{shop.project}/api"]
        (row,) = wait_until(lambda: [r for r in store.list_deployments() if r.resolved == commit])
        log = f"/apps/api/deployments/{row.id}/log"
        lines = client.get(log).text.splitlines()
        assert json.loads(lines[-3].removeprefix("data: "))["outcome"] == "succeeded"
        assert (row.resolved, shop.answer()) == (commit, "two")
        assert client.get("/readyz").status_code == 200
        assert 'outcome="succeeded"} 2.0' in client.get("/metrics").text
    store.close()
