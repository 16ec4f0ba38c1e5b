"""Where an app runs: a runtime on one host or several, as its settings say."""

from __future__ import annotations

import functools
import json

from reconciler.plan.states import Facts, Place
from reconciler.spec.hosts import LOCAL
from reconciler.values import frozen

DOCKER, SWARM = "docker", "swarm"


@frozen
class Places:
    """`hosts` in the order of the spec; of a Swarm, the managers that may be asked."""

    runtime: str = DOCKER
    hosts: tuple[str, ...] = (LOCAL,)

    @functools.cached_property
    def all(self) -> tuple[Place, ...]:
        """Each place once. A Swarm is one, named by the first manager."""
        hosts = self.hosts[:1] if self.runtime == SWARM else self.hosts
        return tuple((self.runtime, host) for host in hosts)

    def copies(self, replicas: int) -> list[tuple[Place, int]]:
        """What there shall be: places and numbers from 1. How a Swarm replicates is its own."""
        numbers = range(1, (1 if self.runtime == SWARM else replicas) + 1)
        return [(place, number) for place in self.all for number in numbers]


def places_of(settings: Facts) -> Places:
    """What the settings say; one of them is there only where it isn't the default."""
    return _places(settings.get("runtime"), settings.get("host"))


@functools.lru_cache(1024)
def _places(runtime: str | None, host: str | None) -> Places:
    """Very many apps run in few places."""
    return Places(runtime or DOCKER, tuple(json.loads(host)) if host else (LOCAL,))


def say_move(before: Places, after: Places) -> tuple[str, ...]:
    """`runtime: docker → swarm`, `host: local → web1, web2`; empty where nothing differs."""
    causes = []
    if before.runtime != after.runtime:
        causes.append(f"runtime: {before.runtime} → {after.runtime}")
    if before.hosts != after.hosts and set(before.all) != set(after.all):
        causes.append(f"host: {', '.join(before.hosts)} → {', '.join(after.hosts)}")
    return tuple(causes)
