"""What differs between desired and recorded, and the least work that takes one to the other."""

from __future__ import annotations

import json
from dataclasses import replace

from reconciler.plan.actions import Action, Kind
from reconciler.plan.facts import describe_changes
from reconciler.plan.hashes import build_hash, run_hash
from reconciler.plan.healing import adoptable, swap
from reconciler.plan.places import SWARM, places_of, say_move
from reconciler.plan.states import Container, DesiredApp, Serving
from reconciler.plan.view import View, replicas_of
from reconciler.spec.scalars import parse_volume


def first(view: View, desired: DesiredApp) -> Action:
    """What an app needs that nothing is recorded of."""
    adopted = adoptable(view, desired, lambda container: _is_same(container, desired))
    if adopted is not None:
        cause = f"container {adopted.id[:12]} already runs exactly this"
        return Action(view.app, "record", (cause,), containers=(adopted.id,))
    return _deploying(view, desired, ("not deployed yet",), new_image=True)


def _is_same(container: Container, desired: DesiredApp) -> bool:
    same_run = container.run_hash == run_hash(container.image_id, desired.run)
    return same_run and container.build_hash == build_hash(desired.build)


def change(view: View, desired: DesiredApp, serving: Serving) -> Action | None:
    """What takes an app from what serves to what is desired; None when they are the same."""
    build = _describe_build(desired, serving)
    run = describe_changes(serving.run, desired.run)
    move = say_move(view.places, places_of(desired.settings))
    elsewhere = view.places.runtime != places_of(desired.settings).runtime
    if elsewhere:  # which says it all of a section that only one of them has
        run = [cause for cause in run if not cause.startswith("swarm.")]
    if build or run or elsewhere:
        causes = (*move, *build, *run) if elsewhere else (*build, *run, *move)
        return _leaving(view, desired, _deploying(view, desired, causes, new_image=bool(build)))
    before, after = view.replicas, replicas_of(desired.settings)
    scale = (f"replicas: {before} → {after}",) if before != after else ()
    if move or scale:
        kind: Kind = "move" if move else "scale"
        stages = (*distributing(view, desired, new=False), *swap(desired.settings))
        action = Action(view.app, kind, (*scale, *move), stages, replicas=after)
        return _leaving(view, desired, action)
    if desired.push_to and desired.push_to != serving.pushed_to:
        cause = (
            f"push to {desired.push_to}" if not serving.pushed_to else "image.repository changed"
        )
        return Action(view.app, "push", (cause,), ("push",))
    return _record(view, desired, serving)


def _leaving(view: View, desired: DesiredApp, action: Action) -> Action:
    """The same, and what a person has to know of data that stays behind."""
    before, after = view.places.all, places_of(desired.settings).all
    left = [host for place in before if place not in after for host in place[1:]]
    volumes = [parse_volume(text) for text in json.loads(desired.run.get("volumes", "[]"))]
    names = [volume.source for volume in volumes if not volume.is_bind]
    if not left or not names:
        return action
    one = len(names) == 1
    what = f"the volume {names[0]} stays" if one else f"the volumes {', '.join(names)} stay"
    where = "" if [host for _, host in after] == left else f" on {', '.join(left)}"
    it = "it" if one else "them"
    todo = f"Volumes don't move: {what}{where}; copy what is in {it} first if it is needed."
    return replace(action, todo=todo)


def _deploying(
    view: View, desired: DesiredApp, causes: tuple[str, ...], *, new_image: bool
) -> Action:
    push, swap = pushing(desired), swapping(desired)
    distribute = distributing(view, desired, new=new_image)
    if not new_image:
        pushed = view.serving is not None and view.serving.pushed_to == desired.push_to
        before = () if pushed else push
        return Action(view.app, "restart", causes, (*before, *distribute, *swap))
    if not desired.builds:
        return Action(view.app, "deploy", causes, ("clone", *distribute, *swap))
    if build_hash(desired.build) in view.recorded.images:
        return Action(view.app, "restart", causes, (*push, *distribute, *swap))
    return Action(view.app, "deploy", causes, ("clone", "build", *push, *distribute, *swap))


def distributing(view: View, desired: DesiredApp, *, new: bool) -> tuple[str, ...]:
    """The stage that brings the image to where it isn't: a new one anywhere but to the host that
    makes it, else to hosts that are new."""
    places = places_of(desired.settings)
    made_on = view.build_host if desired.builds else places.hosts[0]
    known = () if new else view.places.all
    if places.runtime == SWARM:
        return ("distribute",) if new or places.runtime != view.places.runtime else ()
    elsewhere = [one for one in places.all if one not in known and one[1] != made_on]
    return ("distribute",) if elsewhere else ()


def pushing(desired: DesiredApp) -> tuple[str, ...]:
    """The stage between the build and the swap."""
    return ("push",) if desired.push_to else ()


def swapping(desired: DesiredApp) -> tuple[str, ...]:
    """The stages from the image to the end."""
    before = ("pre_deploy",) if "hooks.pre_deploy" in desired.settings else ()
    after = ("post_deploy",) if "hooks.post_deploy" in desired.settings else ()
    return (*before, *swap(desired.settings), *after)


def _record(view: View, desired: DesiredApp, serving: Serving) -> Action | None:
    causes = describe_changes(serving.settings, desired.settings)
    if desired.resolved != serving.resolved:
        causes.insert(0, f"{_arrow(serving.resolved, desired.resolved)} touches nothing of it")
    elif desired.revision != serving.revision:
        causes.insert(0, "revision changed, and names the same")
    return Action(view.app, "record", tuple(causes)) if causes else None


def _describe_build(desired: DesiredApp, serving: Serving) -> list[str]:
    """Changed source paths become one cause that names the revisions."""
    changes = describe_changes(serving.build, desired.build)
    touched = [c.removeprefix("source.").rpartition(" ")[0] for c in changes if _is_source(c)]
    others = [change for change in changes if not _is_source(change)]
    if not touched:
        return others
    where = [path for path in touched if path not in (".", "image")]
    suffix = f" (touches {', '.join(where)})" if where else ""
    return [_arrow(serving.resolved, desired.resolved) + suffix, *others]


def _is_source(change: str) -> bool:
    return change.startswith("source.")


def _arrow(old: str, new: str) -> str:
    return f"revision {short(old)} → {short(new)}" if old != new else f"revision {short(new)}"


def short(resolved: str) -> str:
    """The first 7 digits of a commit, 12 of a digest or tree, for people."""
    prefix, colon, digits = resolved.rpartition(":")
    return f"{prefix}{colon}{digits[:12]}" if colon else resolved[:7]
