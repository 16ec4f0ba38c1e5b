"""A real Swarm: three private engines on a network of their own, and a registry for them.

Each node has a network namespace, joined by a veth to a bridge in a fourth one; the session's
namespace is on that bridge as well, so that a test reaches a node's ports at `node.address`.

    swarm.manager, swarm.workers     nodes: a PrivateEngine with .address, .hostname and .id
    swarm.cut(node); swarm.mend(node)     its link goes, and comes back
    swarm.base_image()               the digest reference of the base image, which was pushed
    with swarm.alone(): …            no other process of the session uses it meanwhile

All processes of a session share one; the first that asks makes it.
"""

import fcntl
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support import system
from tests.support.engine import BASE_IMAGE, PrivateEngine
from tests.support.registry import PrivateRegistry

NODES = 3
SUBNET = "198.51.100"
"""Of documentation: no engine and no Swarm takes addresses from it."""
SWITCH, SESSION = f"{SUBNET}.254", f"{SUBNET}.253"
HEARTBEAT = 1_000_000_000
"""Of the nodes, in nanoseconds: one that was killed is down after three of them."""


class Node(PrivateEngine):
    """An engine of the Swarm. It stays a member when it is stopped or killed."""

    @cached_property
    def number(self) -> int:
        return int((self.home / "hostname").read_text().removeprefix("node"))

    @property
    def hostname(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        return f"{SUBNET}.{self.number}"

    @cached_property
    def id(self) -> str:
        """Its id in the Swarm."""
        return str(self.request("GET", "/info")["Swarm"]["NodeID"])

    def crash(self) -> None:
        """The engine and all that it runs end at once, as when its machine loses power."""
        self.kill()
        pids = system.pids_in_control_group(self.name)
        system.kill_all(system.with_descendants(pids))


class Swarm:
    """A handle, as the nodes are. `switch` is the namespace with the bridge."""

    def __init__(self, switch: PrivateEngine, homes: list[Path], registry: PrivateRegistry) -> None:
        self.switch = switch
        self.nodes = [Node(home) for home in homes]
        self.registry = registry
        self.lock = switch.home / "use.lock"

    @property
    def manager(self) -> Node:
        return self.nodes[0]

    @property
    def workers(self) -> list[Node]:
        return self.nodes[1:]

    def cut(self, node: Node) -> None:
        """Nothing reaches the node, and it reaches nobody."""
        self.switch.run_inside(["ip", "link", "set", f"port{node.number}", "down"])

    def mend(self, node: Node) -> None:
        self.switch.run_inside(["ip", "link", "set", f"port{node.number}", "up"])

    def states(self) -> dict[str, str]:
        """By host name, what the manager thinks of each node: ready or down."""
        found = self.manager.request("GET", "/nodes")
        return {n["Description"]["Hostname"]: n["Status"]["State"] for n in found}

    def await_all(self, timeout: float = 30) -> None:
        """Return when each node is ready."""
        system.wait_until(self._all_ready, timeout, "all nodes of the Swarm")

    def _all_ready(self) -> bool:
        try:
            return list(self.states().values()) == ["ready"] * NODES
        except OSError:  # the manager looks for itself
            return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process of the session uses the Swarm; all nodes are back at the end."""
        with self.lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            self.repair()

    def repair(self) -> None:
        """Bring back all nodes and their links."""
        for node in self.nodes:
            self.mend(node)
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(_start, self.nodes))
        self.await_all()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Nobody breaks it meanwhile."""
        with self.lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    # What is in it

    def services(self, label: str) -> list[Any]:
        """The services with this label, `key` or `key=value`."""
        filters = quote(json.dumps({"label": [label]}))
        return list(self.manager.request("GET", f"/services?filters={filters}"))

    def tasks(self, service: str) -> list[Any]:
        """The tasks of a service, by id or name, those of the past included. Raises OSError."""
        filters = quote(json.dumps({"service": [service]}))
        return list(self.manager.request("GET", f"/tasks?filters={filters}"))

    def base_image(self) -> str:
        """`repository@sha256:…` of the engines' base image, for all nodes."""
        tag = f"{self.registry.address}/base:1"
        with (self.switch.home / "push.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the registry fails when two push the same at once
            if not self.registry.tags("base"):
                self.manager.docker("tag", BASE_IMAGE, tag)
                self.manager.docker("push", "-q", tag)
        return f"{self.registry.address}/base@{self.registry.digest('base', '1')}"

    def discard(self, word: str) -> None:
        """Remove the services, secrets and networks whose names begin with `word`."""
        for kind, name in (("services", _spec_name), ("secrets", _spec_name)):
            for entry in self.manager.request("GET", f"/{kind}"):
                if name(entry).startswith(word):
                    self.manager.request("DELETE", f"/{kind}/{entry['ID']}")
        for entry in self.manager.request("GET", "/networks"):
            if entry["Name"].startswith(word):
                remove = partial(self._remove_network, entry["Id"])
                system.wait_until(remove, 20, f"the end of the network {entry['Name']}")

    def _remove_network(self, network: str) -> bool:
        """Tasks that end hold on to it for a moment."""
        try:
            self.manager.request("DELETE", f"/networks/{network}")
        except OSError as error:
            return " 404 " in str(error)
        return True


def _spec_name(entry: Any) -> str:
    return str(entry["Spec"]["Name"])


def _start(node: Node) -> None:
    if not node.is_ready():
        node.start()


# Making it


def open_swarm(shared_home: Path) -> Swarm:
    """The session's Swarm; made by the first process that asks."""
    note = shared_home / "swarm.json"
    with (shared_home / "swarm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            note.write_text(json.dumps(_make_swarm()))
    known = json.loads(note.read_text())
    switch = PrivateEngine(Path(known["switch"]))
    registry = PrivateRegistry.at(switch, known["registry"])
    return Swarm(switch, [Path(home) for home in known["nodes"]], registry)


def _make_swarm() -> dict[str, Any]:
    switch = PrivateEngine.create()
    _make_switch(switch)
    registry = PrivateRegistry(switch, host=SWITCH).start()
    nodes = [_make_node(switch, number) for number in range(1, NODES + 1)]
    with ThreadPoolExecutor(NODES) as pool:
        list(pool.map(PrivateEngine.start, nodes))
        image = pool.submit(nodes[0].make_base_image)
        _join(nodes)
        image.result()
    return {
        "switch": str(switch.home),
        "registry": registry.address,
        "nodes": [str(node.home) for node in nodes],
    }


def _make_switch(switch: PrivateEngine) -> None:
    """The bridge, and the session's own line to it."""
    inside = switch.run_inside
    inside(["ip", "link", "add", "bridge", "type", "bridge"])
    inside(["ip", "address", "add", f"{SWITCH}/24", "dev", "bridge"])
    inside(["ip", "link", "set", "bridge", "up"])
    system.run("ip", "link", "add", "swarm", "type", "veth", "peer", "name", "session")
    _plug(switch, "session")
    system.run("ip", "address", "add", f"{SESSION}/24", "dev", "swarm")
    system.run("ip", "link", "set", "swarm", "up")


def _plug(switch: PrivateEngine, port: str) -> None:
    """The end of a line, which is in the session's namespace, goes to the bridge."""
    with switch.namespace.open() as namespace:
        path = f"/proc/self/fd/{namespace.fileno()}"
        subprocess.run(
            ["ip", "link", "set", port, "netns", path], check=True, pass_fds=[namespace.fileno()]
        )
    switch.run_inside(["ip", "link", "set", port, "master", "bridge", "up"])


def _make_node(switch: PrivateEngine, number: int) -> Node:
    config = {"insecure-registries": [f"{SUBNET}.0/24"], "live-restore": False}
    node = Node(PrivateEngine.create(config=config).home)
    (node.home / "hostname").write_text(f"node{number}")
    port = f"port{number}"
    with node.namespace.open() as namespace:
        line = ["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0"]
        path = f"/proc/self/fd/{namespace.fileno()}"
        subprocess.run([*line, "netns", path], check=True, pass_fds=[namespace.fileno()])
    _plug(switch, port)
    node.run_inside(["ip", "address", "add", f"{node.address}/24", "dev", "eth0"])
    node.run_inside(["ip", "link", "set", "eth0", "up"])
    node.run_inside(["ip", "route", "add", "default", "via", SWITCH])
    return node


def _join(nodes: list[Node]) -> None:
    manager = nodes[0]
    manager.request(
        "POST",
        "/swarm/init",
        {
            "ListenAddr": "0.0.0.0:2377",
            "AdvertiseAddr": manager.address,
            "Spec": {"Dispatcher": {"HeartbeatPeriod": HEARTBEAT}},
        },
    )
    token = manager.request("GET", "/swarm")["JoinTokens"]["Worker"]

    def join(node: Node) -> None:
        body = {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": node.address, "JoinToken": token}
        node.request("POST", "/swarm/join", {**body, "RemoteAddrs": [f"{manager.address}:2377"]})

    with ThreadPoolExecutor(NODES) as pool:
        list(pool.map(join, nodes[1:]))
