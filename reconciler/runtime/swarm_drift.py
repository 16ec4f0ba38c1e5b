"""Whether a service is still what was made, and what somebody has changed about it. Pure.

A service carries a label with a short hash of each of its parts, `v1 image=5f3c… replicas=3`. A
change by hand leaves that label as it was. What an engine fills in by itself, and what changes
nothing (`docker service update --force`, further labels of the service), isn't in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from reconciler.runtime.swarm_names import LABEL_SPEC

Document = Mapping[str, Any]

VERSION = "v1"
_DIGITS = 8
_CONTAINER_PARTS = {
    "Image": "image",
    "Command": "entrypoint",
    "Args": "command",
    "Env": "env",
    "Labels": "labels",
    "User": "user",
    "Dir": "workdir",
    "StopGracePeriod": "stop_grace_period",
    "Healthcheck": "health",
    "Mounts": "volumes",
    "Secrets": "secrets",
}
_TEMPLATE_PARTS = {
    "Resources": "resources",
    "RestartPolicy": "restart",
    "Placement": "placement",
    "Networks": "networks",
}
_SPEC_PARTS = {
    "UpdateConfig": "update settings",
    "RollbackConfig": "rollback settings",
    "EndpointSpec": "ports",
}
_FILLED_IN = ("Isolation", "Runtime", "ForceUpdate")
_REPLICAS, _REST = "replicas", "other settings"


def fingerprint(spec: Document) -> str:
    """The label's value for a service's spec, as it is sent or as an engine shows it."""
    parts = _parts(spec)
    return " ".join([VERSION, *(f"{_plain(name)}={parts[name]}" for name in sorted(parts))])


def describe_drift(spec: Document) -> str:
    """`service was scaled by hand: 3 → 1`, `service was changed by hand: env, image`, or an
    empty text: also where the label is one of another version of this program, or none."""
    label = (spec.get("Labels") or {}).get(LABEL_SPEC, "")
    version, _, rest = label.partition(" ")
    if version != VERSION:
        return ""
    made = dict(part.split("=", 1) for part in rest.split())
    now = {_plain(name): value for name, value in _parts(spec).items()}
    changed = {name for name in made.keys() | now.keys() if made.get(name) != now.get(name)}
    said = []
    if _REPLICAS in changed:
        changed.remove(_REPLICAS)
        scale = f"{made.get(_REPLICAS, 'global')} → {now.get(_REPLICAS, 'global')}"
        said.append(f"service was scaled by hand: {scale}")
    if changed:
        names = ", ".join(sorted(name.replace("-", " ") for name in changed))
        said.append(f"service was changed by hand: {names}")
    return "; ".join(said)


def _plain(name: str) -> str:
    return name.replace(" ", "-")


def _parts(spec: Document) -> dict[str, str]:
    """A hash of each part that is there, by its name in the spec; the replicas as they are."""
    template = dict(spec.get("TaskTemplate") or {})
    container = dict(template.pop("ContainerSpec", None) or {})
    whole = {k: v for k, v in spec.items() if k not in ("Name", "Labels", "TaskTemplate", "Mode")}
    values: dict[str, Any] = {}
    for document, names in (
        (container, _CONTAINER_PARTS),
        (template, _TEMPLATE_PARTS),
        (whole, _SPEC_PARTS),
    ):
        for key, name in names.items():
            values[name] = document.pop(key, None)
    values[_REST] = [container, template, whole]
    parts = {name: _hash(found) for name, value in values.items() if (found := _clean(value))}
    replicated = (spec.get("Mode") or {}).get("Replicated")
    if replicated is not None:
        parts[_REPLICAS] = str(replicated.get("Replicas", 1))
    return parts


def _clean(value: Any) -> Any:
    """Without what is empty or zero, which engines leave out or fill in as they like."""
    if isinstance(value, Mapping):
        cleaned = {k: _clean(v) for k, v in value.items() if k not in _FILLED_IN}
        return {k: v for k, v in cleaned.items() if v} or None
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value] if any(map(_clean, value)) else None
    return value or None


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
