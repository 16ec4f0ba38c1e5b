"""Several containers of one app, and new ones beside the old: on the fake and a real engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.errors import DeployError
from reconciler.runtime.base import Workload
from tests.runtime.bench import Bench


@pytest.fixture(params=["fake", "docker", "ssh"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """A Swarm replicates in its own way."""
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found


BESIDE = {"rollout": {"strategy": "blue-green"}}


def all_of(workload: Workload) -> list[Workload]:
    return [replace(workload, replica=number) for number in range(1, workload.spec.replicas + 1)]


def rolled_out(bench: Bench, **fields: object) -> Workload:
    workload = bench.workload(**fields)
    for one in all_of(workload):
        bench.deploy(one)
    bench.runtime.settle(workload, bench.job)
    return workload


def names(bench: Bench) -> list[str]:
    found = bench.runtime.observe(bench.project).apps.get(f"{bench.project}/web", ())
    return sorted(container.name.removeprefix(f"{bench.project}-") for container in found)


def serving(bench: Bench, workload: Workload) -> list[int]:
    running = bench.runtime.running(workload.app)
    return [one.number for one in running if one.deployment == workload.deployment]


def test_replicas_are_replaced_one_after_the_other(bench: Bench) -> None:
    old = rolled_out(bench, replicas=2)
    assert names(bench) == ["web", "web-2"]
    new = bench.workload(replicas=2)
    first, second = all_of(new)
    bench.deploy(first)
    assert serving(bench, new) == [1]
    assert serving(bench, old) == [2]
    bench.deploy(second)
    assert serving(bench, old) == []
    bench.runtime.settle(new, bench.job)
    assert serving(bench, new) == [1, 2]
    assert names(bench) == ["web", "web-2"]
    assert all(one.address for one in bench.runtime.running(new.app))


def test_replicas_all_come_back(bench: Bench) -> None:
    old = rolled_out(bench, replicas=2)
    ids = {one.id for one in bench.runtime.running(old.app)}
    new = bench.workload(replicas=2)
    for one in all_of(new):
        bench.deploy(one)
    assert bench.runtime.revert(new, bench.job)
    assert {one.id for one in bench.runtime.running(old.app)} == ids
    assert names(bench) == ["web", "web-2"]
    assert not bench.runtime.revert(new, bench.job)


def test_replicas_become_fewer_and_the_others_stay(bench: Bench) -> None:
    workload = rolled_out(bench, replicas=3)
    ids = [one.id for one in bench.runtime.running(workload.app)]
    fewer = replace(workload, spec=replace(workload.spec, replicas=1))
    bench.runtime.settle(fewer, bench.job)
    assert [one.id for one in bench.runtime.running(workload.app)] == ids[:1]


def test_replicas_become_more_and_a_bad_one_goes_alone(bench: Bench) -> None:
    workload = rolled_out(bench, replicas=1)
    (only,) = bench.runtime.running(workload.app)
    more = replace(workload, spec=replace(workload.spec, replicas=2), replica=2)
    bench.deploy(more)
    assert serving(bench, workload) == [1, 2]
    bench.runtime.revert(more, bench.job)
    assert bench.runtime.running(workload.app) == (only,)
    bench.deploy(more)
    bench.runtime.settle(more, bench.job)
    assert serving(bench, workload) == [1, 2]
    assert names(bench) == ["web", "web-2"]


def test_beside_stops_nothing_before_it_is_settled(bench: Bench) -> None:
    old = rolled_out(bench, replicas=2)
    new = bench.workload(replicas=2, **BESIDE)
    for one in all_of(new):
        bench.deploy(one)
    assert serving(bench, old) == serving(bench, new) == [1, 2]
    bench.runtime.settle(new, bench.job)
    assert serving(bench, old) == []
    assert serving(bench, new) == [1, 2]
    assert names(bench) == ["web", "web-2"]


def test_beside_goes_without_a_trace(bench: Bench) -> None:
    old = rolled_out(bench, **BESIDE)
    (before,) = bench.runtime.running(old.app)
    new = bench.workload(**BESIDE)
    bench.deploy(new)
    assert bench.runtime.revert(new, bench.job)
    assert bench.runtime.running(old.app) == (before,)
    assert not bench.runtime.revert(new, bench.job)


def test_beside_that_never_started_put_nothing_at_stake(bench: Bench) -> None:
    old = rolled_out(bench, **BESIDE)
    bad = replace(bench.unstartable(), spec=old.spec)
    bad = replace(bad, spec=replace(bad.spec, command=("nope",)))
    with pytest.raises(DeployError):
        bench.deploy(bad)
    assert not bench.runtime.revert(bad, bench.job)
    assert serving(bench, old) == [1]
