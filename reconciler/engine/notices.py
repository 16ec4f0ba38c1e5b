"""Tells people of changes: what was told and what is to be sent stand in the state.

    tell      after a pass or a deployment: finds the changes and writes messages; quick
    deliver   sends what is due, in a process of its own, and tries again what fails

Nothing here disturbs anything: what can't be sent is tried again, later and later, for a day.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping

from reconciler.engine.snapshot import Snapshot
from reconciler.errors import Locked, ReconcilerError, SecretError, Transient
from reconciler.events import Event
from reconciler.host.job import Job
from reconciler.host.lock import locked
from reconciler.host.process import Command, run_command
from reconciler.pipeline.tools import Tools
from reconciler.plan.changing import short
from reconciler.plan.notices import WELL, Last, Standing, Told, decide, stand, write_message
from reconciler.spec.loaded import LoadedSpec
from reconciler.spec.notify import Notify, NotifyEvent
from reconciler.spec.plain import to_plain
from reconciler.state.outbox import (
    Letter,
    add_letters,
    drop_letters,
    next_delivery,
    put_off,
    read_told,
    take_due,
    write_told,
)
from reconciler.state.records import Deployment
from reconciler.values import frozen

KEPT_SECONDS = 86_400.0
"""A message that can't be delivered for this long is dropped."""

AGAIN_SECONDS = 60.0
"""When a message is tried again whose sender died."""


def tell(tools: Tools, loaded: LoadedSpec, snapshot: Snapshot) -> bool:
    """Write a message for each app whose state has changed; whether something is to be sent now.

    Nothing is read but the apps that the plan is about and those that weren't well, and nothing is
    written without a change. Nothing at all happens for a spec without `notify`. Never raises.
    """
    if loaded.spec.notify is None:
        return False
    try:
        return _tell(tools, loaded, snapshot)
    except (ReconcilerError, sqlite3.Error) as error:  # the next pass sees the same
        _report(tools, "", "failed", tools.redactor.hide(str(error)))
        return False


def _tell(tools: Tools, loaded: LoadedSpec, snapshot: Snapshot) -> bool:
    told = read_told(tools.store.connection, loaded.spec.project)
    standings = _stand(tools, snapshot, told)
    gone = [app for app in told if app not in snapshot.targets and app not in standings]
    now = tools.clock()
    if gone or any(_changes(told, app, one, now) for app, one in standings.items()):
        _write(tools, loaded, standings, gone)
    due = next_delivery(tools.store)
    return due is not None and due <= now


def _stand(tools: Tools, snapshot: Snapshot, told: Mapping[str, Told]) -> dict[str, Standing]:
    """How the apps stand of which that can be said, and is of any interest."""
    acted = {action.app for action in snapshot.plan.actions if action.kind != "record"}
    names = sorted((acted | told.keys()) & snapshot.targets.keys())
    if not names:
        return {}
    latest = tools.store.latest_of(names)
    found = {
        app: stand(
            app, snapshot.plan.for_app(app), _last(latest.get(app)), flaps=_flaps(snapshot, app)
        )
        for app in names
    }
    return {app: standing for app, standing in found.items() if standing is not None}


def _flaps(snapshot: Snapshot, app: str) -> bool:
    recorded = snapshot.recorded.apps.get(app)
    return recorded is not None and recorded.note.flaps > 0


def _last(row: Deployment | None) -> Last | None:
    if row is None:
        return None
    revision = f"{row.revision or 'default'} = {short(row.resolved)}" if row.resolved else ""
    return Last(
        id=row.id,
        outcome=row.outcome or "",
        target=row.target,
        stage=row.stage,
        revision=revision,
        cause=row.cause,
        reason=row.reason,
        todo=row.todo,
    )


def _changes(told: Mapping[str, Told], app: str, standing: Standing, now: float) -> bool:
    before = told.get(app, WELL)
    return decide(before, standing, now) != (before, None)


def _write(
    tools: Tools, loaded: LoadedSpec, standings: Mapping[str, Standing], gone: Iterable[str]
) -> None:
    """What was told and what is to be sent, in one transaction, by what is told by then."""
    now = tools.clock()
    with tools.store.transaction() as connection:
        told = read_told(connection, loaded.spec.project)
        changes = dict.fromkeys(gone, WELL)
        alike: dict[tuple[NotifyEvent, Standing], list[str]] = defaultdict(list)
        for app, standing in standings.items():
            changes[app], event = decide(told.get(app, WELL), standing, now)
            if event is not None:
                alike[event, standing].append(app)
        write_told(connection, changes)
        letters = [
            letter
            for (event, standing), apps in alike.items()
            for letter in _letters(tools, loaded.spec.notify, event, (apps, standing))
        ]
        add_letters(connection, letters)


