"""Passes over the real state with a runtime in memory: what they write down, and how often."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler import queue
from reconciler.engine import cleanup, control
from reconciler.engine.control import Words
from reconciler.engine.desired import Policy
from reconciler.engine.documents import Wanted, status_document
from reconciler.engine.reconcile import Pass, run_pass
from reconciler.engine.requests import Asked, repeat_request
from reconciler.engine.wiring import open_tools
from reconciler.errors import UsageError
from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.host.job import Job
from reconciler.host.labels import LABEL_BUILD_HASH, LABEL_RUN_HASH
from reconciler.host.owner import current_owner
from reconciler.pipeline.tools import Tools
from reconciler.plan.facts import build_facts, run_facts
from reconciler.plan.hashes import build_hash, run_hash
from reconciler.plan.states import Observed
from reconciler.queue import Ending, StageResult
from reconciler.runtime.base import InstanceState, Workload
from reconciler.runtime.fleet import fleet_of
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.loader import load_spec
from reconciler.spec.models import App
from reconciler.spec.plain import from_plain
from reconciler.state.records import Deployment
from reconciler.testing import FakeContainer, FakeRuntime
from tests.support.fake_engine import FakeEngine

IMAGE = "sha256:" + "1" * 64
START = 1_769_860_800.0  # 2026-01-31 12:00 UTC, a Saturday


@dataclass
class Host:
    """A project `shop` whose deployments end at once, on a clock that tests move."""

    tools: Tools
    runtime: FakeRuntime
    directory: Path
    now: list[float]
    apps: dict[str, Any] = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)

    def load(self) -> LoadedSpec:
        path = self.directory / "apps.yaml"
        spec = {"version": 1, "project": "shop", **self.top, "apps": self.apps}
        path.write_text(yaml.safe_dump(spec))
        return load_spec(path)

    def plan(self) -> Pass:
        return run_pass(self.tools, self.load(), Policy(), "test")

    def converge(self) -> list[Deployment]:
        """One pass, and the end of what it asked for."""
        return [self.end(row) for row in self.plan().queued]

    def end(self, row: Deployment, ending: Ending | None = None) -> Deployment:
        store = self.tools.store
        claim = queue.claim(store, current_owner(), self.now[0], [row.id])
        assert claim is not None
        request = row.read_request()
        if ending is None and row.kind == "remove":
            for name in (row.app, *store.former_names(row.app)):
                self.runtime.remove(name, Job(name))
        elif ending is None:
            app = from_plain(App, request.spec)
            built, ran = build_facts(app, request.content, {}), run_facts(app, dict(app.env))  # type: ignore[arg-type]
            labels = {LABEL_BUILD_HASH: build_hash(built), LABEL_RUN_HASH: run_hash(IMAGE, ran)}
            former = store.former_names(row.app)
            workload = Workload(row.app, row.id, IMAGE, app, {}, Path("/"), labels, former)
            instance = self.runtime.deploy(workload, Job(row.app))
            self.runtime.settle(workload, Job(row.app))
            facts = json.dumps({"build": dict(built), "run": dict(ran)})
            columns = {"container": instance.id, "image_id": IMAGE, "facts": facts}
            queue.end_stage(store, claim, "deploy", StageResult(columns=columns), self.now[0])
        return queue.finish(store, claim, ending or Ending("succeeded"), self.now[0])

    def container(self) -> FakeContainer:
        (one,) = self.runtime.containers.values()
        return one

    def status(self, name: str) -> dict[str, Any]:
        names = {f"shop/{app}": Wanted() for app in self.apps}
        observed = self.runtime.observe("shop")
        document = status_document(self.tools.store, "shop", names, observed)
        found: dict[str, Any] = next(app for app in document["apps"] if app["name"] == name)
        return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    runtime, now = FakeRuntime(), [START]
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "Dockerfile").write_text("FROM scratch\n")
    with open_tools(tmp_path / "state", runtime=runtime) as tools:
        ticking = replace(tools, clock=lambda: now[0])
        host = Host(ticking, runtime, tmp_path, now)
        host.apps["api"] = {"source": {"path": "./api"}}
        yield host


def flap(host: Host) -> None:
    for _ in range(5):
        host.now[0] += 20
        host.runtime.exit(host.container().id, 3)
        (row,) = host.converge()
        assert (row.kind, row.cause) == ("heal", "container exited with 3")
    host.now[0] += 1
    host.runtime.exit(host.container().id, 3)


def test_flapping_app_is_left_alone_in_error(host: Host) -> None:
    host.converge()
    flap(host)
    assert host.plan().queued == ()
    shown = host.status("api")
    assert shown["status"] == "error"
    assert shown["held_back"].startswith("healed 5 times in 5 minutes")
    assert shown["held_back_until"] == "2026-01-31T12:06:40.000Z"
    events = [event.kind for _, event in host.tools.store.list_events("shop/api")]
    assert events.count("held_back") == 1


def test_flapping_app_passes_write_it_down_once(host: Host) -> None:
    host.converge()
    flap(host)
    first = host.plan()
    written = host.tools.store.connection.total_changes
    assert host.plan().snapshot.plan.actions == first.snapshot.plan.actions
    assert host.tools.store.connection.total_changes == written


def test_flapping_app_recovers_after_the_pause(host: Host) -> None:
    host.converge()
    flap(host)
    host.plan()
    host.now[0] += 301
    (row,) = host.converge()
    assert row.kind == "heal"
    host.now[0] += 301
    assert host.plan().queued == ()
    shown = host.status("api")
    assert (shown["status"], shown["held_back"]) == ("done", "")
    row_of_app = host.tools.store.find_app("shop/api")
    assert row_of_app is not None
    assert row_of_app.flaps == 0


def test_flapping_app_a_person_deploys(host: Host) -> None:
    host.converge()
    flap(host)
    host.plan()
    host.end(control.deploy(host.tools, host.load(), "shop/api", control.Words()))
    assert host.status("api")["status"] == "done"
    host.runtime.exit(host.container().id, 3)
    (row,) = host.plan().queued
    assert row.kind == "heal"


def test_heal_names_the_lack_of_memory(host: Host) -> None:
    host.converge()
    host.runtime.exit(host.container().id, 137)
    host.runtime.unhealthy["shop/api"] = InstanceState("exited", exit_code=137, oom_killed=True)
    (row,) = host.plan().queued
    assert row.cause == "container exited with 137 (out of memory)"


def test_renamed_app_keeps_container_history_and_logs(host: Host) -> None:
    (row,) = host.converge()
    log = host.tools.store.log_path("shop/api", row.id)
    log.parent.mkdir(parents=True)
    log.write_text("built\n")
    container = host.container()
    host.apps = {"web": {**host.apps["api"], "previously": "api"}}
    host.top["prune"] = True
    assert host.plan().queued == ()
    assert [a.cause for a in host.plan().snapshot.plan.actions] == []
    assert host.container() is container
    assert [one.id for one in host.tools.store.list_deployments("shop/web")] == [row.id]
    assert host.tools.store.log_path("shop/web", row.id).read_text() == "built\n"
    assert host.tools.store.app_names() == {"shop/web"}
    assert host.status("web")["health"] == "healthy"
    del host.apps["web"]["previously"]
    assert host.plan().snapshot.plan.actions == ()


def test_renamed_app_is_healed_and_removed_under_its_new_name(host: Host) -> None:
    host.converge()
    host.apps = {"web": {**host.apps["api"], "previously": "api"}, "other": host.apps["api"]}
    host.converge()
    host.runtime.exit(next(c.id for c in host.runtime.containers.values() if c.state == "running"))
    for row in host.converge():
        assert (row.app, row.kind, row.read_request().app) == ("shop/web", "heal", "shop/web")
    assert sorted(c.name for c in host.runtime.containers.values()) == ["shop-other", "shop-web"]
    row_of_app = host.tools.store.find_app("shop/web")
    assert row_of_app is not None
    assert row_of_app.former == ()
    del host.apps["web"]
    host.top["prune"] = True
    host.converge()
    assert host.container().name == "shop-other"


def test_renamed_app_is_removed_with_its_old_container(host: Host) -> None:
    host.converge()
    host.apps = {"web": {**host.apps["api"], "previously": "api"}, "other": host.apps["api"]}
    host.converge()
    del host.apps["web"]
    host.top["prune"] = True
    host.converge()
    assert host.container().name == "shop-other"


def test_renamed_app_deployed_by_hand_before_any_pass(host: Host) -> None:
    host.converge()
    host.apps = {"web": {**host.apps["api"], "previously": "api"}}
    host.end(control.deploy(host.tools, host.load(), "shop/web", control.Words()))
    assert host.container().name == "shop-web"
    assert len(host.tools.store.list_deployments("shop/web")) == 2


def test_former_name_is_not_free_while_a_container_carries_it(host: Host) -> None:
    host.converge()
    host.apps = {"web": {**host.apps["api"], "previously": "api"}}
    host.plan()
    host.apps = {"web": {"source": {"path": "./api"}}, "api": {"source": {"path": "./api"}}}
    with pytest.raises(UsageError):
        control.deploy(host.tools, host.load(), "shop/api", control.Words())
    assert [a.kind for a in host.plan().snapshot.plan.actions] == ["block"]
    host.end(control.deploy(host.tools, host.load(), "shop/web", control.Words()))
    assert [row.app for row in host.converge()] == ["shop/api"]


def test_deploy_by_hand_outside_the_windows_says_so(host: Host) -> None:
    host.apps["api"]["windows"] = [{"allow": "0 9 * * mon-fri", "for": "8h"}]
    assert host.plan().queued == ()
    shown = host.status("api")["held_back"]
    assert shown == "outside its windows; opens at 2026-02-02 09:00 UTC; not deployed yet"
    row = control.deploy(host.tools, host.load(), "shop/api", control.Words())
    assert row.cause == "asked for by hand, outside its windows"
    host.end(row)
    assert host.plan().snapshot.plan.actions == ()
    assert host.status("api")["held_back"] == ""


def test_schedule_asks_once_for_each_time(host: Host) -> None:
    host.apps["api"]["schedule"] = "0 4 * * *"
    host.converge()
    assert host.plan().queued == ()
    host.now[0] += 86_400
    (row,) = host.plan().queued
    assert (row.kind, row.trigger, row.title) == ("redeploy", "schedule", "Scheduled rebuild")
    request = row.read_request()
    assert request.pull
    assert request.force
    host.end(row, Ending("failed", "no base", queue.FailedTry("no base")))
    assert host.plan().snapshot.plan.actions == ()
    host.runtime.exit(host.container().id)
    (row,) = host.converge()
    assert row.kind == "heal"


def keep_to_retention(host: Host) -> None:
    """After the newest deployment, with an engine that has no images."""
    with FakeEngine(host.directory) as engine:
        local = Engine(engine.url)
        fleet = fleet_of(host.runtime, Hosts(local), host.directory)
        tools = replace(host.tools, engine=local, runtime=fleet)
        cleanup.keep_to_retention(tools, host.tools.store.list_deployments("shop/api", 1)[0])


def test_recent_heals_outlast_retention(host: Host) -> None:
    host.apps["api"]["retention"] = {"deployments": 1}
    host.converge()
    flap(host)
    keep_to_retention(host)
    assert len(host.tools.store.list_deployments("shop/api")) == 5
    assert host.plan().queued == ()


def test_retention_forgets_what_happened_between_deployments_too(host: Host) -> None:
    host.apps["api"]["retention"] = {"deployments": 1}
    host.converge()
    flap(host)
    host.plan()
    for level in ("1", "2"):
        host.now[0] += 3600
        host.apps["api"]["env"] = {"LEVEL": level}
        (row,) = host.converge()
    keep_to_retention(host)
    events = host.tools.store.list_events("shop/api")
    assert {event.deployment for _, event in events} == {row.id}


def test_what_joined_another_deployment_is_repeated_by_itself(host: Host) -> None:
    (row,) = host.converge()
    joined = replace(row, request=replace(row.read_request(), joins="other").to_json())
    assert repeat_request(joined, Asked("rollback", "manual", "by hand")).joins == ""


# -- side by side ----------------------------------------------------------------------------


def test_pass_that_waits_for_the_engine_or_a_host_keeps_nobody_from_deploying(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for meanwhile counts: the same isn't asked for once more."""
    (host.directory / "web").mkdir()
    host.apps = {"web": {"source": {"path": "./web"}}}
    observe, asked = host.runtime.observe, []

    def slow(project: str) -> Observed:
        if not asked:  # only the first time, and while the pass waits for this answer
            asked.append(control.deploy(host.tools, host.load(), "shop/web", Words("by hand")))
        return observe(project)

    monkeypatch.setattr(host.runtime, "observe", slow)
    done = host.plan()
    assert done.queued == ()
    assert done.on_their_way == (asked[0].id,)
    assert [row.title for row in host.tools.store.list_deployments("shop/web")] == ["by hand"]
