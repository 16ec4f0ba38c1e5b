"""What only shows between apps and hosts: names that no host has."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.spec.checks import Checkable
from reconciler.spec.hosts import LOCAL
from reconciler.spec.messages import near_miss
from reconciler.spec.models import Spec
from reconciler.spec.reading import MergedNode, Node, Reading, entries


def check_hosts(spec: Spec, apps: Mapping[str, Checkable], top: MergedNode, to: Reading) -> None:
    """Report hosts that are named and not there. `top`: the main file's nodes."""
    known = {LOCAL, *spec.hosts}
    if LOCAL in spec.hosts:
        key, _ = entries(top.entries["hosts"][1], "hosts", Reading())[LOCAL]
        hint = "it needs no entry; DOCKER_HOST says where it is"
        to.wrong(key, f"hosts.{LOCAL}", f"{LOCAL} is the engine on this machine", hint)
    if spec.build_host not in known:
        node = top.entries["build_host"][1]
        _report(node, "build_host", spec.build_host, known, to)
    for name, one in apps.items():
        for index, host in enumerate(one.app.host):
            if host not in known:
                node = entries(one.node, "", Reading())["host"][1]
                several = node.id == "sequence"
                at = f"apps.{name}.host[{index}]" if several else f"apps.{name}.host"
                _report(node.value[index] if several else node, at, host, known, to)


def _report(node: Node, at: str, name: str, known: set[str], to: Reading) -> None:
    hint = near_miss(name, sorted(known)) or "declare it under hosts"
    to.wrong(node, at, f"there is no host {name}", hint)
