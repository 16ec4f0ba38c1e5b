"""The queue on a real SQLite file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler import queue
from reconciler.engine.documents import Wanted, status_document
from reconciler.errors import LeaseLost, Locked
from reconciler.host.owner import current_owner, describe_process, is_alive
from reconciler.queue import Ending, StageResult
from reconciler.state.apps import (
    FailedTry,
    HoldRow,
    Version,
    record_version,
    rename_app,
    set_hold,
)
from reconciler.state.recorded import read_recorded
from reconciler.state.records import Request
from reconciler.state.store import Store

OWNER = current_owner()
SPEC = {"source": {"path": "./api"}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state")
    yield opened
    opened.close()


def request(app: str = "shop/api", **changes: object) -> Request:
    values = {"kind": "deploy", "trigger": "apply", "target": "v1:t", "spec": SPEC, "base_dir": "/"}
    return Request(app=app, **{**values, **changes})  # type: ignore[arg-type]


def test_put_row_is_queued_at_once(store: Store) -> None:
    row = queue.put(store, request(cause="not deployed yet"), 1000.0)
    assert (row.status, row.outcome, row.queued_at) == ("queued", None, 1000.0)
    app = store.find_app("shop/api")
    assert app is not None
    assert app.status == "running"


def test_put_waiting_one_is_superseded_and_stays_in_history(store: Store) -> None:
    first = queue.put(store, request(), 1.0)
    second = queue.put(store, request(), 2.0)
    old = store.find_deployment(first.id)
    assert old is not None
    assert (old.status, old.outcome, old.reason) == (
        "done",
        "superseded",
        f"replaced by {second.id}",
    )
    assert [row.id for row in store.unfinished()] == [second.id]


def test_put_leaves_the_running_one_alone(store: Store) -> None:
    first = queue.put(store, request(), 1.0)
    queue.claim(store, OWNER, 2.0)
    second = queue.put(store, request(), 3.0)
    assert [(row.id, row.status) for row in store.unfinished()] == [
        (first.id, "running"),
        (second.id, "queued"),
    ]


def test_database_refuses_two_running_of_one_app(store: Store) -> None:
    queue.put(store, request(), 1.0)
    queue.claim(store, OWNER, 2.0)
    queue.put(store, request(), 3.0)
    with pytest.raises(sqlite3.IntegrityError):
        store.connection.execute("UPDATE deployments SET status = 'running'")


def test_claim_takes_the_oldest_whose_app_is_free(store: Store) -> None:
    queue.put(store, request("shop/api"), 1.0)
    assert queue.claim(store, OWNER, 2.0)
    queue.put(store, request("shop/api"), 3.0)
    web = queue.put(store, request("shop/web"), 4.0)
    claim = queue.claim(store, OWNER, 5.0)
    assert claim is not None
    assert claim.id == web.id
    assert queue.claim(store, OWNER, 6.0) is None


def test_claim_only_named_ones(store: Store) -> None:
    queue.put(store, request("shop/api"), 1.0)
    web = queue.put(store, request("shop/web"), 2.0)
    claim = queue.claim(store, OWNER, 3.0, only=[web.id])
    assert claim is not None
    assert claim.id == web.id
    assert queue.claim(store, OWNER, 3.0, only=[web.id]) is None


def test_claim_with_nothing_to_take_writes_nothing(store: Store) -> None:
    queue.put(store, request(), 1.0)
    queue.claim(store, OWNER, 2.0)
    before = store.connection.execute("PRAGMA data_version").fetchone()[0]
    other = sqlite3.connect(store.path)
    changes = other.execute("PRAGMA data_version").fetchone()[0]
    assert queue.claim(store, OWNER, 3.0) is None
    assert other.execute("PRAGMA data_version").fetchone()[0] == changes
    assert store.connection.execute("PRAGMA data_version").fetchone()[0] == before
    other.close()


def dead_owner() -> str:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = describe_process(child.pid)
    assert is_alive(owner)
    child.kill()
    child.communicate()
    return owner


def test_claim_dead_owner_is_taken_over_at_once(store: Store) -> None:
    row = queue.put(store, request(), 1.0)
    first = queue.claim(store, dead_owner(), 2.0)
    again = queue.claim(store, OWNER, 2.1)
    assert first is not None
    assert again is not None
    assert (again.id, again.deployment.attempt, again.token) == (row.id, 2, first.token + 1)


def test_claim_stale_heartbeat_is_taken_over_in_time(store: Store) -> None:
    queue.put(store, request(), 1.0)
    first = queue.claim(store, OWNER, 2.0)
    assert first is not None
    queue.heartbeat(store, [first], 8.0)
    assert queue.claim(store, OWNER, 8.0 + queue.LEASE_SECONDS) is None
    assert queue.claim(store, OWNER, 8.1 + queue.LEASE_SECONDS) is not None


def test_claim_owner_in_another_pid_namespace_keeps_its_lease(store: Store) -> None:
    boot, _, rest = OWNER.partition("/")
    elsewhere = f"{boot}/1{rest}"
    assert is_alive(elsewhere) is None
    queue.put(store, request(), 1.0)
    assert queue.claim(store, elsewhere, 2.0)
    assert queue.claim(store, OWNER, 3.0) is None


def test_claim_owner_of_another_boot_is_dead(store: Store) -> None:
    queue.put(store, request(), 1.0)
    assert queue.claim(store, "0000-old-boot/1:1:1", 2.0)
    assert queue.claim(store, OWNER, 2.1)


def test_claim_of_many_threads_is_given_once(store: Store) -> None:
    for number in range(20):
        queue.put(store, request(f"shop/app{number}"), float(number))
    claimed: list[str] = []

    def work() -> None:
        while claim := queue.claim(store, OWNER, 100.0):
            claimed.append(claim.id)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 20


def test_lost_lease_can_write_nothing(store: Store) -> None:
    queue.put(store, request(), 1.0)
    old = queue.claim(store, dead_owner(), 2.0)
    assert old is not None
    new = queue.claim(store, OWNER, 2.1)
    assert new is not None
    for write in (
        lambda: queue.begin_stage(store, old, "build", 3.0),
        lambda: queue.end_stage(store, old, "build", StageResult(), 3.0),
        lambda: queue.finish(store, old, Ending("succeeded"), 3.0),
    ):
        with pytest.raises(LeaseLost):
            write()
    queue.heartbeat(store, [old], 50.0)
    row = store.find_deployment(new.id)
    assert row is not None
    assert (row.status, row.stage, row.lease_until) == ("running", "", 2.1 + queue.LEASE_SECONDS)
    assert queue.read_stop(store, old) == "lost"
    assert store.list_stages(new.id) == []


def test_finish_succeeded_serves(store: Store) -> None:
    queue.put(store, request(revision="main", resolved="a" * 40), 1.0)
    claim = queue.claim(store, OWNER, 2.0)
    assert claim is not None
    queue.end_stage(store, claim, "deploy", StageResult(columns={"image_id": "sha256:1"}), 3.0)
    queue.finish(store, claim, Ending("succeeded"), 4.0)
    recorded = read_recorded(store, "shop").apps["shop/api"]
    assert recorded.serving is not None
    assert (recorded.serving.deployment, recorded.serving.resolved) == (claim.id, "a" * 40)
    assert recorded.in_flight == ()
    app = store.find_app("shop/api")
    assert app is not None
    assert app.status == "done"


def test_recorded_again_is_what_was_read_until_its_row_changes(store: Store) -> None:
    queue.put(store, request(), 1.0)
    claim = queue.claim(store, OWNER, 2.0)
    assert claim is not None
    queue.finish(store, claim, Ending("succeeded"), 3.0)
    first = read_recorded(store, "shop").apps["shop/api"].serving
    assert first is not None
    assert read_recorded(store, "shop").apps["shop/api"].serving is first
    with store.transaction() as connection:
        record_version(connection, "shop/api", Version("main", "b" * 40, {"title": "API"}))
    moved = read_recorded(store, "shop").apps["shop/api"].serving
    assert moved == replace(first, revision="main", resolved="b" * 40, settings={"title": "API"})
    with store.transaction() as connection:
        rename_app(connection, "shop/api", "shop/web")
    assert read_recorded(store, "shop").apps["shop/web"].serving == moved
    with store.transaction() as connection:
        connection.execute("UPDATE apps SET serving = ''")
    assert read_recorded(store, "shop").apps["shop/web"].serving is None


def test_finish_failed_counts_tries_of_one_target(store: Store) -> None:
    for number in range(3):
        queue.put(store, request(), float(number))
        claim = queue.claim(store, OWNER, float(number))
        assert claim is not None
        failed = FailedTry("registry is away", retry_at=100.0)
        queue.finish(store, claim, Ending("failed", "registry is away", failed), 5.0)
    failure = read_recorded(store, "shop").apps["shop/api"].failures["v1:t"]
    assert (failure.attempts, failure.reason) == (3, "registry is away")
    app = store.find_app("shop/api")
    assert app is not None
    assert app.status == "error"


def test_finish_success_forgets_failures(store: Store) -> None:
    for outcome, failed in (("failed", FailedTry("broke")), ("succeeded", None)):
        queue.put(store, request(), 1.0)
        claim = queue.claim(store, OWNER, 2.0)
        assert claim is not None
        queue.finish(store, claim, Ending(outcome, "", failed), 3.0)
    assert read_recorded(store, "shop").apps["shop/api"].failures == {}


def test_finish_heal_keeps_the_failure_of_another_target(store: Store) -> None:
    queue.put(store, request(target="v1:new"), 1.0)
    claim = queue.claim(store, OWNER, 2.0)
    assert claim is not None
    queue.finish(store, claim, Ending("failed", "broke", FailedTry("broke")), 3.0)
    queue.put(store, request(kind="heal", target="v1:old"), 4.0)
    healing = queue.claim(store, OWNER, 5.0)
    assert healing is not None
    queue.finish(store, healing, Ending("succeeded"), 6.0)
    assert "v1:new" in read_recorded(store, "shop").apps["shop/api"].failures


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("succeeded", "done"),
        ("failed", "error"),
        ("rolled_back", "error"),
        ("killed", "error"),
        ("interrupted", "error"),
        ("cancelled", "idle"),
    ],
)
def test_finish_sets_the_status_of_the_app(store: Store, outcome: str, status: str) -> None:
    queue.put(store, request(), 1.0)
    claim = queue.claim(store, OWNER, 2.0)
    assert claim is not None
    queue.finish(store, claim, Ending(outcome), 3.0)
    app = store.find_app("shop/api")
    assert app is not None
    assert app.status == status


def test_finish_with_another_waiting_app_stays_running(store: Store) -> None:
    queue.put(store, request(), 1.0)
    claim = queue.claim(store, OWNER, 2.0)
    assert claim is not None
    queue.put(store, request(), 3.0)
    queue.finish(store, claim, Ending("succeeded"), 4.0)
    app = store.find_app("shop/api")
    assert app is not None
    assert app.status == "running"


def test_cancel_waiting_leaves_the_running_one(store: Store) -> None:
    running = queue.put(store, request(), 1.0)
    queue.claim(store, OWNER, 2.0)
    waiting = queue.put(store, request(), 3.0)
    other = queue.put(store, request("shop/web"), 3.0)
    assert queue.cancel_waiting(store, 4.0, app="shop/api") == [waiting.id]
    assert [row.id for row in store.unfinished()] == [running.id, other.id]
    row = store.find_deployment(waiting.id)
    assert row is not None
    assert (row.status, row.outcome) == ("done", "cancelled")


def test_request_stop_nothing_in_progress(store: Store) -> None:
    queue.put(store, request(), 1.0)
    assert queue.request_stop(store, "shop/api", "cancel") is None


def test_request_stop_kill_overrides_cancel_and_not_the_other_way(store: Store) -> None:
    queue.put(store, request(), 1.0)
    claim = queue.claim(store, OWNER, 2.0)
    assert claim is not None
    for how, seen in (("cancel", "cancel"), ("kill", "kill"), ("cancel", "kill")):
        queue.request_stop(store, "shop/api", how)
        assert queue.read_stop(store, claim) == seen


def test_new_id_sorts_by_time() -> None:
    ids = [queue.new_id(1_700_000_000 + second) for second in range(50)]
    assert ids == sorted(ids)
    assert all(len(one) == 13 and one.isalnum() and one == one.lower() for one in ids)


def test_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(Exception, match="newer version"):
        Store(tmp_path)


def test_store_opened_by_many_processes_at_once_is_made_once(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from reconciler.state.store import Store; "
    code += "s = Store(Path(sys.argv[1])); print(s.fingerprint_key().hex()); s.close()"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "state")], stdout=subprocess.PIPE
        )
        for _ in range(6)
    ]
    keys = {child.communicate()[0] for child in children}
    assert [child.returncode for child in children] == [0] * 6
    assert len(keys) == 1


def test_state_directory_is_private(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    store.fingerprint_key()
    store.close()
    assert oct((tmp_path / "state").stat().st_mode)[-3:] == "700"
    for name in ("state.db", "key"):
        assert oct((tmp_path / "state" / name).stat().st_mode)[-3:] == "600"


def test_claim_only_takes_the_orphan_that_a_chosen_one_waits_behind(store: Store) -> None:
    first = queue.put(store, request(), 1.0)
    assert queue.claim(store, "gone", 2.0)
    second = queue.put(store, request(), 3.0)
    taken = queue.claim(store, OWNER, 4.0, [second.id])
    assert taken is not None
    assert (taken.id, taken.deployment.attempt) == (first.id, 2)
    assert queue.claim(store, OWNER, 5.0, [second.id]) is None


def test_recorded_tells_a_forced_deployment_on_its_way(store: Store) -> None:
    queue.put(store, request(force=True), 1.0)
    queue.put(store, request("shop/web"), 1.0)
    apps = read_recorded(store, "shop").apps
    assert [one.forced for name in ("shop/api", "shop/web") for one in apps[name].in_flight] == [
        True,
        False,
    ]


def test_note_child_while_another_process_writes(
    store: Store,
) -> None:
    queue.put(store, request(), 1.0)
    claim = queue.claim(store, OWNER, 2.0)
    assert claim
    store.connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(store.path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Locked):
        queue.note_child(store, claim, "x")
    other.close()


def succeed(store: Store, now: float, **changes: Any) -> None:
    queue.put(store, request(**changes), now)
    claim = queue.claim(store, OWNER, now)
    assert claim
    queue.finish(store, claim, Ending("succeeded"), now)


@pytest.mark.parametrize(
    ("until", "kind"), [(5.0, "pinned"), (15.0, "suspended"), (None, "suspended")]
)
def test_rollback_pins_unless_the_app_is_suspended_now(
    store: Store, until: float | None, kind: str
) -> None:
    with store.transaction() as connection:
        set_hold(connection, "shop/api", HoldRow("suspended", "by hand", until))
    succeed(store, 10.0, kind="rollback", pin="rolled back", pin_against="v1:new")
    app = store.find_app("shop/api")
    assert app is not None
    assert app.hold_kind == kind


def test_heal_leaves_what_was_pushed_since(store: Store) -> None:
    succeed(store, 1.0)
    image = {"repository": "registry.example.com/api", "push": True}
    succeed(store, 2.0, kind="push", spec={**SPEC, "image": image})
    succeed(store, 3.0, kind="heal")
    app = store.find_app("shop/api")
    assert app is not None
    assert app.pushed_to == "registry.example.com/api"


def test_status_shows_what_runs_and_no_hold_that_is_over(store: Store) -> None:
    succeed(store, 1.0)
    with store.transaction() as connection:
        set_hold(connection, "shop/api", HoldRow("suspended", "by hand", 2.0))
    first = queue.put(store, request(), 3.0)
    claim = queue.claim(store, OWNER, 3.0)
    assert claim
    queue.begin_stage(store, claim, "build", 4.0)
    queue.put(store, request(), 5.0)
    queue.cancel_waiting(store, 6.0)
    (entry,) = status_document(store, "shop", {"shop/api": Wanted("main")}, None)["apps"]
    assert (entry["status"], entry["outcome"], entry["stage"]) == ("running", None, "build")
    assert entry["deployment"] == first.id
    assert (entry["hold"], entry["hold_until"]) == ("", None)
