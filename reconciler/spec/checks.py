"""What only shows between apps: ports that clash, names that get too long, apps that depend on
each other or claim a name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from reconciler.spec.messages import near_miss
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
    taken: dict[tuple[str, int, str], dict[str, _Published]] = defaultdict(dict)
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
            port = published.port
            for host in one.app.host:
                rivals = taken[host, port.host, port.protocol]
                first = _find_rival(rivals, port)
                if first:
                    _report_clash(apps, published, first, to)
                rivals.setdefault(port.address, published)
    _check_renames(apps, to)
    _check_dependencies(apps, to)


def _check_renames(apps: Mapping[str, Checkable], to: Reading) -> None:
    claimed: dict[str, str] = {}
    for name, one in apps.items():
        old = one.app.previously
        if old is None:
            continue
        node, at = _field(one, "previously"), f"apps.{name}.previously"
        if old in apps:
            hint = "remove this line" if old == name else f"remove the app {old}, or this line"
            to.wrong(node, at, f"{old} is still an app of this spec", hint)
        elif old in claimed:
            place = say_place(_field(apps[claimed[old]], "previously"))
            to.wrong(node, at, f"app {claimed[old]} was {old} already, at {place}", "keep one")
        claimed.setdefault(old, name)


def _check_dependencies(apps: Mapping[str, Checkable], to: Reading) -> None:
    for name, one in apps.items():
        for index, other in enumerate(one.app.depends_on):
            at = f"apps.{name}.depends_on[{index}]"
            if other == name:
                to.wrong(_item(one, index), at, "an app can't depend on itself")
            elif other not in apps:
                hint = near_miss(other, apps)
                to.wrong(_item(one, index), at, f"there is no app {other}", hint)
    needs = {name: [*one.app.depends_on] for name, one in apps.items()}
    for first, second, way in find_cycles(needs):
        index = apps[first].app.depends_on.index(second)
        at = f"apps.{first}.depends_on[{index}]"
        to.wrong(_item(apps[first], index), at, f"these apps wait for each other: {way}")


def find_cycles(needs: Mapping[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    """For each chain that ends where it begins, one link of it and the chain as text."""
    left = {name: [one for one in others if one != name] for name, others in needs.items()}
    if not any(left.values()):
        return
    from graphlib import CycleError, TopologicalSorter

    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            chain: list[str] = error.args[1][::-1]  # each needs the next, the last is the first
            yield chain[0], chain[1], " → ".join(chain)
            left[chain[0]].remove(chain[1])
        else:
            return


def _field(one: Checkable, name: str) -> Node:
    return entries(one.node, "", Reading())[name][1]


def _item(one: Checkable, index: int) -> Node:
    node: Node = _field(one, "depends_on").value[index]
    return node


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
    node: Node = _field(one, "ports").value[index]
    return node


def say_place(node: Node) -> str:
    """`apps.yaml:3:5`."""
    mark: Mark = node.start_mark
    return f"{mark.name}:{mark.line + 1}:{mark.column + 1}"
