"""What can never work for an app with `runtime: swarm`, said before anything is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.spec.declare import Rule
from reconciler.spec.scalars import parse_port, parse_volume
from reconciler.spec.sources import ImageSource
from reconciler.spec.swarm import Swarm

if TYPE_CHECKING:
    from reconciler.spec.models import App


def swarm_rules(app: App) -> Iterator[Rule]:
    """What is wrong between the fields of an app on a Swarm."""
    if not isinstance(app.source, ImageSource) and not (app.image and app.image.push):
        hint = "set image.repository to one that the nodes reach, and image.push: true"
        yield "image", "the nodes of a Swarm pull the image, so a registry must have it", hint
    if app.expose:
        hint = "publish `ports`, or put a proxy into a network of the app"
        yield "expose", "the proxy leads to containers of one engine, not to a service", hint
    if app.rollout.strategy in ("blue-green", "canary"):
        hint = "swarm.order: start-first starts each task's successor before it stops"
        yield "rollout", f"'{app.rollout.strategy}' is for containers; a Swarm updates tasks", hint
    if any(parse_volume(text).is_here for text in app.volumes):
        hint = "write the full path of the directory on the nodes, or use a named volume"
        yield "volumes", "a relative directory is on this machine, and tasks may be on any", hint
    if "none" in app.networks or ("bridge" in app.networks and len(app.networks) > 1):
        yield "networks", "tasks join overlay networks, or 'host' or 'bridge' alone"
    yield from _port_rules(app, app.swarm or Swarm())
    yield from _mode_rules(app, app.swarm or Swarm())


def _port_rules(app: App, swarm: Swarm) -> Iterator[Rule]:
    if any(parse_port(text).address for text in app.ports):
        hint = "leave the address out, and let a firewall say who may connect"
        yield "ports", "a Swarm publishes on every address of its nodes", hint
    if app.ports and swarm.endpoint_mode == "dnsrr" and swarm.publish == "ingress":
        hint = "set swarm.publish: host, or swarm.endpoint_mode: vip"
        yield "swarm", "with dnsrr there is no one address that ports on every node lead to", hint


def _mode_rules(app: App, swarm: Swarm) -> Iterator[Rule]:
    if swarm.mode != "global":
        return
    if app.replicas > 1:
        yield "replicas", "a global service has one task on each node, however many these are"
    if swarm.max_per_node is not None:
        yield "swarm", "a global service has one task on each node: leave max_per_node out"
    if app.ports and swarm.publish == "host" and swarm.order == "start-first":
        hint = "set swarm.order: stop-first"
        yield "swarm", "with start-first each node would need the port of the host twice", hint
