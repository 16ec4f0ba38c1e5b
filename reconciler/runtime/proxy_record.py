"""What a project's proxy has been told to be, and how that changes. Pure.

The record is kept beside the proxy's configuration, which is rendered from it. Each app has some
*slots* in the proxy, made in advance: a container that takes traffic is put into a free one, so
that no rollout needs a reload.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from reconciler.runtime.proxy import Counters, Front, Server
from reconciler.spec.plain import from_plain, to_plain
from reconciler.spec.routes import Expose, ProxySettings
from reconciler.values import frozen

ROOM = 8
"""Slots of an app to begin with; more are made, by a reload, when these are taken."""


@frozen
class Slot:
    """A server in the proxy. `number` counts from 1; `weight` 0 while it drains.

    `base`: what the slot had counted before this container came, as of `since` (seconds since
    1970).
    """

    number: int
    server: Server
    draining: bool = False
    base: Counters = field(default_factory=Counters)
    since: float = 0.0

    @property
    def weight(self) -> int:
        return 0 if self.draining else self.server.weight


@frozen
class Record:
    """`routes` and `certificates` (a digest of each, empty without TLS) by app; `slots` those in
    use, in the order in which they were taken; `room` how many slots there are.

    `container`: the hash of the container that serves. `unsettled`: a change of containers was
    begun. `retiring`: ids of former proxies with connections left.
    """

    project: str
    settings: ProxySettings = field(default_factory=ProxySettings)
    routes: Mapping[str, Expose] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    slots: Mapping[str, tuple[Slot, ...]] = field(default_factory=dict)
    room: Mapping[str, int] = field(default_factory=dict)
    container: str = ""
    unsettled: bool = False
    retiring: tuple[str, ...] = ()

    def of(self, app: str) -> tuple[Slot, ...]:
        """The slots that an app uses."""
        return self.slots.get(app, ())


def with_front(record: Record, front: Front, digests: Mapping[str, str]) -> Record:
    """The record with the front's routes and settings; servers are left to `with_servers`.

    `digests`: of the certificates by app; without one, an app with TLS keeps what it has.
    """
    routes = {app: route.expose for app, route in front.routes.items()}
    for app in front.kept:
        if app in record.routes and not _clashes(record.routes[app], routes.values()):
            routes.setdefault(app, record.routes[app])
    certificates = {
        app: digests.get(app) or record.certificates.get(app, "")
        for app, expose in routes.items()
        if expose.http and expose.http.tls
    }
    return replace(
        record,
        settings=front.settings,
        routes=routes,
        certificates={app: one for app, one in certificates.items() if one},
        slots={app: slots for app, slots in record.slots.items() if app in routes},
        room={app: record.room.get(app, ROOM) for app in routes},
    )


def _clashes(expose: Expose, others: Iterable[Expose]) -> bool:
    claimed = {claim for other in others for claim in claims(other)}
    return not claimed.isdisjoint(claims(expose))


def claims(expose: Expose) -> set[tuple[str, str] | int]:
    """What only one app can have: each domain with its path, and a port of the host."""
    http, tcp = expose.http, expose.tcp
    found: set[tuple[str, str] | int] = {(d, http.path) for d in http.domains} if http else set()
    return found | {tcp.listen} if tcp else found


def with_servers(record: Record, app: str, servers: Sequence[Server]) -> Record:
    """Exactly `servers` take the app's new requests; others that have a slot drain.

    A container keeps its slot. A new one gets the free slot that was taken the longest ago, and
    with none free there is more room.
    """
    wanted = {server.container: server for server in servers}
    slots = [_told(slot, wanted.pop(slot.server.container, None)) for slot in record.of(app)]
    room = record.room.get(app, ROOM)
    for server in wanted.values():
        number = _free_number(slots, room)
        room = max(room, -(-number // ROOM) * ROOM)
        slots.append(Slot(number, server))
    return _put(record, app, slots, room)


def without(record: Record, app: str, containers: Collection[str]) -> Record:
    """Their slots are free."""
    slots = [slot for slot in record.of(app) if slot.server.container not in containers]
    return _put(record, app, slots, record.room.get(app, ROOM))


def _told(slot: Slot, server: Server | None) -> Slot:
    if server is None:
        return replace(slot, draining=True)
    return replace(slot, server=server, draining=False)


def _free_number(slots: Sequence[Slot], room: int) -> int:
    """Behind the one that was taken last, so that what a slot counted stays readable for long."""
    used = {slot.number for slot in slots}
    last = slots[-1].number if slots else 0
    order = (*range(last + 1, room + 1), *range(1, last + 1))
    return next((number for number in order if number not in used), room + 1)


def _put(record: Record, app: str, slots: Sequence[Slot], room: int) -> Record:
    return replace(
        record,
        slots={**record.slots, app: tuple(slots)},
        room={**record.room, app: room},
    )


# -- as a document ---------------------------------------------------------------------------


def dump_record(record: Record) -> dict[str, Any]:
    """As what JSON can hold. No secret is in it."""
    return {
        "version": 1,
        "project": record.project,
        "settings": to_plain(record.settings),
        "routes": {app: to_plain(expose) for app, expose in record.routes.items()},
        "certificates": dict(record.certificates),
        "slots": {app: [_dump_slot(s) for s in slots] for app, slots in record.slots.items()},
        "room": dict(record.room),
        "container": record.container,
        "unsettled": record.unsettled,
        "retiring": list(record.retiring),
    }


def load_record(data: Mapping[str, Any]) -> Record:
    """What `dump_record` gave. Raises KeyError or TypeError for anything else."""
    return Record(
        project=data["project"],
        settings=from_plain(ProxySettings, data["settings"]),
        routes={app: from_plain(Expose, expose) for app, expose in data["routes"].items()},
        certificates=data["certificates"],
        slots={app: tuple(map(_load_slot, slots)) for app, slots in data["slots"].items()},
        room=data["room"],
        container=data["container"],
        unsettled=data["unsettled"],
        retiring=tuple(data["retiring"]),
    )


def _dump_slot(slot: Slot) -> dict[str, Any]:
    base = slot.base
    return {
        "number": slot.number,
        "container": slot.server.container,
        "address": slot.server.address,
        "weight": slot.server.weight,
        "draining": slot.draining,
        "base": [base.requests, base.errors, base.connect_errors],
        "since": slot.since,
    }


def _load_slot(data: Mapping[str, Any]) -> Slot:
    server = Server(data["container"], data["address"], data["weight"])
    return Slot(data["number"], server, data["draining"], Counters(*data["base"]), data["since"])
