"""Messages of `apply`: one for each change, however often cron runs it."""

from __future__ import annotations

from tests.e2e.conftest import Shop, files_below
from tests.support.receiver import Receiver

TOKEN = "t0k3n-of-the-service"


def test_apply_tells_a_failure_once_and_the_recovery(shop: Shop) -> None:
    """Of two services, one is away, which changes nothing."""
    with Receiver() as receiver:
        shop.environ["NOTIFY_URL"] = receiver.url(TOKEN)
        shop.top["notify"] = {"urls": [{"env": "NOTIFY_URL"}, f"json://127.0.0.1:9/{TOKEN}"]}
        shop.app(revision="no-such-branch")
        outputs = [shop.apply(code=1), shop.apply("-q", code=1)]
        shop.app()
        outputs += [shop.apply("-q")]
    name = f"{shop.project}/api"
    assert receiver.titles == [f"{name} failed", f"{name} recovered"]
    assert "no-such-branch" in receiver.messages[0]["message"]
    assert "notification failed" in outputs[0].err
    assert not [one for one in outputs if TOKEN in one.out + one.err]
    leaks = [path for path in files_below(shop.state_dir) if TOKEN.encode() in path.read_bytes()]
    assert leaks == []
