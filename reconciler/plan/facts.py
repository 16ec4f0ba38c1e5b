"""From an app's spec to facts: flat, named, comparable. Only what is set becomes a fact, so that
new fields of later versions change no hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.plan.states import Facts
from reconciler.spec.declare import Section, default_of, fields_of
from reconciler.spec.models import App, ImageSource, Swarm
from reconciler.spec.plain import to_plain

RUN_FIELDS = (
    "command",
    "entrypoint",
    "user",
    "workdir",
    "ports",
    "volumes",
    "networks",
    "labels",
    "resources",
    "restart",
    "stop_grace_period",
)
NONE: Mapping[str, str] = {}
SWARM_FIELDS = (
    "mode",
    "constraints",
    "spread",
    "max_per_node",
    "endpoint_mode",
    "publish",
    "reserve",
)
"""Of the section `swarm`, what the tasks are made of; the rest says how they are replaced."""
SETTING_FIELDS = ("title", "expose", "health", "rollout", "hooks", "retention", "timeouts")


def build_facts(app: App, content: Mapping[str, str], env: Mapping[str, str]) -> Facts:
    """What the image is made of.

    `content` is the source's fingerprint: path → content id, or for an image source
    `{"image": reference with digest}`. `env` counts only with `env_file`.
    """
    facts = {f"source.{path}": content_id for path, content_id in content.items()}
    if isinstance(app.source, ImageSource):
        return facts
    facts.update(_flatten("build", app.build))
    if app.env_file:
        facts.update({f"env_file.{name}": value for name, value in env.items()})
    return facts


def run_facts(app: App, env: Mapping[str, str], secrets: Mapping[str, str] = NONE) -> Facts:
    """What the container is made of, beside its image.

    `env`: values, secrets as fingerprints; `secrets`: fingerprints of those of a Swarm, by name.
    """
    facts = {f"env.{name}": value for name, value in env.items()}
    for name in RUN_FIELDS:
        facts.update(_flatten(name, getattr(app, name), default_of(App, name)))
    for name in SWARM_FIELDS if app.swarm else ():
        value, default = getattr(app.swarm, name), default_of(Swarm, name)
        facts.update(_flatten(f"swarm.{name}", value, default))
    facts.update({f"swarm.secrets.{name}": value for name, value in secrets.items()})
    return facts


def setting_facts(app: App) -> Facts:
    """What only this program reads; a change is recorded and restarts nothing."""
    facts: dict[str, str] = {}
    for name in SETTING_FIELDS:
        facts.update(_flatten(name, getattr(app, name)))
    for name in ("replicas", "runtime", "host"):
        facts.update(_flatten(name, getattr(app, name), default_of(App, name)))
    for name in fields_of(Swarm) if app.swarm else ():
        if name not in (*SWARM_FIELDS, "secrets"):
            value, default = getattr(app.swarm, name), default_of(Swarm, name)
            facts.update(_flatten(f"swarm.{name}", value, default))
    return facts


def _flatten(prefix: str, value: Any, default: Any = None) -> Iterator[tuple[str, str]]:
    if value is None or value == default:
        return
    if isinstance(value, Section):
        value = to_plain(value)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}", inner)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def describe_changes(old: Facts, new: Facts) -> list[str]:
    """`env.LOG_LEVEL changed`, `ports added`, in the order of their names; never a value."""
    causes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            causes.append(f"{name} removed")
        elif name not in old:
            causes.append(f"{name} added")
        elif old[name] != new[name]:
            causes.append(f"{name} changed")
    return causes
