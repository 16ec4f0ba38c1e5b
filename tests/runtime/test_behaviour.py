"""What every runtime promises: the same tests on the fake one, an engine, one by ssh, a Swarm."""

import threading
import time
from dataclasses import replace

import pytest

from reconciler.errors import Cancelled, DeployError, HealthError
from reconciler.host.job import Cancellation, Job
from tests.runtime.bench import Bench


def test_deploy_first_time(bench: Bench) -> None:
    workload = bench.workload()
    instance = bench.deploy(workload)
    (container,) = bench.containers()
    assert (container.id, container.state) == (instance.id, "running")
    assert (container.app, container.deployment) == (workload.app, workload.deployment)
    assert container.run_hash == f"v1:{workload.deployment}"
    assert container.image_id == bench.image_id
    assert container.exit_code is None
    assert instance.inspect().status == "running"


def test_deploy_repeated_doubles_nothing(bench: Bench) -> None:
    workload = bench.workload()
    first = bench.deploy(workload)
    assert bench.deploy(workload).id == first.id
    assert len(bench.containers()) == 1


def test_deploy_sets_the_old_one_aside(bench: Bench) -> None:
    old = bench.settled()
    new = bench.deploy(bench.workload())
    assert bench.running() == [new.id]
    assert {c.id: c.state for c in bench.containers()} == {new.id: "running", old.id: "exited"}


def test_observe_newest_first(bench: Bench) -> None:
    old = bench.settled()
    new = bench.deploy(bench.workload())
    assert [c.id for c in bench.containers()] == [new.id, old.id]


def test_observe_sees_no_other_project(bench: Bench) -> None:
    bench.settled()
    assert bench.runtime.observe("elsewhere").apps == {}


def test_settle_leaves_the_new_one_alone(bench: Bench) -> None:
    bench.settled()
    workload = bench.workload()
    new = bench.deploy(workload)
    bench.runtime.settle(workload, bench.job)
    (container,) = bench.containers()
    assert (container.id, container.state) == (new.id, "running")
    assert container.name == f"{bench.project}-web"


def test_settle_repeated(bench: Bench) -> None:
    workload = bench.workload()
    new = bench.deploy(workload)
    bench.runtime.settle(workload, bench.job)
    bench.runtime.settle(workload, bench.job)
    assert bench.running() == [new.id]


def test_settle_without_the_new_one_removes_nothing(bench: Bench) -> None:
    old = bench.settled()
    with pytest.raises(DeployError):
        bench.runtime.settle(bench.workload(), bench.job)
    assert bench.running() == [old.id]


def test_revert_puts_the_old_one_back(bench: Bench) -> None:
    old = bench.settled()
    workload = bench.workload()
    bench.deploy(workload)
    assert bench.runtime.revert(workload, bench.job)
    (container,) = bench.containers()
    assert (container.id, container.state) == (old.id, "running")
    assert container.name == f"{bench.project}-web"


def test_revert_repeated(bench: Bench) -> None:
    old = bench.settled()
    workload = bench.workload()
    bench.deploy(workload)
    bench.runtime.revert(workload, bench.job)
    assert not bench.runtime.revert(workload, bench.job)
    assert bench.running() == [old.id]


def test_revert_of_the_first_deployment(bench: Bench) -> None:
    workload = bench.workload()
    bench.deploy(workload)
    assert not bench.runtime.revert(workload, bench.job)
    assert bench.containers() == ()


def test_revert_before_anything_was_done(bench: Bench) -> None:
    old = bench.settled()
    assert not bench.runtime.revert(bench.workload(), bench.job)
    assert bench.running() == [old.id]


def test_deploy_that_can_not_start(bench: Bench) -> None:
    old = bench.settled()
    workload = bench.unstartable()
    with pytest.raises(DeployError, match="no program"):
        bench.deploy(workload)
    assert bench.running() == []
    assert bench.runtime.revert(workload, bench.job)
    assert bench.running() == [old.id]
    assert len(bench.containers()) == 1


def test_deploy_that_can_not_be_created_stops_nothing(bench: Bench) -> None:
    old = bench.settled()
    workload = bench.impossible()
    with pytest.raises(DeployError, match="image is gone"):
        bench.deploy(workload)
    assert bench.running() == [old.id]
    assert not bench.runtime.revert(workload, bench.job)
    assert bench.running() == [old.id]


def test_deploy_over_an_exited_one(bench: Bench) -> None:
    old = bench.settled()
    bench.end(old)
    workload = bench.workload()
    new = bench.deploy(workload)
    assert {c.id for c in bench.containers()} == {new.id, old.id}
    bench.runtime.settle(workload, bench.job)
    assert [c.id for c in bench.containers()] == [new.id]


def test_revert_to_an_exited_one_starts_it(bench: Bench) -> None:
    old = bench.settled()
    bench.end(old)
    workload = bench.workload()
    bench.deploy(workload)
    assert bench.runtime.revert(workload, bench.job)
    assert bench.running() == [old.id]


def test_deploy_after_a_deployment_that_never_settled(bench: Bench) -> None:
    """What serves is what comes back, not what was set aside before it."""
    bench.settled()
    middle = bench.deploy(bench.workload())
    workload = bench.workload()
    bench.deploy(workload)
    assert bench.runtime.revert(workload, bench.job)
    assert bench.running() == [middle.id]


def test_deploy_cancelled_before_it_began(bench: Bench) -> None:
    job = Job()
    job.cancel.cancel(Cancelled("cancelled"))
    with pytest.raises(Cancelled):
        bench.runtime.deploy(bench.workload(), job)
    assert bench.containers() == ()


def test_deploy_cancelled_while_the_old_one_stops(bench: Bench) -> None:
    old = bench.slow_to_stop()
    workload = bench.workload()
    job = replace(bench.job, cancel=Cancellation())
    timer = threading.Timer(0.3, job.cancel.cancel, (Cancelled("cancelled"),))
    timer.start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        bench.runtime.deploy(workload, job)
    assert time.monotonic() - began < 3  # a second where nothing runs beside; stopping takes longer
    bench.runtime.revert(workload, job)  # also with the cancelled job
    assert time.monotonic() - began < 3 + bench.going_back_seconds
    timer.join()
    assert bench.running() == [old.id]
    assert len(bench.containers()) == 1


def test_remove_takes_all_of_the_app_and_nothing_else(bench: Bench) -> None:
    bench.settled()
    bench.deploy(bench.workload())
    other = bench.settled("other", command=("sleep", "600"))
    assert bench.runtime.remove(f"{bench.project}/web", bench.job) == 2
    assert bench.containers() == ()
    assert bench.running("other") == [other.id]
    assert bench.runtime.remove(f"{bench.project}/web", bench.job) == 0


def test_remove_of_some(bench: Bench) -> None:
    old = bench.settled()
    new = bench.deploy(bench.workload())
    app = f"{bench.project}/web"
    assert bench.runtime.remove(app, bench.job, containers={old.id, "unknown"}) == 1
    assert [c.id for c in bench.containers()] == [new.id]


def test_instance_that_was_removed(bench: Bench) -> None:
    instance = bench.settled()
    bench.runtime.remove(f"{bench.project}/web", bench.job)
    with pytest.raises(HealthError, match="removed"):
        instance.inspect()
