"""An app under a new name is the same app: its containers, images and history are handed over.

Labels of a running container can't change, so it carries the former name until the next
deployment replaces it. Until then the state remembers the name (`RecordedApp.former`), and
everything that looks for the app's containers looks for that one, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.plan.states import Desired, Observed, Recorded, RecordedApp


def rename_recorded(
    previously: Mapping[str, str], recorded: Recorded, observed: Observed
) -> Recorded:
    """The state as it is once renames are written down. `previously`: new name → former name.

    A name is taken over when something is known of it and nothing of the new one serves. While a
    deployment of it is on its way, it stays as it is.
    """
    apps = dict(recorded.apps)
    for new, old in previously.items():
        known = apps.get(new, RecordedApp(new))
        before = apps.get(old, RecordedApp(old))
        there = old in apps or old in observed.apps
        if not there or known.serving or known.in_flight or before.in_flight or old in known.former:
            continue
        apps.pop(old, None)
        apps[new] = replace(
            before,
            app=new,
            former=(*before.former, old),
            renamed_from=old,
            failures={**known.failures, **before.failures},
            images={**known.images, **before.images},
        )
    return Recorded(apps)


def follow_renames(
    desired: Desired, recorded: Recorded, observed: Observed
) -> tuple[Recorded, Observed]:
    """Both with every app under the name that it has in the spec."""
    previously = {name: app.previously for name, app in desired.apps.items() if app.previously}
    recorded = rename_recorded(previously, recorded, observed)
    return recorded, assign_containers(former_names(recorded), observed)


def former_names(recorded: Recorded) -> dict[str, str]:
    """Former name → the app that has its containers now."""
    return {old: app.app for app in recorded.apps.values() for old in app.former}


def assign_containers(owners: Mapping[str, str], observed: Observed) -> Observed:
    """Containers by the app that they belong to, whatever name their labels have."""
    if owners.keys().isdisjoint(observed.apps):
        return observed
    apps = {name: found for name, found in observed.apps.items() if name not in owners}
    for old in sorted(owners.keys() & observed.apps.keys()):
        apps[owners[old]] = (*apps.get(owners[old], ()), *observed.apps[old])
    return replace(observed, apps=apps)