def _letters(
    tools: Tools, notify: Notify | None, event: NotifyEvent, about: tuple[list[str], Standing]
) -> Iterable[Letter]:
    """One for each URL, if such events are told."""
    apps, standing = about
    title, body = map(tools.redactor.hide, write_message(event, apps, standing))
    for recipient in _recipients(tools, notify) if notify and event in notify.events else ():
        yield Letter(0, tools.clock(), apps[0], event, recipient, title, body, 0)


def _recipients(tools: Tools, notify: Notify) -> dict[str, int]:
    """A keyed fingerprint of each URL or reference → its place in the list."""
    key = tools.store.fingerprint_key()
    return {
        hmac.digest(key, json.dumps(plain, sort_keys=True).encode(), "sha256").hex()[:24]: place
        for place, plain in enumerate(to_plain(notify)["urls"])
    }


# -- delivering ------------------------------------------------------------------------------


def deliver(tools: Tools, loaded: LoadedSpec, job: Job) -> float | None:
    """Send the messages that are due; when the next one is, in seconds since 1970, or None.

    Never raises: how it went is told as events, `notice`. Takes seconds where a service hangs;
    when the job is cancelled, what wasn't sent is tried again later.
    """
    soon = tools.clock() + AGAIN_SECONDS
    try:
        with locked(tools.store.directory / "notices.lock", job, timeout=0):
            _deliver(tools, loaded, job)
        return next_delivery(tools.store)
    except Locked:
        return soon  # another process is at it
    except (ReconcilerError, sqlite3.Error, OSError) as error:
        _report(tools, "", "failed", tools.redactor.hide(str(error)))
        return soon


def _deliver(tools: Tools, loaded: LoadedSpec, job: Job) -> None:
    now = tools.clock()
    letters = take_due(tools.store, now, now + AGAIN_SECONDS)
    if not letters:
        return
    notify = loaded.spec.notify
    places = _recipients(tools, notify) if notify else {}
    urls, problems = _read_urls(tools, loaded)
    ready = [one for one in letters if places.get(one.recipient) in urls]
    answers = _send(ready, {one.seq: urls[places[one.recipient]] for one in ready}, job)
    for letter in letters:
        place = places.get(letter.recipient)
        if place is None:
            answers[letter.seq] = _Answer("dropped", "its URL is gone from the spec")
        elif place in problems:
            answers[letter.seq] = _Answer("failed", problems[place])
    _note(tools, letters, answers)


def _read_urls(tools: Tools, loaded: LoadedSpec) -> tuple[dict[int, str], dict[int, str]]:
    """URLs and what is wrong with those that can't be read, by their place in the list."""
    urls: dict[int, str] = {}
    problems: dict[int, str] = {}
    secrets = tools.secrets(loaded.path.parent)
    for place, url in enumerate(loaded.spec.notify.urls if loaded.spec.notify else ()):
        try:
            what = f"notify.urls[{place}]"
            urls[place] = url if isinstance(url, str) else secrets.read(url, app="", what=what)
            tools.redactor.learn(urls[place])
        except SecretError as error:
            problems[place] = error.what
    return urls, problems


@frozen
class _Answer:
    """`status`: sent, failed (try again), or dropped."""

    status: str
    reason: str = ""


def _send(letters: list[Letter], urls: Mapping[int, str], job: Job) -> dict[int, _Answer]:
    """By a child, as apprise takes tens of megabytes that nobody gets back."""
    if not letters:
        return {}
    request = [
        {
            "seq": one.seq,
            "url": urls[one.seq],
            "event": one.event,
            "title": one.title,
            "body": one.body,
        }
        for one in letters
    ]
    argv = [sys.executable, "-m", "reconciler", "notify"]
    done = run_command(Command(argv, stdin=json.dumps(request).encode()), job)
    try:
        found = json.loads(done.stdout)
        return {one["seq"]: _Answer(one["status"], one["reason"]) for one in found}
    except (ValueError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines()
        reason = f"the sender ended with {done.returncode}: {lines[-1] if lines else ''}"
        return {one.seq: _Answer("failed", reason) for one in letters}


def _note(tools: Tools, letters: list[Letter], answers: Mapping[int, _Answer]) -> None:
    now = tools.clock()
    over: list[int] = []
    later: dict[int, float] = {}
    for letter in letters:
        answer = answers.get(letter.seq, _Answer("failed", "the sender said nothing of it"))
        if answer.status == "failed" and now - letter.at > KEPT_SECONDS:
            answer = _Answer("dropped", f"not delivered within a day: {answer.reason}")
        if answer.status == "failed":
            error = Transient(answer.reason)
            later[letter.seq] = now + (tools.retry_delay(error, letter.attempts) or 0.0)
        else:
            over.append(letter.seq)
        _report(tools, letter.title, answer.status, tools.redactor.hide(answer.reason), letter.app)
    drop_letters(tools.store, over)
    put_off(tools.store, later)


def _report(tools: Tools, title: str, status: str, reason: str, app: str = "") -> None:
    tools.listen(Event("notice", app, data={"status": status, "title": title, "reason": reason}))
