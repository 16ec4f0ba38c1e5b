"""What only shows between apps: ports that clash, names that get too long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from reconciler.spec.models import App
from reconciler.spec.reading import Mark, Node, Reading, entries
from reconciler.spec.scalars import EVERYWHERE, Port, parse_port
from reconciler.values import frozen

LONGEST_NAME = 63
"""The longest label of a DNS name: containers find each other by `<project>-<app>`."""


@frozen
class Checkable:
    """A valid app with the nodes of its name and its section."""

    app: App
    key: Node
    node: Node


@frozen
class _Published:
    """A published port: whose, and which of its ports."""

    port: Port
    name: str
    index: int


def check_apps(project: str, apps: Mapping[str, Checkable], to: Reading) -> None:
    """Report what is wrong between apps that are valid each. `project` is empty if unknown."""
    taken: dict[tuple[int, str], dict[str, _Published]] = defaultdict(dict)
    for name, one in apps.items():
        if len(project) + 1 + len(name) > LONGEST_NAME:
            to.wrong(
                one.key,
                f"apps.{name}",
                f"{project}-{name} is longer than {LONGEST_NAME} characters",
                "shorten the app's name or the project's",
            )
        for index, text in enumerate(one.app.ports):
            published = _Published(parse_port(text), name, index)
            rivals = taken[published.port.host, published.port.protocol]
            first = _find_rival(rivals, published.port)
            if first:
                _report_clash(apps, published, first, to)
            rivals.setdefault(published.port.address, published)


def _find_rival(rivals: Mapping[str, _Published], port: Port) -> _Published | None:
    """One that `port` clashes with, among those of its number by address; without a search."""
    near = (rivals.get(address) for address in (port.address, *EVERYWHERE))
    candidates = rivals.values() if port.address in EVERYWHERE else filter(None, near)
    return next((rival for rival in candidates if rival.port.clashes(port)), None)


def _report_clash(
    apps: Mapping[str, Checkable], second: _Published, first: _Published, to: Reading
) -> None:
    place = say_place(_port_node(apps[first.name], first.index))
    whose = "this app" if first.name == second.name else f"app {first.name}"
    to.wrong(
        _port_node(apps[second.name], second.index),
        f"apps.{second.name}.ports[{second.index}]",
        f"host port {second.port.host} is already published by {whose}, at {place}",
    )


def _port_node(one: Checkable, index: int) -> Node:
    _, ports = entries(one.node, "", Reading())["ports"]
    node: Node = ports.value[index]
    return node


def say_place(node: Node) -> str:
    """`apps.yaml:3:5`."""
    mark: Mark = node.start_mark
    return f"{mark.name}:{mark.line + 1}:{mark.column + 1}"
