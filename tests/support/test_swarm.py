"""The Swarm of the tests: its nodes, and a service over all of them."""

from tests.support.swarm import Swarm
from tests.support.system import wait_until


def test_swarm_runs_a_service_on_each_node(swarm: Swarm) -> None:
    swarm.await_all()
    image = swarm.base_image()
    spec = {
        "Name": "probe",
        "Labels": {"probe": "1"},
        "TaskTemplate": {"ContainerSpec": {"Image": image, "Command": ["httpd", "-f"]}},
        "Mode": {"Global": {}},
    }
    swarm.manager.request("POST", "/services/create", spec)
    wait_until(lambda: _running(swarm) == {node.id for node in swarm.nodes}, 30)
    swarm.discard("probe")
    assert swarm.services("probe") == []


def _running(swarm: Swarm) -> set[str]:
    tasks = swarm.tasks("probe")
    return {task["NodeID"] for task in tasks if task["Status"]["State"] == "running"}


def test_swarm_node_that_is_cut_off_comes_back(broken_swarm: Swarm) -> None:
    node = broken_swarm.nodes[2]
    broken_swarm.cut(node)
    wait_until(lambda: broken_swarm.states()[node.hostname] == "down", 30)
    broken_swarm.mend(node)
    broken_swarm.await_all()
