"""Carries a plan out: deployments into the queue, the rest at once. Decides nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from reconciler import queue
from reconciler.engine.desired import Target
from reconciler.engine.requests import Asked, heal_request, remove_request, target_request
from reconciler.engine.snapshot import Snapshot
from reconciler.errors import ReconcilerError
from reconciler.events import Event
from reconciler.host.job import Job
from reconciler.pipeline.tools import Tools
from reconciler.plan.actions import DEPLOYING, Action
from reconciler.plan.hashes import build_hash
from reconciler.plan.states import Container
from reconciler.runtime.base import Workload
from reconciler.spec.models import App
from reconciler.spec.plain import from_plain
from reconciler.state.apps import Version, adopt, record_version
from reconciler.state.records import Deployment, Request
from reconciler.values import frozen


@frozen
class Enqueuer:
    """`trigger`: who asked for the pass, for history."""

    tools: Tools
    snapshot: Snapshot
    trigger: str

    def apply(self, action: Action) -> Deployment | None:
        """The deployment that was asked for, if the action needs one."""
        if action.kind in DEPLOYING:
            request = self._request(action)
            return queue.put(self.tools.store, request, self.tools.clock())
        if action.kind == "record":
            self._record(action)
        elif action.kind == "clean":
            self._clean(action)
        return None

    def _request(self, action: Action) -> Request:
        asked = Asked(action.kind, self.trigger, action.cause, stages=action.stages)
        if action.kind in ("deploy", "restart"):
            target = self.snapshot.targets[action.app]
            return target_request(target, asked, self._known_image(action, target))
        if action.kind == "push":
            serving = self.snapshot.recorded.apps[action.app].serving
            image_id = serving.image_id if serving else ""
            return target_request(self.snapshot.targets[action.app], asked, image_id)
        served = self._served(action.app)
        if action.kind == "heal":
            return heal_request(served, asked)
        request = remove_request(action.app, served, asked)
        return replace(request, spec_revision=self.snapshot.spec_revision)

    def _known_image(self, action: Action, target: Target) -> str:
        """For a restart, the image that serves now or was built before."""
        if action.kind != "restart":
            return ""
        recorded = self.snapshot.recorded.apps[action.app]
        wanted = build_hash(target.desired.build)
        if recorded.serving and build_hash(recorded.serving.build) == wanted:
            return recorded.serving.image_id
        return recorded.images.get(wanted, "")

    def _served(self, app: str) -> Deployment | None:
        recorded = self.snapshot.recorded.apps.get(app)
        if recorded is None or recorded.serving is None:
            return None
        return self.tools.store.find_deployment(recorded.serving.deployment)

    def _record(self, action: Action) -> None:
        target = self.snapshot.targets[action.app]
        desired = target.desired
        version = Version(desired.revision, desired.resolved, desired.settings)
        with self.tools.store.transaction() as connection:
            if action.containers:
                adopt(connection, self._adopted(action, target), self.tools.clock())
            record_version(connection, action.app, version)
        self.tools.listen(Event("recorded", action.app, data={"cause": action.cause}))

    def _adopted(self, action: Action, target: Target) -> tuple[Request, Container, str]:
        asked = Asked("adopt", self.trigger, action.cause)
        containers = self.snapshot.observed.apps[action.app]
        container = next(c for c in containers if c.id == action.containers[0])
        facts = {"build": dict(target.desired.build), "run": dict(target.desired.run)}
        request = target_request(target, asked, container.image_id)
        return request, container, json.dumps(facts, ensure_ascii=False)

    def _clean(self, action: Action) -> None:
        served = self._served(action.app)
        if served is None:
            return
        request = served.read_request()
        app = from_plain(App, request.spec)
        workload = Workload(action.app, served.id, served.image_id, app, {}, Path(request.base_dir))
        try:
            self.tools.runtime.settle(workload, Job(action.app))
        except ReconcilerError:
            return  # left over for the next pass; nothing depends on it
        self.tools.listen(Event("recorded", action.app, data={"cause": action.cause}))
