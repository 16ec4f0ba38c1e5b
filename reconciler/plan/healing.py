"""What serves is broken: why, whether it is healed or left alone, and what is left over.

An app that was healed `MOST_HEALS` times within `CALM` is flapping: healing doesn't help. It is
left alone for a pause, healed once, and if that doesn't last left alone for a longer one. This
ends when it has run for `CALM` after a pause, or with any other successful deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from signal import Signals

from reconciler.plan.actions import Action
from reconciler.plan.places import SWARM, places_of
from reconciler.plan.states import Container, DesiredApp, Facts, Place, Serving
from reconciler.plan.view import View, has_own_check, replicas_of
from reconciler.values import frozen

Admit = Callable[[Action, str], Action]
"""What stands in the way of an action that reaches a target, or the action itself."""

MOST_HEALS = 5
CALM = timedelta(minutes=5)
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=1)

_SIGNALLED = 128


def broken(view: View) -> str:
    """Why what serves is broken, or an empty text. Of several containers, each has to run."""
    if view.serving is None:
        return ""
    found = {(one.place, one.replica): one for one in view.serving_containers}
    for copy in view.copies:
        container = found.get(copy)
        if container is None:
            return _say_missing(view, copy)
        if container.drift:
            return container.drift
        if container.state != "running":
            return say_end(container) + _which(view, copy)
    return "container is unhealthy" if _is_unhealthy(view, view.serving) else ""


def _say_missing(view: View, copy: tuple[Place, int]) -> str:
    if view.places.runtime != SWARM:
        return f"container was removed{_which(view, copy)}"
    others = any(one.place == copy[0] and not one.task for one in view.containers)
    return "service was taken back by hand" if others else "service was removed"


def _which(view: View, copy: tuple[Place, int]) -> str:
    """Which of several, for people."""
    (_, host), number = copy
    words = [f"number {number}"] if view.replicas > 1 else []
    words += [f"on {host}"] if len(view.places.all) > 1 else []
    return f" ({' '.join(words)})" if words else ""


def _is_unhealthy(view: View, serving: Serving) -> bool:
    unhealthy = any(container.health == "unhealthy" for container in view.serving_containers)
    return unhealthy and not has_own_check(serving.settings)


def say_end(container: Container, *, out_of_memory: bool = False) -> str:
    """Why a container doesn't run, such as `container exited with 137 (killed)`."""
    if container.runtime == SWARM:
        return f"not all tasks of the service run: {container.status}"
    if container.exit_code is None:
        return f"container is {container.state}"
    again = ", and is started again and again" if container.state == "restarting" else ""
    return f"container exited with {describe_exit(container.exit_code, out_of_memory)}{again}"


def describe_exit(code: int, out_of_memory: bool) -> str:
    """`1`, `137 (killed)`, `137 (out of memory)`, `143 (SIGTERM)`."""
    if out_of_memory:
        return f"{code} (out of memory)"
    number = code - _SIGNALLED
    if number == Signals.SIGKILL:
        return f"{code} (killed)"
    return f"{code} ({Signals(number).name})" if number in _SIGNALS else str(code)


_SIGNALS = frozenset(Signals)


def heal(view: View, serving: Serving, change: Action | None, admit: Admit) -> Action:
    """Bring back what is recorded, unless `change` is due, which replaces the container anyway."""
    cause = broken(view)
    if change is not None:
        return replace(change, causes=(*change.causes, cause))
    flaps = flaps_of(view)
    if flaps.until is not None and view.now < flaps.until and not view.retry_now:
        return _leave_alone(view, flaps, cause)
    others = any(_works(container) for container in view.serving_containers)
    # Where it is away it may well serve, and goes on doing so as what was deployed.
    joins = (others or view.partly_away) and not _is_unhealthy(view, serving)
    action = Action(
        view.app,
        "heal",
        (cause,),
        swap(serving.settings),
        replicas=view.replicas if joins else 0,
        places=tuple(dict.fromkeys(place for place, _ in view.copies)) if view.partly_away else (),
    )
    return admit(action, serving.target)


def swap(settings: Facts) -> tuple[str, ...]:
    """The stages that bring up containers and give them the traffic."""
    several = ("replicas",) if len(places_of(settings).copies(replicas_of(settings))) > 1 else ()
    exposed = ("switch",) if any(name.startswith("expose.") for name in settings) else ()
    return ("deploy", "health", *several, *exposed)


def _works(container: Container) -> bool:
    return container.state == "running" or bool(container.drift)


@frozen
class Flaps:
    """How many pauses in a row were needed, and when the last one ends."""

    count: int = 0
    until: datetime | None = None


CALM_FLAPS = Flaps()


def flaps_of(view: View) -> Flaps:
    """Whether the app flaps, by its heals and by what was noted when it last did."""
    note = view.recorded.note
    if note.flaps_until is None and not view.recorded.heals:
        return CALM_FLAPS
    known = Flaps(note.flaps, note.flaps_until)
    recent = [moment for moment in view.recorded.heals if moment > view.now - CALM]
    if known.until is None:
        due = broken(view) and len(recent) >= MOST_HEALS
        return _pause(1, max(recent)) if due else known
    if not broken(view):
        over = not recent and view.now >= known.until
        return CALM_FLAPS if over else known
    tried = [moment for moment in recent if moment >= known.until]
    return _pause(known.count + 1, max(tried)) if tried else known


def _pause(count: int, healed: datetime) -> Flaps:
    return Flaps(count, healed + min(FIRST_PAUSE * 2 ** min(count - 1, 10), LONGEST_PAUSE))


def _leave_alone(view: View, flaps: Flaps, cause: str) -> Action:
    often = f"healed {MOST_HEALS} times in {CALM.seconds // 60} minutes, and broken again"
    if flaps.count > 1:
        often = f"broken again after each of {flaps.count - 1} pauses"
    todo = f"Look at `reconcile logs {view.name} --container`, or deploy another version."
    return Action(
        view.app, "wait", (f"{often}: {cause}",), until=flaps.until, todo=todo, lasting=True
    )


def adoptable(
    view: View, desired: DesiredApp, same: Callable[[Container], bool]
) -> Container | None:
    """A running container that is what is desired, after the state was lost. `same`: by hashes."""
    for container in view.containers:
        healthy = container.health != "unhealthy" or has_own_check(desired.settings)
        works = container.state == "running" and healthy
        verified = container.name == container.app.replace("/", "-")  # the name settling gives
        if works and verified and same(container):
            return container
    return None


def clean(view: View) -> Iterator[Action]:
    """Containers beside those that serve. With nothing recorded, nothing is surely garbage; and
    where nothing serves as it shall, whatever is there may be what does."""
    serving = [one for one in view.serving_containers if one.state == "running"]
    if not serving:
        return
    kept = {container.id for container in view.serving_containers}
    served = {container.place for container in serving}
    left = () if view.partly_away or broken(view) else _elsewhere(view)
    extra = {c.id for c in view.containers if c.place in served or c in left} - kept
    if extra:
        count = "1 container" if len(extra) == 1 else f"{len(extra)} containers"
        yield Action(view.app, "clean", (f"{count} left over",), containers=tuple(sorted(extra)))


def _elsewhere(view: View) -> list[Container]:
    """What runs where the app isn't any more."""
    return [one for one in view.containers if one.place not in view.places.all]
