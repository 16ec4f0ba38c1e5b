"""What the proxy says of its slots against what the record has: commands, sessions, counters.
Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from reconciler.runtime.haproxy_config import backends
from reconciler.runtime.haproxy_control import Stat
from reconciler.runtime.proxy import Counters, Server
from reconciler.runtime.proxy_record import Record, Slot

_CLOCK_SLACK = 1.5


def commands(record: Record, apps: Iterable[str], stats: Sequence[Stat]) -> list[str]:
    """What to tell the proxy so that its slots are as in the record. First what takes traffic,
    then what gets none: there is always somebody to serve."""
    has = {(stat.section, stat.number): stat for stat in stats}
    coming: list[str] = []
    going: list[str] = []
    for app in apps:
        used = {slot.number: slot for slot in record.of(app)}
        for section, port in backends(record, app).items():
            for number in range(1, record.room[app] + 1):
                stat, slot = has.get((section, number)), used.get(number)
                taking = slot is not None and slot.weight > 0
                (coming if taking else going).extend(_correct(section, number, port, (slot, stat)))
    return coming + going


def _correct(
    section: str, number: int, port: int, found: tuple[Slot | None, Stat | None]
) -> Iterator[str]:
    slot, stat = found
    server = f"set server {section}/s{number}"
    if slot is None:
        if stat is None or not stat.disabled:
            yield f"{server} state maint"
        return
    if stat is None or stat.address != address_of(slot.server, port):
        yield f"{server} addr {slot.server.address} port {port}"
    if stat is None or stat.weight != slot.weight:
        yield f"{server} weight {slot.weight}"
    if stat is None or stat.disabled:
        yield f"{server} state ready"


def free_commands(sections: Collection[str], numbers: Collection[int]) -> list[str]:
    """Nothing new to these slots."""
    return [f"set server {section}/s{n} state maint" for section in sections for n in numbers]


def sessions_of(server: Server, sections: Mapping[str, int], stats: Iterable[Stat]) -> int:
    """What is under way at a server's address, whatever slot and worker it is in."""
    return sum(
        stat.sessions
        for stat in stats
        if stat.address == address_of(server, sections.get(stat.section, 0))
    )


def with_bases(old: Record, new: Record, stats: Sequence[Stat], now: float) -> Record:
    """New slots know what they had counted for others before."""
    slots = {
        app: tuple(
            _based(new, app, slot, (stats, now)) if _is_new(old, app, slot) else slot
            for slot in own
        )
        for app, own in new.slots.items()
    }
    return replace(new, slots=slots)


def _is_new(old: Record, app: str, slot: Slot) -> bool:
    known = {(one.number, one.server.container): one.draining for one in old.of(app)}
    drained = known.get((slot.number, slot.server.container), True)
    return drained and not slot.draining


def _based(record: Record, app: str, slot: Slot, at: tuple[Sequence[Stat], float]) -> Slot:
    stats, now = at
    sections = backends(record, app)
    return replace(slot, base=_total(stats, sections, slot.number), since=now)


def counted(slot: Slot, stats: Sequence[Stat], worker_since: float) -> Counters:
    """What a slot's container has counted. `worker_since`: when the worker began, from 0."""
    total = _total(stats, {stat.section for stat in stats}, slot.number)
    if worker_since > slot.since + _CLOCK_SLACK:
        return total
    base = slot.base
    return Counters(
        max(total.requests - base.requests, 0),
        max(total.errors - base.errors, 0),
        max(total.connect_errors - base.connect_errors, 0),
    )


def _total(stats: Iterable[Stat], sections: Collection[str], number: int) -> Counters:
    own = [s.counters for s in stats if s.section in sections and s.number == number]
    return Counters(
        sum(one.requests for one in own),
        sum(one.errors for one in own),
        sum(one.connect_errors for one in own),
    )


def address_of(server: Server, port: int) -> str:
    """As the proxy says it."""
    return f"[{server.address}]:{port}" if ":" in server.address else f"{server.address}:{port}"
