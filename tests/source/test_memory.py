"""What a daemon remembers of its sources."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.errors import GitUnavailable, SourceError
from reconciler.plan.states import Serving
from reconciler.source.base import Resolved, Wanted
from reconciler.source.memory import VersionMemory
from reconciler.spec.models import GitSource, PathSource

API = Wanted("shop/api", GitSource(git="https://git.example.com/api.git"), "main")
WEB = Wanted("shop/web", GitSource(git="https://git.example.com/api.git"), "main")
FOUND = Resolved("a" * 40, "main")
AWAY = GitUnavailable("git.example.com doesn't answer")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def _memory(clock: Clock) -> VersionMemory:
    return VersionMemory(clock, lambda error, failures: 10.0 * failures if error is AWAY else None)


def test_memory_knows_a_version_until_it_expires() -> None:
    memory = _memory(Clock())
    assert memory.recall([API], {}) == {}
    memory.learn([(API, FOUND)], {})
    assert memory.recall([API, WEB], {}) == {"shop/api": FOUND}
    memory.expire()
    assert memory.recall([API], {}) == {}


def test_memory_another_revision_is_another_question() -> None:
    memory = _memory(Clock())
    memory.learn([(API, FOUND)], {})
    assert memory.recall([Wanted("shop/api", API.source, "v2")], {}) == {}


def test_memory_a_directory_is_looked_at_every_time() -> None:
    memory = _memory(Clock())
    beside = Wanted("shop/api", PathSource(path="./api"))
    memory.learn([(beside, FOUND)], {})
    assert memory.recall([beside], {}) == {}


def test_memory_asks_a_host_that_failed_after_growing_pauses() -> None:
    clock = Clock()
    memory = _memory(clock)
    memory.learn([(API, AWAY), (WEB, AWAY)], {})
    memory.expire()
    assert set(memory.recall([API, WEB], {})) == {"shop/api", "shop/web"}
    assert memory.next_at() == 110.0
    clock.now = 111.0
    assert memory.recall([API, WEB], {}) == {}
    memory.learn([(API, AWAY), (WEB, AWAY)], {})
    assert memory.next_at() == 131.0
    memory.forget(["shop/api"])
    assert set(memory.recall([API, WEB], {})) == {"shop/web"}
    memory.forget()
    assert memory.recall([WEB], {}) == {}


def test_memory_counts_failures_anew_after_a_success() -> None:
    clock = Clock()
    memory = _memory(clock)
    for outcome in (AWAY, AWAY, FOUND, AWAY):
        memory.learn([(API, outcome)], {})
    assert memory.next_at() == 110.0


def test_memory_a_branch_that_is_not_there_is_asked_about_at_the_next_interval() -> None:
    memory = _memory(Clock())
    memory.learn([(API, SourceError("there is no branch main"))], {})
    assert "shop/api" in memory.recall([API], {})
    memory.expire()
    assert memory.recall([API], {}) == {}
    assert memory.next_at() is None


def test_memory_asks_again_when_somebody_else_has_deployed_something_newer() -> None:
    memory = _memory(Clock())
    memory.learn([(API, FOUND)], {"shop/api": _serving("d1", "a" * 40)})
    assert memory.recall([API], {"shop/api": _serving("d2", "a" * 40)})
    assert memory.recall([API], {"shop/api": _serving("d3", "b" * 40)}) == {}


def _serving(deployment: str, resolved: str) -> Serving:
    return Serving(deployment, "t", "main", resolved, {}, {}, {}, "sha256:1", "", "c")
