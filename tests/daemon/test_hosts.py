"""A daemon with several hosts, some of which are away, on fake machines."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.metrics import Metrics
from reconciler.daemon.loop import Wish
from tests.daemon.conftest import Yard, write_spec, yard
from tests.support.machines import AWAY, Listening

Wait = Callable[..., Any]
Machines = dict[str, Listening]
AT = {"api": ["web1"], "web": ["web2"]}


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = {name: Listening(tmp_path / name) for name in ("web1", "web2")}
    with ExitStack() as stack:
        for machine in found.values():
            stack.enter_context(machine.listening())
        yield found


def _spec(machines: Machines, says: str, at: dict[str, Sequence[str]] | None = None) -> str:
    hosts = {name: {"docker": machine.url} for name, machine in machines.items()}
    where = AT if at is None else at
    return write_spec(dict.fromkeys(where, says), where, hosts=hosts)


def _says(machine: Listening) -> dict[str, str]:
    running = [one for one in list(machine.containers.values()) if one.state == "running"]
    return {one.workload.name: one.workload.env["SAYS"] for one in running}


def _said(one: Yard, *words: str) -> list[str]:
    lines = one.log.getvalue().splitlines()
    return [line for line in lines if all(word in line for word in words)]


def _done(one: Yard, app: str) -> list[str]:
    store = one.daemon.tools.store
    return [row.outcome for row in store.list_deployments(f"shop/{app}", -1)]


def _listening() -> list[str]:
    """Threads that do."""
    return sorted(one.name for one in threading.enumerate() if one.name.startswith("events "))


def _figures(one: Yard) -> set[str]:
    """What Prometheus is told of hosts."""
    tools = one.daemon.tools
    text, _ = Metrics(tools.store, tools.runtime).expose(one.daemon)
    lines = text.decode().splitlines()
    return {
        line.removeprefix("reconciler_") for line in lines if line.startswith("reconciler_host")
    }


def _edit(one: Yard, text: str) -> None:
    one.spec.write_text(text)
    one.edited()


def test_daemon_one_host_away_and_back(machines: Machines, wait_until: Wait) -> None:
    web1, web2 = machines["web1"], machines["web2"]
    with yard(_spec(machines, "one"), machines) as one:
        wait_until(lambda: _says(web1) and _done(one, "web") == ["succeeded"])
        wait_until(lambda: _done(one, "api") == ["succeeded"])
        before = web1.deployments()
        web1.go_away()
        wait_until(lambda: _said(one, "host web1 is away"))
        _edit(one, _spec(machines, "two"))
        wait_until(lambda: _says(web2) == {"web": "two"})
        wait_until(lambda: _said(one, "shop/api", "block", AWAY) or _said(one, "shop/api block"))
        asked = web1.asked
        for number in range(10):
            passes = web2.asked
            one.daemon.ask(Wish(f"look {number}", look="now"))
            wait_until(lambda passes=passes: web2.asked > passes)
        assert web1.asked == asked  # nobody but the listener asks
        assert web1.deployments() == before
        assert _figures(one) == {'host_up{host="web1"} 0.0', 'host_up{host="web2"} 1.0'}
        web1.come_back()
        wait_until(lambda: _says(web1) == {"api": "two"}, timeout=20)
        wait_until(lambda: _done(one, "api") == ["succeeded", "succeeded"])
        assert len(_said(one, "warning", "host web1 is away")) == 1
        assert len(_said(one, "host web1 answers again")) == 1
        assert len(_said(one, "shop/api", "block")) == 1
        assert not _said(one, "can't hear the engine")
        assert not one.daemon.removals


def test_daemon_starts_while_a_host_is_away(machines: Machines, wait_until: Wait) -> None:
    machines["web1"].go_away()
    with yard(_spec(machines, "one"), machines) as one:
        wait_until(lambda: _done(one, "web") == ["succeeded"])
        assert not _done(one, "api")
        machines["web1"].come_back()
        wait_until(lambda: _done(one, "api") == ["succeeded"], timeout=20)


def test_daemon_starts_while_all_hosts_are_away(machines: Machines, wait_until: Wait) -> None:
    for machine in machines.values():
        machine.go_away()
    with yard(_spec(machines, "one"), machines) as one:
        wait_until(lambda: _said(one, "no pass:"))
        machines["web2"].come_back()
        wait_until(lambda: _done(one, "web") == ["succeeded"], timeout=20)


def test_daemon_rests_while_a_host_is_away(machines: Machines, wait_until: Wait) -> None:
    with yard(_spec(machines, "one"), machines) as one:
        wait_until(lambda: _done(one, "api") == ["succeeded"] == _done(one, "web"))
        machines["web1"].go_away()
        wait_until(lambda: _said(one, "block"))
        listener = one.daemon._events._listeners["web1"]
        wait_until(lambda: listener.attempts >= 3)
        attempts = listener.attempts
        passes, asked = machines["web2"].asked, machines["web1"].asked
        wait_until(lambda: listener.attempts >= attempts + 2, timeout=20)  # each pause is longer
        assert machines["web2"].asked <= passes + 1
        assert machines["web1"].asked == asked


def test_daemon_doubts_a_host_that_did_not_answer(machines: Machines, wait_until: Wait) -> None:
    """Its events go on, and yet a call gets no answer: it is asked again, and not all the time."""
    web1 = machines["web1"]
    with yard(_spec(machines, "one"), machines) as one:
        wait_until(lambda: _done(one, "api") == ["succeeded"] == _done(one, "web"))
        web1.away = True
        asked = web1.asked
        _edit(one, _spec(machines, "two"))
        wait_until(lambda: web1.asked >= asked + 3)
        assert web1.asked < asked + 8
        web1.away = False
        wait_until(lambda: _says(web1) == {"api": "two"}, timeout=20)
        assert not _said(one, "host web1 is away")


def test_daemon_follows_the_hosts_of_the_spec(machines: Machines, wait_until: Wait) -> None:
    hosts = {f"web{number}": {"docker": machines["web2"].url} for number in range(2, 102)}
    many = write_spec({"web": "one"}, {"web": ["web2"]}, hosts=hosts)
    named = {**dict.fromkeys(hosts, machines["web2"]), "web1": machines["web1"]}
    with yard(many, named) as one:
        wait_until(lambda: len(one.daemon._events._listeners) == 100, timeout=30)
        assert len(_listening()) == 100
        wait_until(lambda: _done(one, "web") == ["succeeded"], timeout=30)
        _edit(one, _spec(machines, "two", {"web": ["web1"]}))
        wait_until(lambda: _says(machines["web1"]) == {"web": "two"}, timeout=30)
        wait_until(lambda: sorted(one.daemon._events._listeners) == ["web1", "web2"])
        wait_until(lambda: _listening() == ["events web1", "events web2"])
        wait_until(lambda: _says(machines["web2"]) == {})


def test_daemon_host_has_another_address(machines: Machines, wait_until: Wait) -> None:
    moved = {"web1": machines["web2"], "web2": machines["web1"]}
    with yard(_spec(machines, "one", {"api": ["web1"]}), machines) as one:
        wait_until(lambda: _done(one, "api") == ["succeeded"])
        machines["web1"].go_away()
        wait_until(lambda: _said(one, "host web1 is away"))
        machines["web1"], machines["web2"] = moved["web1"], moved["web2"]
        _edit(one, _spec({"web1": machines["web1"]}, "two", {"api": ["web1"]}))
        wait_until(lambda: _says(machines["web1"]) == {"api": "two"}, timeout=20)


def test_daemon_rolls_hosts_in_batches_and_the_first_failure_stops(
    tmp_path: Path, wait_until: Wait
) -> None:
    machines = {f"web{number}": Listening(tmp_path / f"web{number}") for number in range(1, 6)}
    names = list(machines)

    def spec(says: str) -> str:
        text = json.loads(_spec(machines, says, {"api": names}))
        text["apps"]["api"]["rollout"] = {"max_unavailable": 2}
        return json.dumps(text)

    with ExitStack() as stack:
        for machine in machines.values():
            stack.enter_context(machine.listening())
        one = stack.enter_context(yard(spec("one"), machines))
        wait_until(lambda: _done(one, "api") == ["succeeded"])
        for number, (failing, untouched) in enumerate([("web1", names[1:]), ("web3", names[3:])]):
            machines[failing].fail_start["shop/api"] = "no memory left"
            before = {name: list(machines[name].changes) for name in untouched}
            _edit(one, spec(f"try {number}"))
            wait_until(lambda number=number: len(_done(one, "api")) == number + 2)
            wait_until(lambda: _done(one, "api")[0] == "rolled_back")
            assert {name: machines[name].changes for name in untouched} == before
            assert all(_says(machine) == {"api": "one"} for machine in machines.values())
            assert all(len(machine.containers) == 1 for machine in machines.values())
            machines[failing].fail_start.clear()
        assert _said(one, "rolled_back", "replica 1 on web3: no memory left")
        _edit(one, spec("two"))
        wait_until(lambda: all(_says(each) == {"api": "two"} for each in machines.values()))


def test_daemon_names_one_engine_twice(machines: Machines, wait_until: Wait) -> None:
    """One container can't be two; whoever asks for that is told, and keeps what there was."""
    same = {"web1": machines["web1"], "web2": machines["web1"]}
    with yard(_spec(same, "one", {"api": ["web1", "web2"]}), same) as one:
        wait_until(lambda: _said(one, "are the same engine"))
        wait_until(lambda: _done(one, "api") == ["failed"])
        assert not machines["web1"].containers
