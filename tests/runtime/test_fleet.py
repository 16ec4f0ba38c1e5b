"""Several places on fake runtimes: what is seen of them together, and what is done at each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import DeployError, EngineUnavailable
from reconciler.host.access import Access
from reconciler.host.engine import Engine
from reconciler.host.hosts import Hosts
from reconciler.host.job import Job
from reconciler.plan.places import SWARM, Places
from reconciler.runtime.base import Instance, Workload
from reconciler.runtime.fleet import Fleet, Spread, Station
from reconciler.spec.hosts import Host
from reconciler.spec.models import App, FileRef, ImageSource
from tests.support.machines import AWAY, Machine

NAMES = ("web1", "web2", "web3")


@dataclass
class World:
    """A fleet of fake machines on a clock that tests move. `log` is what its jobs said."""

    directory: Path
    now: list[float] = field(default_factory=lambda: [0.0])
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machines = {name: Machine() for name in ("local", *NAMES)}
        self.hosts = Hosts(Engine("unix:///nowhere"), clock=lambda: self.now[0])
        sections = {name: Host(docker=f"unix:///{name}") for name in NAMES}
        self.hosts.learn(sections, self.directory)
        kinds = dict.fromkeys(("docker", SWARM), lambda _engine, _dir, host: self.machines[host])
        self.fleet = Fleet(self.hosts, self.directory, kinds)

    def at(self, *hosts: str, leaves: str = "", only: str = "") -> Spread:
        station = Station(
            Places(hosts=hosts),
            (("docker", only),) if only else (),
            (("docker", leaves),) if leaves else (),
        )
        runtime = self.fleet.at(station)
        assert isinstance(runtime, Spread)
        return runtime

    def deploy(self, spread: Spread, deployment: str, host: str, **fields: Any) -> Instance:
        return spread.deploy(workload(deployment, host, **fields), self.job)

    @property
    def job(self) -> Job:
        return Job("shop/api", self.log.append)

    def serve(self, *hosts: str, deployment: str = "one") -> Spread:
        """The app serves at these hosts."""
        spread = self.at(*hosts)
        for host in hosts:
            self.deploy(spread, deployment, host)
        spread.settle(workload(deployment, hosts[0]), self.job)
        return spread

    def shown(self) -> dict[str, list[str]]:
        """Deployments that run, by host."""
        return {
            name: machine.deployments()
            for name, machine in self.machines.items()
            if machine.containers
        }

    def look(self, *hosts: str, runtime: str = "docker") -> dict[tuple[str, str], list[str]]:
        """Deployments of the app as they are seen, by place."""
        found: dict[tuple[str, str], list[str]] = {}
        everywhere = [Places(runtime, (host,)) for host in hosts]
        for one in self.fleet.observe("shop", everywhere).apps.get("shop/api", ()):
            found.setdefault(one.place, []).append(one.deployment)
        return found


def workload(deployment: str, host: str, **fields: Any) -> Workload:
    spec = App(source=ImageSource(image="x"), **fields)
    return Workload("shop/api", deployment, "sha256:1", spec, {}, Path("/"), host=host)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    return World(tmp_path)  # type: ignore[return-value]


# -- looking ---------------------------------------------------------------------------------


def test_fleet_looks_side_by_side(world: World) -> None:
    barrier = threading.Barrier(3)
    for name in NAMES:
        world.machines[name].beside = barrier
    world.look(*NAMES)
    assert [world.machines[name].asked for name in NAMES] == [1, 1, 1]


def test_fleet_one_away_hides_nothing(world: World) -> None:
    world.serve("web1", "web2")
    world.machines["web1"].away = True
    seen = world.fleet.observe("shop", [Places(hosts=("web1", "web2"))])
    assert seen.away == {("docker", "web1"): AWAY}
    assert [one.host for one in seen.apps["shop/api"]] == ["web2"]


def test_fleet_all_away(world: World) -> None:
    for name in NAMES:
        world.machines[name].away = True
    with pytest.raises(EngineUnavailable, match=AWAY):
        world.look(*NAMES)


def test_fleet_one_away_is_asked_less_and_less_often(world: World) -> None:
    machine = world.machines["web1"]
    machine.away = True
    for tenth in range(1000):
        world.now[0] = tenth / 10
        world.look("web1", "web2")
    assert machine.asked == 8  # after 1, 2, 4, 8, 16, 30 and 30 seconds
    assert world.machines["web2"].asked == 1000
    machine.away = False
    world.now[0] += 30
    world.serve("web1")
    assert world.look("web1") == {("docker", "web1"): ["one"]}


def test_fleet_many_meet_one_absence(world: World) -> None:
    world.machines["web1"].away = True
    error = EngineUnavailable("another reason")
    world.fleet.observe("shop", [Places(hosts=("web1", "web2"))])
    for _ in range(20):  # of deployments that were at work there
        world.hosts.failed("web1", error)
    assert world.hosts.away() == {"web1": AWAY}
    world.now[0] = 1.5
    world.machines["web1"].away = False
    assert world.look("web1") == {}


def test_fleet_asks_no_host_that_is_watched(world: World) -> None:
    doubts: list[str] = []
    world.hosts.watch("web1", lambda: doubts.append("web1"))
    world.machines["web1"].away = True
    for minute in range(10):
        world.now[0] = minute * 60.0
        world.look("web1", "web2")
    assert (world.machines["web1"].asked, doubts) == (1, ["web1"])
    assert world.fleet.next_ask([("docker", "web1")]) is None
    world.machines["web1"].away = False
    world.hosts.answered("web1")
    world.look("web1", "web2")
    assert world.machines["web1"].asked == 2


def test_fleet_host_is_asked_again_when_nobody_watches_any_more(world: World) -> None:
    world.hosts.watch("web1", lambda: None)
    world.machines["web1"].away = True
    world.look("web1", "web2")
    world.hosts.watch("web1", None)
    world.look("web1", "web2")
    assert world.machines["web1"].asked == 2


def test_fleet_next_manager_answers_for_the_swarm(world: World) -> None:
    world.machines["web1"].away = True
    swarm = Places(SWARM, ("web1", "web2"))
    spread = world.fleet.at(Station(swarm))
    spread.deploy(workload("one", "web1"), world.job)
    seen = world.fleet.observe("shop", [swarm])
    assert not seen.away
    assert world.shown() == {"web2": ["one"]}
    assert [one.host for one in seen.apps["shop/api"]] == ["web1"]


def test_fleet_swarm_without_a_leader_leaves_its_engine_usable(world: World) -> None:
    world.machines["web1"].away = True
    everywhere = [Places(SWARM, ("web1",)), Places(hosts=("web2",))]
    world.fleet.looked_at = tuple(everywhere)
    away = world.fleet.observe("shop", everywhere).away
    assert away == {(SWARM, "web1"): AWAY}
    assert world.fleet.next_ask(away) == 1.0
    world.machines["web1"].away = False
    assert not world.fleet.observe("shop", [Places(hosts=("web1",))]).away
    assert not world.hosts.away()


# -- keys ------------------------------------------------------------------------------------


def test_hosts_read_a_key_again_that_was_put_right(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    hosts, key = Hosts(Engine("unix:///nowhere")), tmp_path / "apps" / "key"
    section = Host(docker="ssh://deploy@10.0.0.1", ssh_key=FileRef(file="key"))
    hosts.learn({"web1": section}, tmp_path / "apps")
    with pytest.raises(EngineUnavailable, match="key"):
        hosts.engine("web1").get("/version")
    key.write_text("a key")
    first = hosts.engine("web1")
    assert first.access == Access("ssh://deploy@10.0.0.1", "web1", ssh_key="a key")
    assert hosts.engine("web1") is first
    key.write_text("another key")
    hosts.failed("web1", EngineUnavailable("permission denied"))
    assert hosts.engine("web1").access.ssh_key == "another key"


# -- two names -------------------------------------------------------------------------------


def test_fleet_one_engine_has_two_names(world: World) -> None:
    world.machines["web2"] = world.machines["web1"]
    world.serve("web2")
    assert world.look("web1", "web2") == {("docker", "web2"): ["one"]}
    assert world.look("web1", "web3") == {("docker", "web1"): ["one"]}


def test_fleet_move_between_two_names_of_one_engine(world: World) -> None:
    world.machines["web2"] = world.machines["web1"]
    world.serve("web1")
    spread = world.at("web2", leaves="web1")
    world.deploy(spread, "one", "web2")
    spread.settle(workload("one", "web2"), world.job)
    assert world.shown() == {"web1": ["one"], "web2": ["one"]}
    assert len(world.machines["web1"].containers) == 1


# -- deployments -----------------------------------------------------------------------------


def test_spread_settle_at_each_place(world: World) -> None:
    world.serve("web1", "web2")
    world.serve("web1", "web2", deployment="two")
    assert world.shown() == {"web1": ["two"], "web2": ["two"]}


def test_spread_settle_goes_on_beside_one_that_is_away(world: World) -> None:
    spread = world.serve("web1", "web2")
    for host in ("web1", "web2"):
        world.deploy(spread, "two", host)
    world.machines["web1"].away = True
    with pytest.raises(EngineUnavailable):
        spread.settle(workload("two", "web1"), world.job)
    assert world.shown() == {"web1": ["one", "two"], "web2": ["two"]}


def test_spread_move_leaves_when_the_new_place_is_settled(world: World) -> None:
    world.serve("web1")
    spread = world.at("web2", leaves="web1")
    world.deploy(spread, "one", "web2")
    assert world.shown() == {"web1": ["one"], "web2": ["one"]}
    spread.settle(workload("one", "web2"), world.job)
    assert world.shown() == {"web2": ["one"]}


def test_spread_move_leaves_nothing_when_the_new_place_is_lost(world: World) -> None:
    world.serve("web1")
    spread = world.at("web2", leaves="web1")
    world.deploy(spread, "one", "web2")
    world.machines["web2"].containers.clear()
    with pytest.raises(DeployError):
        spread.settle(workload("one", "web2"), world.job)
    assert world.shown() == {"web1": ["one"]}


def test_spread_move_from_a_host_that_is_away(world: World) -> None:
    world.serve("web1")
    world.machines["web1"].away = True
    spread = world.at("web2", leaves="web1")
    world.deploy(spread, "one", "web2")
    spread.settle(workload("one", "web2"), world.job)
    assert "left over until that host is back" in "\n".join(world.log)


def test_spread_move_reverts(world: World) -> None:
    world.serve("web1")
    spread = world.at("web2", leaves="web1")
    world.deploy(spread, "one", "web2")
    assert spread.revert(workload("one", "web2"), world.job)
    assert world.shown() == {"web1": ["one"]}


def test_spread_move_reverts_nothing_that_began(world: World) -> None:
    world.serve("web1")
    assert not world.at("web2", leaves="web1").revert(workload("one", "web2"), world.job)


def test_spread_added_host_reverts_and_the_other_stays(world: World) -> None:
    world.serve("web1")
    spread = world.at("web1", "web2")
    for host in ("web1", "web2"):
        world.deploy(spread, "one", host)
    spread.revert(workload("one", "web1"), world.job)
    assert world.shown() == {"web1": ["one"]}


def test_spread_revert_is_tried_again_where_nobody_answered(world: World) -> None:
    world.serve("web1", "web2")
    spread = world.at("web1", "web2")
    for host in ("web1", "web2"):
        world.deploy(spread, "two", host)
    world.machines["web2"].away = True
    with pytest.raises(EngineUnavailable):
        spread.revert(workload("two", "web1"), world.job)
    assert world.shown()["web1"] == ["one"]
    world.machines["web2"].away = False
    world.now[0] += 10
    assert spread.revert(workload("two", "web1"), world.job)
    assert world.shown() == {"web1": ["one"], "web2": ["one"]}


def test_spread_heal_touches_only_places_that_answer(world: World) -> None:
    world.serve("web1", "web2")
    world.machines["web1"].away = True
    spread = world.at("web1", "web2", only="web2")
    world.deploy(spread, "two", "web2")
    spread.settle(workload("two", "web2"), world.job)
    assert world.shown() == {"web1": ["one"], "web2": ["two"]}


def test_spread_remove_gives_up_hosts_that_are_gone_from_the_spec(world: World) -> None:
    world.serve("web1", "web2")
    world.machines["web1"].away = True
    with pytest.raises(EngineUnavailable):
        world.at("web1", "web2").remove("shop/api", world.job)
    assert world.shown() == {"web1": ["one"]}
    world.serve("web2")
    world.hosts.learn({"web2": Host(docker="unix:///web2")}, world.directory)
    assert world.at("web1", "web2").remove("shop/api", world.job) == 1
    assert "web1 is left alone" in "\n".join(world.log)
