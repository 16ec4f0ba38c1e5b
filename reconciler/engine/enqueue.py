"""Carries a plan out: deployments into the queue, the rest at once. Decides nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from dataclasses import replace

from reconciler.engine.desired import Target
from reconciler.engine.handover import hand_over, settle
from reconciler.engine.requests import (
    Asked,
    Copies,
    heal_request,
    put_request,
    remove_request,
    scale_request,
    target_request,
)
from reconciler.engine.snapshot import Snapshot
from reconciler.errors import ReconcilerError
from reconciler.events import Event
from reconciler.pipeline.tools import Tools
from reconciler.plan.actions import DEPLOYING, Action
from reconciler.plan.hashes import build_hash, target_hash
from reconciler.plan.healing import say_end
from reconciler.plan.places import places_of
from reconciler.plan.states import Container, Note, RecordedApp
from reconciler.plan.view import replicas_of
from reconciler.state.apps import (
    Version,
    adopt,
    ensure_app,
    record_version,
    set_note,
    set_status,
    show_last_status,
)
from reconciler.state.records import Deployment, Request
from reconciler.state.store import add_events
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
            return put_request(self.tools, request)
        if action.renamed_from:
            hand_over(self.tools, action.renamed_from, action.app)
            self.tools.listen(Event("recorded", action.app, data={"cause": action.cause}))
        elif action.kind == "record":
            self._record(action)
        elif action.kind == "clean":
            self._clean(action)
        return None

    def _request(self, action: Action) -> Request:
        if action.kind == "redeploy":
            return self._refresh(action)
        cause = self._refine(action)
        asked = Asked(action.kind, self.trigger, cause, stages=action.stages)
        if action.kind in ("deploy", "restart"):
            target = self.snapshot.targets[action.app]
            return target_request(target, asked, self._known_image(action, target))
        if action.kind == "push":
            serving = self.snapshot.recorded.apps[action.app].serving
            image_id = serving.image_id if serving else ""
            return target_request(self.snapshot.targets[action.app], asked, image_id)
        served = self._served(action.app)
        if action.kind in ("scale", "move") or (action.kind == "heal" and action.replicas):
            return self._scale_request(action, asked)
        if action.kind == "heal":
            return heal_request(served, asked, self._copies(action))
        request = remove_request(action.app, served, asked)
        spec = {**request.spec, "host": list(self._copies(action).hosts)}
        return replace(request, spec=spec, spec_revision=self.snapshot.spec_revision)

    def _refresh(self, action: Action) -> Request:
        """Built again on fresh base images; the container stays when that changes nothing."""
        asked = Asked(
            "redeploy",
            "schedule",
            action.cause,
            action.stages,
            title="Scheduled rebuild",
            force=True,
            pull=True,
        )
        request = target_request(self.snapshot.targets[action.app], asked)
        return replace(request, keep_same=True)

    def _refine(self, action: Action) -> str:
        """The cause, with what only an inspection of the broken container shows."""
        for container in self.snapshot.observed.apps.get(action.app, ()):
            said = say_end(container)
            if container.exit_code and said in action.causes:
                with suppress(ReconcilerError):
                    place = self.tools.runtime.at_place(container.place)
                    instance = place.instance(container.app, container.id)
                    if instance.inspect().oom_killed:
                        better = say_end(container, out_of_memory=True)
                        return action.cause.replace(said, better)
        return action.cause

    def write_notes(self) -> None:
        """Why apps are left alone for now, where that has changed."""
        notes = self.snapshot.plan.notes
        if not notes:
            return
        now = self.tools.clock()
        with self.tools.store.transaction() as connection:
            for app, note in notes.items():
                self._write_note(connection, app, note, now)

    def _write_note(self, connection: sqlite3.Connection, app: str, note: Note, now: float) -> None:
        known = self.snapshot.recorded.apps.get(app, RecordedApp(app)).note
        ensure_app(connection, app)
        set_note(connection, app, note)
        if note.cause and note.cause != known.cause:
            event = Event("held_back", app, data={"action": note.kind, "cause": note.cause})
            add_events(connection, now, [event])
        if note.flaps > known.flaps:
            set_status(connection, app, "error")
        elif known.flaps and not note.flaps:
            show_last_status(connection, app)

    def _scale_request(self, action: Action, asked: Asked) -> Request:
        """What is only made complete reaches nothing new."""
        target = ""
        if action.kind in ("scale", "move"):
            target = target_hash(self.snapshot.targets[action.app].desired)
        return scale_request(self._served(action.app), asked, self._copies(action), target)

    def _copies(self, action: Action) -> Copies:
        """As they were recorded last, which may differ from how they were deployed."""
        recorded = self.snapshot.recorded.apps.get(action.app)
        settings = recorded.serving.settings if recorded and recorded.serving else {}
        if action.kind in ("scale", "move"):
            settings = self.snapshot.targets[action.app].desired.settings
        hosts = places_of(settings).hosts
        return Copies(action.replicas or replicas_of(settings), hosts, action.places)

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
        found = self.snapshot.observed.apps.get(action.app, ())
        extra = [one for one in found if one.id in action.containers]
        if settle(self.tools, served, extra):
            self.tools.listen(Event("recorded", action.app, data={"cause": action.cause}))
