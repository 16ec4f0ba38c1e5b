"""What a project's proxy needs to be as its front says: the step, with causes for people."""

from __future__ import annotations

from dataclasses import replace

from reconciler.errors import DeployError
from reconciler.host.job import Job
from reconciler.runtime.haproxy_config import backends, describe_change, structure_hash
from reconciler.runtime.haproxy_container import container_hash
from reconciler.runtime.haproxy_files import digest
from reconciler.runtime.haproxy_running import Running, this_host
from reconciler.runtime.haproxy_servers import commands, sessions_of
from reconciler.runtime.proxy import Front
from reconciler.runtime.proxy_record import Record, Slot, with_front, with_servers, without
from reconciler.values import frozen

NOTHING, TELL, RELOAD, REPLACE = "nothing", "tell", "reload", "replace"


@frozen
class Step:
    """What to do, to come to which record, and why."""

    kind: str
    wanted: Record
    causes: tuple[str, ...] = ()


def find_step(running: Running, record: Record, front: Front) -> Step:
    """The least that is enough. Asks the proxy, and the engine only when the proxy is silent."""
    wanted = _wanted(running, record, front)
    info = running.control.info()
    causes = describe_change(record, wanted) if record.container else ["it isn't there yet"]
    if info is None and record.container:
        causes.append(_what_is_missing(running, record))
    if record.unsettled or info is None or record.container != wanted.container:
        return Step(REPLACE, wanted, tuple(causes) or ("it was made in another way",))
    if info.description != structure_hash(wanted) or not running.files.are_complete():
        return Step(RELOAD, wanted, tuple(causes) or ("it runs with another configuration",))
    sections = {name for app in wanted.routes for name in backends(wanted, app)}
    stats = running.control.stats(sections)
    for app in front.servers:
        wanted = without(wanted, app, _idle(running, wanted, app))
    if commands(wanted, wanted.routes, stats):
        return Step(TELL, wanted, ("its servers changed",))
    return Step(TELL if wanted != record else NOTHING, wanted)


def take_step(running: Running, record: Record, step: Step, front: Front, job: Job) -> None:
    """Do it. Raises `DeployError`."""
    if step.kind == NOTHING:
        return
    pems = {app: route.certificate for app, route in front.routes.items()}
    running.files.save_certificates(
        {
            app: pem
            for app, pem in pems.items()
            if pem and digest(pem) == step.wanted.certificates.get(app)
        }
    )
    if step.kind == REPLACE:
        running.replace(record, step.wanted, job)
    elif step.kind == RELOAD:
        running.reload(record, step.wanted, job)
    else:
        running.tell(record, step.wanted, step.wanted.routes)


def find_useless(running: Running, record: Record, front: Front) -> dict[str, DeployError]:
    """By app, new certificates that HAProxy would refuse."""
    found = {}
    for app, route in front.routes.items():
        pem = route.certificate
        if pem and digest(pem) != record.certificates.get(app):
            reason = running.files.why_useless(app, pem)
            if reason:
                found[app] = DeployError(
                    f"its certificate can't be used: {reason}",
                    app=app,
                    todo="Correct the files of expose.http.tls; what was there stays in use.",
                )
    return found


def _wanted(running: Running, record: Record, front: Front) -> Record:
    pems = {app: route.certificate for app, route in front.routes.items()}
    wanted = with_front(record, front, {app: digest(pem) for app, pem in pems.items() if pem})
    unknown = {app: one for app, one in front.likely.items() if not wanted.of(app)}
    for app, servers in {**unknown, **front.servers}.items():
        if app in wanted.routes:
            wanted = with_servers(wanted, app, servers)
    hashed = container_hash(front.settings, running.mounted, this_host())
    return replace(wanted, container=hashed, unsettled=False)


def _what_is_missing(running: Running, record: Record) -> str:
    found = running.containers.find(record.container)
    return f"its container is {found['State'] if found else 'missing'}"


def _idle(running: Running, wanted: Record, app: str) -> list[str]:
    """Without a rollout, what drains and has nothing left goes."""
    draining: list[Slot] = [slot for slot in wanted.of(app) if slot.draining]
    if not draining:
        return []
    sections = backends(wanted, app)
    stats = [*running.control.stats(sections), *running.old_stats(sections)]
    return [
        slot.server.container for slot in draining if not sessions_of(slot.server, sections, stats)
    ]
